"""Curation: estimators that learn from other training rows than they are given."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from headstart.data.dataset import TRAIN, Dataset
from headstart.data.pictures import row_hash
from headstart.errors import DataError
from headstart.features.extract import extract
from headstart.metrics.neighbors import nearest_elsewhere, unit
from headstart.steps.take import take
from headstart.steps.train import labelled, targets_of
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
        Those rows, encoded as the others.
    name
        Tells them from other rows.
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
        return joined(data, self.also)


def joined(data: Dataset, also: Dataset) -> Dataset:
    """Return the data with more training rows."""
    assert data.split is not None
    rows = [*data.rows, *also.rows]
    return replace(
        data,
        rows=np.asarray(rows) if isinstance(data.rows, np.ndarray) else tuple(rows),
        targets=np.concatenate([targets_of(data), np.asarray(also.targets)]),
        names=tuple(part.name(i) for part in (data, also) for i in range(len(part))),
        split=np.concatenate([data.split, np.full(len(also), TRAIN)]),
        domain=None,
        weight=None,
    )


def encoded(also: Dataset, data: Dataset, known: Iterable[bytes]) -> Dataset:
    """Return more rows with their labels encoded as those of the data, without rows that it has.

    Parameters
    ----------
    also, data
        Both labelled, of one modality and kind.
    known
        The content hashes of the data's rows, those to test on among them.

    Raises
    ------
    DataError
        Where they are of another kind, or have labels that the data lack.
    """
    task, theirs = labelled(data), also.task
    if theirs is None or also.targets is None:
        raise DataError("The rows of --also have no labels.\nExpected some, as the data have.")
    unknown = sorted(set(theirs.labels) - set(task.labels))
    if also.modality is not data.modality or theirs.kind is not task.kind or unknown:
        raise DataError(
            f"The rows of --also are {also.modality} rows with {theirs.kind} labels"
            f"{f', {unknown[0]!r} among them' if unknown else ''}.\n"
            f"Expected {data.modality} rows with the labels of the data ({task.kind})."
        )
    had = set(known)
    kept = also.take([i for i, row in enumerate(also.rows) if row_hash(row) not in had])
    targets, place = np.asarray(kept.targets), [task.labels.index(name) for name in theirs.labels]
    if task.kind is Kind.MULTICLASS:
        targets = np.array(place, dtype=np.int64)[targets]
    elif task.kind is Kind.MULTILABEL:
        wide = np.zeros((len(kept), len(task.labels)), dtype=targets.dtype)
        wide[:, place] = targets
        targets = wide
    return replace(kept, task=task, targets=targets, split=None, domain=None, weight=None)


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
    vectors = extract(take(source, data, seed=0), data).array()
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
