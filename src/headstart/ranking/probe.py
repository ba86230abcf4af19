"""Probe: how well a linear head on these features would do, on rows it has not seen."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.features.features import Features
from headstart.heads.design import Held, design, scaler_of
from headstart.heads.linear import fit_linear
from headstart.machine import one_thread
from headstart.metrics.crossed import crossed
from headstart.metrics.interval import Interval, paired_interval, wilson
from headstart.metrics.scores import is_imbalanced, row_scores
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
        What each gave, shape (n,); their mean is the score.
    """

    rows: NDArray[np.int64]
    scores: Array

    @property
    def mean(self) -> float:
        """The score."""
        return float(self.scores.mean())

    def interval(self) -> Interval:
        """Return the score with its interval."""
        if _is_binary(self.scores):
            return wilson(int(self.scores.sum()), len(self.scores))
        return crossed(self.scores[:, None])

    def minus(self, other: "Probed") -> Interval:
        """Return the difference on the rows that both have seen, paired row by row.

        >>> a = Probed(np.array([0, 1, 2]), np.array([1.0, 1.0, 0.0]))
        >>> b = Probed(np.array([1, 2, 3]), np.array([0.0, 0.0, 1.0]))
        >>> a.minus(b).mid
        0.5
        """
        _, here, there = np.intersect1d(self.rows, other.rows, return_indices=True)
        mine, theirs = self.scores[here], other.scores[there]
        if _is_binary(mine) and _is_binary(theirs):
            return paired_interval(mine, theirs)
        return crossed((mine - theirs)[:, None])


def _is_binary(values: Array) -> bool:
    return bool(np.isin(values, (0, 1)).all())


def distinct(features: Features) -> Features:
    """Return one of each group of equal rows: its twin would give the answer away."""
    first = np.unique(features.where, axis=0, return_index=True)[1]
    return features.take(np.sort(first))


def ridge(features: Features, targets: NDArray[Any], task: Task) -> Probed:
    """Probe in closed form: least squares on labels, every row left out in turn.

    Parameters
    ----------
    features
        Of n rows.
    targets
        Of the same rows.

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
    with one_thread():
        said = leave_one_out(_axes(features), _columns(targets, task))
    return Probed(features.kept, row_scores(task, targets, said))


def _axes(features: Features) -> tuple[Array, Array]:
    """Return orthonormal axes of the standardized rows (n, r), and the variance along each."""
    rows = design(features, scaler_of(features, np.ones(len(features))))
    assert isinstance(rows, Held) and rows.axes is not None  # a ranking samples few rows
    some = rows.variance > 1e-10 * max(float(rows.variance.max(initial=0)), 1e-30)
    variance = rows.variance[some]
    return rows.values[:, some] / np.sqrt(len(features) * variance), variance


def leave_one_out(axes: tuple[Array, Array], columns: Array) -> Array:
    """Return what ridge says of each row without it, (n, k), at the penalty of least error.

    Parameters
    ----------
    axes
        Orthonormal and centered (n, r), and the variance along each (r,).
    columns
        Shape (n, k).

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
    best, least = columns, np.inf
    for penalty in PENALTIES:
        kept = variance / (variance + penalty)  # (r,)
        left = 1 - 1 / len(u) - squares @ kept  # 1 − h_ii, (n,)
        residual = (columns - level - u @ (kept[:, None] * inner)) / np.maximum(left, 1e-9)[:, None]
        error = float(np.square(residual).mean())
        if error < least:
            best, least = columns - residual, error
    return best


def _columns(targets: NDArray[Any], task: Task) -> Array:
    if task.kind is Kind.MULTICLASS:
        return np.eye(task.n_outputs)[targets]
    return np.asarray(targets, dtype=np.float64).reshape(len(targets), -1)


def logistic(features: Features, targets: NDArray[Any], task: Task, seed: int) -> Probed:
    """Probe with the head that step 4 trains, its penalty chosen by cross-validation."""
    fitted = fit_linear(features, targets, task, seed=seed)
    if fitted.oof_outputs is None:
        return ridge(features, targets, task)
    held = np.flatnonzero(np.isfinite(fitted.oof_outputs).all(axis=1))
    said = fitted.oof_outputs[held]
    scores = row_scores(task, targets[held], said, fitted.head.thresholds, among=targets)
    return Probed(features.kept[held], scores)


def measure_of(task: Task, targets: NDArray[Any]) -> str:
    """Say what the mean of the row scores is."""
    if task.kind is Kind.REGRESSION:
        return "R²"
    if task.kind is Kind.MULTILABEL:
        return "F1 of a row"
    return "balanced accuracy" if is_imbalanced(targets) else "accuracy"
