"""Probe: how well a linear head on these features would do, on rows it has not seen."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.features.features import Features
from headstart.heads.design import Held, design, scaler_of
from headstart.heads.linear import fit_linear
from headstart.machine import one_thread
from headstart.metrics.crossed import crossed
from headstart.metrics.interval import Interval, balanced, paired_interval, wilson
from headstart.metrics.scores import held_out_scores, is_imbalanced
from headstart.task import Kind, Task

Array = NDArray[np.float64]

#: Per row, as in `headstart.heads.solve`.
PENALTIES = tuple(float(10 ** (e / 2)) for e in range(4, -9, -1))


@dataclass(frozen=True, eq=False)
class Probed:
    """What rows gave to the score when they were held out.

    Parameters
    ----------
    rows
        Which rows of the data, shape (n,), ascending.
    scores
        What each gave, shape (n,).
    classes
        The class of each row where every class counts the same, shape (n,); None where every row
        does, and the score is the mean.
    """

    rows: NDArray[np.int64]
    scores: Array
    classes: NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls,
        rows: NDArray[np.int64],
        task: Task,
        among: NDArray[Any],
        said: NDArray[np.floating],
    ) -> "Probed":
        """Return what outputs gave, for rows among those of a ranking.

        Parameters
        ----------
        rows
            Which rows, shape (n,).
        among
            The targets of all of them: they say what the score is, and its scale, in every round.
        said
            What a head that had not seen a row says of it; shape (n, k).
        """
        targets = among[rows]
        if task.kind is Kind.MULTICLASS and is_imbalanced(among):
            return cls(rows, (said.argmax(axis=1) == targets).astype(np.float64), targets)
        return cls(rows, held_out_scores(task, targets, said, among))

    @property
    def mean(self) -> float:
        """The score."""
        return float((self.scores * _weights(self.classes, len(self.scores))).mean())

    def interval(self) -> Interval:
        """Return the score with its interval."""
        if self.classes is not None:
            return balanced(self.scores, self.classes)
        if _is_binary(self.scores):
            return wilson(int(self.scores.sum()), len(self.scores))
        found = crossed(self.scores[:, None])  # a mean of F1 or R²: neither is above 1
        return Interval(found.low, found.mid, min(1.0, found.high))

    def gains(self, other: "Probed") -> Array:
        """Return how much more each row gave than to another, of the rows that both have."""
        _, here, there = np.intersect1d(self.rows, other.rows, return_indices=True)
        classes = None if self.classes is None else self.classes[here]
        return (self.scores[here] - other.scores[there]) * _weights(classes, len(here))

    def minus(self, other: "Probed") -> Interval:
        """Return the difference on the rows that both have seen, paired row by row.

        >>> a = Probed(np.array([0, 1, 2]), np.array([1.0, 1.0, 0.0]))
        >>> b = Probed(np.array([1, 2, 3]), np.array([0.0, 0.0, 1.0]))
        >>> a.minus(b).mid
        0.5
        """
        _, here, there = np.intersect1d(self.rows, other.rows, return_indices=True)
        mine, theirs = self.scores[here], other.scores[there]
        if self.classes is None and _is_binary(mine) and _is_binary(theirs):
            return paired_interval(mine, theirs)
        return crossed(self.gains(other)[:, None])


def _weights(classes: NDArray[np.int64] | None, n: int) -> Array:
    """Return how much each row counts, 1 on average: every class the same, where they are told."""
    if classes is None:
        return np.ones(n)
    _, which, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    return np.asarray(n / (len(sizes) * sizes[which]))


def _is_binary(values: Array) -> bool:
    return bool(np.isin(values, (0, 1)).all())


def distinct(features: Features) -> Features:
    """Return one of each group of equal rows: its twin would give the answer away."""
    first = np.unique(features.where, axis=0, return_index=True)[1]
    return features.take(np.sort(first))


def ridge(features: Features, among: NDArray[Any], task: Task) -> Probed:
    """Probe in closed form: least squares on labels, every row left out in turn.

    Parameters
    ----------
    features
        Of some rows.
    among
        The targets of all rows of the data; `features.kept` says which these are.

    References
    ----------
    Allen, The relationship between variable selection and data augmentation and a method for
    prediction, 1974 (PRESS): leaving row i out changes its residual e_i to e_i / (1 − h_ii).

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(80, 3))
    >>> y = (x[:, 0] > 0).astype(int)
    >>> ridge(Features.of(x), y, Task(Kind.MULTICLASS, ("a", "b"))).mean > 0.9
    True
    """
    columns = _columns(among[features.kept], task)
    with one_thread():
        said = leave_one_out(_axes(features), columns, is_share=task.kind is not Kind.REGRESSION)
    return Probed.of(features.kept, task, among, said)


def _axes(features: Features) -> tuple[Array, Array]:
    """Return orthonormal axes of the standardized rows (n, r), and the variance along each."""
    rows = design(features, scaler_of(features, np.ones(len(features))))
    assert isinstance(rows, Held) and rows.axes is not None  # a ranking samples few rows
    some = rows.variance > 1e-10 * max(float(rows.variance.max(initial=0)), 1e-30)
    variance = rows.variance[some]
    return rows.values[:, some] / np.sqrt(len(features) * variance), variance


def leave_one_out(axes: tuple[Array, Array], columns: Array, *, is_share: bool = False) -> Array:
    """Return what ridge says of each row without it, (n, k), at the penalty of least error.

    Parameters
    ----------
    axes
        Orthonormal and centered (n, r), and the variance along each (r,).
    columns
        Shape (n, k).
    is_share
        Whether the mean of a column is the share of a class. Without a row its own class is a
        little rarer, and every other would come first where features say little: noise scored far
        below chance. What the row's leaving took from that mean is put back.

    Raises
    ------
    DataError
        Where no penalty gives an error that is a number.

    Examples
    --------
    One feature, −1 and 1 twice, targets alike; without a row the others say little else.

    >>> x = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    >>> leave_one_out((x / 2, np.ones(1)), x).round(2).ravel().tolist()
    [-1.0, -1.0, 1.0, 1.0]
    """
    u, variance = axes
    level = columns.mean(axis=0)
    inner, squares = u.T @ (columns - level), u**2  # (r, k), (n, r)
    best, least = None, np.inf
    for penalty in PENALTIES:
        kept = variance / (variance + penalty)  # (r,)
        left = 1 - 1 / len(u) - squares @ kept  # 1 − h_ii, (n,)
        residual = (columns - level - u @ (kept[:, None] * inner)) / np.maximum(left, 1e-9)[:, None]
        error = float(np.square(residual).mean())
        if error < least:
            best, least = columns - residual, error
    if best is None:
        raise DataError("The targets are too large to square.\nExpected numbers below 1e150.")
    return best + (columns - level) / max(len(u) - 1, 1) if is_share else best


def _columns(targets: NDArray[Any], task: Task) -> Array:
    if task.kind is Kind.MULTICLASS:
        return np.eye(task.n_outputs)[targets]
    return np.asarray(targets, dtype=np.float64).reshape(len(targets), -1)


def logistic(features: Features, among: NDArray[Any], task: Task, seed: int) -> Probed:
    """Probe with the head that step 4 trains, its penalty chosen by cross-validation.

    Parameters
    ----------
    features, among
        As in `ridge`.
    seed
        Of the folds.
    """
    fitted = fit_linear(features, among[features.kept], task, seed=seed)
    if fitted.oof_outputs is None:
        return ridge(features, among, task)
    held = np.flatnonzero(np.isfinite(fitted.oof_outputs).all(axis=1))
    return Probed.of(features.kept[held], task, among, fitted.oof_outputs[held])


def measure_of(task: Task, targets: NDArray[Any]) -> str:
    """Say what the mean of the row scores is."""
    if task.kind is Kind.REGRESSION:
        return "R²"
    if task.kind is Kind.MULTILABEL:
        return "F1 of a row"
    return "balanced accuracy" if is_imbalanced(targets) else "accuracy"
