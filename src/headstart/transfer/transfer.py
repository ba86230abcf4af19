"""Transfer: the estimator whose `fit` is the five steps."""

from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from headstart.data.also import is_also, only_also, without_also
from headstart.data.dataset import Dataset, from_arrays
from headstart.data.foreign import as_arrays
from headstart.data.readers import read
from headstart.data.targets import LABEL_TYPES, as_given
from headstart.errors import UsageError
from headstart.machine import whole as whole_number
from headstart.progress import track
from headstart.runs import Run
from headstart.steps.phase import Phase
from headstart.steps.train import labelled
from headstart.task import Kind, Modality, Task
from headstart.transfer.auto import start
from headstart.transfer.fitting import Fitting
from headstart.transfer.plan import REHEARSAL, Plan, check_finetune, intend
from headstart.transfer.rows import (
    are_several,
    check_given,
    holds_labels,
    is_raw,
    numbers,
    raw_rows,
    whole,
)

#: What may be made of rows of another domain.
ALSO_WORDS: dict[str, Callable[[Dataset], Dataset]] = {
    "weighed": lambda data: data,
    "no": without_also,
    "only": only_also,
    "all": lambda data: data,
}


class _Transfer(BaseEstimator):
    """The five steps; `Transfer` and `TransferRegressor` are its two public faces."""

    #: What labels are read as where the rows bring them; None: what they look like.
    _kind: Kind | None = None

    def __init__(  # noqa: PLR0913  (an estimator's options are its constructor's)
        self,
        source: str = "auto",
        *,
        head: str = "linear",
        finetune: str = "auto",
        phase: Phase | None = None,
        seed: int = 0,
        max_skipped: float = 0.01,
        run: str | Path | None = None,
        also: str = "weighed",
    ) -> None:
        self.source = source
        self.head = head
        self.finetune = finetune
        self.phase = phase
        self.seed = seed
        self.max_skipped = max_skipped
        self.run = run
        self.also = also

    def fit(self, X: Any, y: Any = None) -> Self:
        """Transfer the source to the labelled rows, in five steps.

        Parameters
        ----------
        X
            Rows: paths, pictures, texts, a column of them, or numbers of shape (n, d); without y,
            labelled data: a `Dataset`, or anything that `headstart.read` reads.
        y
            The labels of the rows: shape (n,), or several a row as lists or as 0 and 1 of shape
            (n, labels).

        Returns
        -------
        self
            With `bundle_` (what ships), `plan_` (what was done), `scores_`, `source_`,
            `classes_`.

        Raises
        ------
        DataError
            Where there is nothing to learn from, or too many rows cannot be read.
        UnknownSource
            Where the source names none.
        UsageError
            Where an option, or what came as rows and labels, cannot be right.

        Notes
        -----
        A fit that fails leaves what an earlier one learned as it was.
        """
        self._check_options()
        check_given(X, y)
        begun = copy(self)
        begun.__dict__ = {n: value for n, value in vars(self).items() if not _is_learned(n)}
        begun._learn(X, y)
        self.__dict__ = begun.__dict__
        return self

    def _learn(self, X: Any, y: Any) -> None:
        is_read = y is None and holds_labels(X)
        rows = read(X, kind=self._kind, max_skipped=self.max_skipped) if is_read else X
        data = self._taught_by(self._data(rows, as_arrays(y)))
        labelled(data)
        notes = () if isinstance(X, Dataset) else data.notes  # who read it, was told
        if self.run is None:
            self._fit(data, None, notes)
            return
        with Run(Path(self.run)) as run:
            self._fit(data, run, notes)

    def _fit(self, data: Dataset, run: Run | None, notes: tuple[str, ...]) -> None:
        seed = whole_number("seed", self.seed)  # one of NumPy is not written to JSON
        begin = start(self.source, data, seed)  # step 1
        self.source_ = begin.source
        plan, data = intend(self.source_, data, self.head, self.finetune, self.phase, seed, run)
        notes = (*notes, *self._unused(plan), *plan.notes)
        plan = replace(plan, ranking=begin.ranking, notes=notes)
        with track("plan", None) as bar:
            bar.note(str(plan))
        fitted = Fitting(  # steps 2 to 5
            plan, data, seed, self.max_skipped, run, weighs=self.also == "weighed"
        ).go()
        if run is not None:
            run.forget(REHEARSAL)  # the next fit in this folder may have a quieter machine
            run.forget_unused()
        self.plan_, self.scores_ = fitted.plan, fitted.scores
        self.bundle_ = replace(fitted.bundle, facts=fitted.bundle.facts | self._label_type())
        self.curve_ = fitted.curve

    def _unused(self, plan: Plan) -> tuple[str, ...]:
        """Say that nothing came of a phase that was given."""
        if self.phase is None or plan.phase is not None:
            return ()
        return (f"How step 5 learns was given, and nothing came of it ({plan.finetune}).",)

    def _taught_by(self, data: Dataset) -> Dataset:
        """Return the rows that may teach, of those of two domains."""
        if not is_also(data).any():
            if self.also == "only":
                raise UsageError(
                    'also="only" learns from rows of another domain alone, and there are none.\n'
                    'Expected a Dataset whose domain says "also" of some rows.'
                )
            return data
        return ALSO_WORDS[self.also](data)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class, the number or the 0/1 labels of every row; shape (n,) or (n, k).

        Of sentences the tags of their words, an array a row.
        """
        outputs = self._outputs(X)
        if self.bundle_.task.kind is Kind.MULTICLASS:
            return np.asarray(self.classes_)[outputs.argmax(axis=1)]
        return self.bundle_.decide(outputs)

    def _outputs(self, X: Any) -> NDArray[np.float32]:
        check_is_fitted(self, "bundle_")
        is_checked = isinstance(X, Dataset) or not hasattr(self, "n_features_in_")
        if self.bundle_.source.modality is Modality.VECTOR and not is_checked:
            X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return self.bundle_.outputs(X)

    def _check_options(self) -> None:
        """Refuse what cannot be right before any work is done.

        Raises
        ------
        UsageError
            It names the option, what came and what was expected.
        """
        is_also_word = isinstance(self.also, str) and self.also in ALSO_WORDS
        is_number = isinstance(self.max_skipped, int | float | np.number)
        wanted = {
            "source": (isinstance(self.source, str), "a URI, or 'auto'"),
            "head": (isinstance(self.head, str), "'linear' or 'mlp'"),
            "finetune": (isinstance(self.finetune, str), "'auto', 'no', 'last:25%' or so"),
            "phase": (isinstance(self.phase, Phase | None), "a headstart.Phase, or None"),
            "max_skipped": (is_number and 0 <= self.max_skipped <= 1, "a share from 0 to 1"),
            "also": (is_also_word, f"one of {', '.join(ALSO_WORDS)}"),
        }
        for name, (is_right, expected) in wanted.items():
            if not is_right:
                raise UsageError(f"{name}={getattr(self, name)!r}: expected {expected}.")
        whole_number("seed", self.seed)
        check_finetune(self.finetune)
        if self.phase is not None:
            self.phase.check()

    def save(self, path: str | Path) -> Path:
        """Save what ships as a folder: `headstart.load(path)` reads it back."""
        check_is_fitted(self, "bundle_")
        return self.bundle_.save(path)

    def _data(self, X: Any, y: Any) -> Dataset:
        raise NotImplementedError

    def _label_type(self) -> dict[str, str]:
        """Return what labels that are no texts were: a bundle, loaded, says them as they were."""
        kind = getattr(getattr(self, "classes_", None), "dtype", np.dtype(str)).kind
        return {"label_type": LABEL_TYPES[kind]} if kind in LABEL_TYPES else {}

    def _names(self) -> tuple[str, ...]:
        """Return the columns of numbers by their names; empty where they came without."""
        return tuple(getattr(self, "feature_names_in_", ()))


class Transfer(ClassifierMixin, _Transfer):
    """Transfer a pretrained source to a small labelled set: the five steps as one estimator.

    Parameters
    ----------
    source
        A source URI (`pkg:efficientnet-lite0`, `timm:resnet18.a1_in1k`, `hf:…`, `file:…`,
        `run:…`, `scratch:…`), or "auto": the one that suits the training rows, ranked by `rank`.
        For two-dimensional arrays the rows are their own features.
    head
        "linear" (solved, its penalty cross-validated) or "mlp".
    finetune
        "no", "auto" (tried where rows and time allow, kept if held-out rows surely prefer it, of
        tags by one standard error; of fewer than 256 texts "few"), "last:25%", "stage:NAME" or
        "all"; "few" (all blocks move by every text, with a contrastive term; kept unless rows held
        out in turn show a loss);
        "only:last:25%" keeps what it comes to, whatever held-out rows say. A `scratch:` source is
        trained as a whole, unless this is "head": then its random features are used as they are.
    phase
        How step 5 (or a `scratch:` source) learns; None: the default of the source's kind. Where
        step 5 is left out, the plan's notes say that nothing came of it.
    seed
        Of the split, the folds, the views and every random weight.
    max_skipped
        The share of rows that may be unreadable.
    run
        A folder to keep checkpoints in; a killed `fit` with the same folder goes on from there.
    also
        What rows of another domain (`Dataset.domain` says "also") are for. "weighed": they teach
        too, and count as much as helps those of the data, by cross-validation on frozen features.
        "no": they are left out. "only": they teach alone (zero-shot), "all": all count the
        same. Rows held out are those of the data, but with "only", which has none: then scores of
        held-out rows are of the other domain too.

    Attributes
    ----------
    bundle_
        What ships: predicts, saves.
    plan_
        What was frozen, what trained, at which rate, how long it took, which arm was kept.
    scores_
        By part of the data: "validation" (where what ships has not learned from its rows),
        "out_of_fold", "test".
    curve_
        Validation score against rows processed, of what was trained by gradient last; None where
        nothing was, or nothing was watched ("few").
    classes_
        The class names, shape (k,).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 0.1], [0.2, 0.0], [1.0, 0.9], [0.8, 1.0]] * 3)
    >>> Transfer().fit(X, ["low", "low", "high", "high"] * 3).predict([[0.9, 0.9]])
    array(['high'], dtype='<U4')
    """

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Return the probability of every class (or label) for every row; shape (n, k)."""
        return self._outputs(X)

    def _data(self, X: Any, y: Any) -> Dataset:
        if isinstance(X, Dataset):
            return self._named(X)
        if is_raw(X):
            return self._raw(X, y)
        if _are_several(y):
            X = validate_data(self, X, dtype=[np.float64, np.float32])
            several = from_arrays(X, y, Modality.VECTOR, kind=Kind.MULTILABEL)
            return self._named(replace(several, columns=self._names()))
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], y_numeric=False)
        check_classification_targets(y)
        self.classes_, encoded = np.unique(y, return_inverse=True)
        task = Task(Kind.MULTICLASS, tuple(str(name) for name in self.classes_))
        targets = encoded.astype(np.int64)
        return Dataset(Modality.VECTOR, X, task, targets, columns=self._names())

    def _raw(self, X: Any, y: Any) -> Dataset:
        """Pictures or texts with one class a row, or (a list or a 0/1 row each) several labels."""
        rows = raw_rows(X)
        if rows.modality is Modality.WORDS:
            return self._named(from_arrays(rows.rows, y))
        if y is None:
            return self._named(rows)
        check_consistent_length(rows.rows, y)
        if are_several(y):
            several = from_arrays(rows.rows, y, rows.modality, kind=Kind.MULTILABEL)
            return self._named(replace(several, columns=rows.columns))
        labels = whole(y)
        check_classification_targets(labels)
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        task = Task(Kind.MULTICLASS, tuple(str(name) for name in self.classes_))
        return replace(rows, task=task, targets=encoded.astype(np.int64))

    def _named(self, data: Dataset) -> Dataset:
        self.classes_ = as_given(labelled(data).labels, data.label_type)
        return data


def _is_learned(name: str) -> bool:
    """Say whether an attribute is one that a fit makes, by scikit-learn's way to name them."""
    return name.endswith("_") and not name.startswith("_")


def _are_several(y: Any) -> bool:
    """Say whether rows of numbers have several labels each; the rest is scikit-learn's to judge."""
    return isinstance(y, Iterable) and are_several(y)


class TransferRegressor(RegressorMixin, _Transfer):
    """Transfer a pretrained source to predict a number; see `Transfer` for the parameters."""

    _kind = Kind.REGRESSION

    def _data(self, X: Any, y: Any) -> Dataset:
        if isinstance(X, Dataset):
            return numbers(X)
        if is_raw(X):
            rows = raw_rows(X)
            made = from_arrays(rows.rows, y, rows.modality, kind=Kind.REGRESSION)
            return replace(made, columns=rows.columns)
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], y_numeric=True)
        targets, task = np.asarray(y, dtype=np.float64), Task(Kind.REGRESSION)
        return Dataset(Modality.VECTOR, X, task, targets, columns=self._names())
