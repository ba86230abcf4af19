"""Curation: estimators that learn from other training rows than they are given."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from headstart.data.also import beside, is_also, unlike, without_also
from headstart.data.dataset import TRAIN, Dataset
from headstart.data.pictures import row_hash
from headstart.data.ragged import content
from headstart.errors import DataError, UsageError
from headstart.features.extract import extract
from headstart.metrics.neighbors import nearest_elsewhere, unit
from headstart.steps.take import take
from headstart.steps.train import labelled
from headstart.task import Kind

#: The share of the training rows that is dropped, and what the row least like others counts.
DROPPED, LEAST_WEIGHT = 0.1, 0.2


class Learner(BaseEstimator):
    """Fits a model on other training rows than it is given, and speaks for it."""

    model: Any
    seed: int

    def fit(self, data: Dataset) -> Self:
        """Change the training rows, and fit the model on them."""
        fitted = clone(self.model).set_params(seed=self.seed).fit(self._curated(data))
        self.model_ = fitted
        for name in ("bundle_", "source_", "plan_", "curve_", "classes_"):
            setattr(self, name, getattr(fitted, name, None))
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Return what the fitted model says; shape (n, k)."""
        return np.asarray(self.model_.predict_proba(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return what the fitted model says; shape (n,)."""
        return np.asarray(self.model_.predict(X))

    def _curated(self, data: Dataset) -> Dataset:
        raise NotImplementedError


class More(Learner):
    """Fits a model on more training rows.

    Parameters
    ----------
    model
        The unfitted estimator that learns.
    also
        Those rows.
    name
        Tells them from other rows (`name_of`).
    source, seed
        Of the model.
    """

    def __init__(
        self, model: Any, also: Dataset, name: str = "", source: str = "", seed: int = 0
    ) -> None:
        self.model = model
        self.also = also
        self.name = name
        self.source = source
        self.seed = seed

    def _curated(self, data: Dataset) -> Dataset:
        return beside(data, self.also)


def name_of(also: Dataset) -> str:
    """Return what tells labelled rows from others: content, labels, and what each counts."""
    total = hashlib.sha256(repr(also.task).encode())
    for row in also.rows:
        total.update(row_hash(row))
    for values in (also.targets, also.weight):
        total.update(b"" if values is None else content(values))
    return total.hexdigest()[:24]


def apart(data: Dataset) -> tuple[Dataset, Dataset | None]:
    """Return the rows a study is about, and those of another domain beside them, if any."""
    others = is_also(data)
    if not others.any():
        return data, None
    # Those left out are named once, with the rows that a study is about.
    return without_also(data), replace(data.take(others), domain=None, split=None, skipped=())


def unknown(also: Dataset, data: Dataset, known: Iterable[bytes]) -> Dataset:
    """Return more rows without those that the data have.

    Parameters
    ----------
    also, data
        Both labelled.
    known
        The content hashes of the data's rows, those to test on among them.

    Raises
    ------
    DataError
        Where they have no labels, or such as the data lack; where none is left.
    """
    task = labelled(data)
    others = () if also.task is None else sorted(set(also.task.labels) - set(task.labels))
    if also.task is None or others:
        raise DataError(
            f"The rows beside have {f'the label {others[0]!r}' if others else 'no labels'}.\n"
            "Expected the labels of the data: what is compared is how well they are told apart."
        )
    new = unlike(also, known)
    if not len(new):
        raise DataError(
            "Every row of --also is in the data already, so there is nothing more to learn from.\n"
            "Expected rows that the data lack; leave out --also (also=) to prove without."
        )
    return new


class Representative(Learner):
    """Fits a model on training rows that are like others: the rest is dropped, or counts less.

    Parameters
    ----------
    model
        The unfitted estimator that learns.
    rule
        "drop" the tenth least like others, or "weigh": every row by its place among all.
    source
        Whose features say how alike rows are.
    seed
        Of the model.

    Notes
    -----
    A row is like others if another training row of its label (of any, for numbers and several
    labels) lies in a like direction from the center of all features.
    """

    def __init__(self, model: Any, rule: str = "drop", source: str = "", seed: int = 0) -> None:
        self.model = model
        self.rule = rule
        self.source = source
        self.seed = seed

    def _curated(self, data: Dataset) -> Dataset:
        assert data.split is not None and data.targets is not None
        learned = np.flatnonzero(data.split == TRAIN)
        alike = _alike(data.take(learned), self.model.source)
        place = np.argsort(np.argsort(alike, kind="stable"), kind="stable") / max(1, len(alike) - 1)
        if self.rule == "drop":
            gone = learned[place < DROPPED]
            return data.take(np.setdiff1d(np.arange(len(data)), gone))
        weight = np.ones(len(data)) if data.weight is None else np.array(data.weight)
        weight[learned] *= LEAST_WEIGHT + (1 - LEAST_WEIGHT) * place
        return replace(data, weight=weight)


def _alike(data: Dataset, source: str) -> NDArray[np.float32]:
    """Return how like another row of its label each row is; shape (n,)."""
    assert data.task is not None and data.targets is not None
    features = extract(take(source, data, seed=0), data)
    if features.is_ragged:
        raise UsageError("A row of several vectors has no one place among the others.")
    vectors = features.array()
    rows = unit(vectors, center=vectors.mean(axis=0))
    is_class = data.task.kind is Kind.MULTICLASS
    labels = np.asarray(data.targets) if is_class else np.zeros(len(data), dtype=np.int64)
    found = np.full(len(rows), -np.inf, dtype=np.float32)
    for label in np.unique(labels):
        at = np.flatnonzero(labels == label)
        if len(at) == 1:  # the only row of its label stands for it
            found[at] = np.inf
            continue
        own = np.arange(len(at))
        (nearest,) = nearest_elsewhere(rows[at], [(slice(0, len(at)), rows[at])], [(own, own)])
        found[at] = nearest.similarity
    return found
