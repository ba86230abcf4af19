"""Overfitting: how much better a model is on rows it learned from, and what was done about it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.checks.finding import Finding, Severity
from headstart.data.ragged import content
from headstart.metrics.interval import Interval, balanced, difference
from headstart.metrics.scores import is_imbalanced, row_scores
from headstart.task import Kind, Task

#: The gap from which a person should act, in units of the score.
WIDE = 0.1

#: What the score of a row is called, where a row has one.
NAMES = {
    Kind.MULTICLASS: "accuracy", Kind.MULTILABEL: "F1 of a row", Kind.REGRESSION: "R²",
    Kind.TAGS: "entity F1",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Said:
    """What a model says of some rows, and what is true of them.

    Parameters
    ----------
    targets
        As in a dataset.
    outputs
        Shape (n, k).
    """

    targets: NDArray[np.generic]
    outputs: NDArray[np.floating]


def overfitting(
    task: Task,
    learned: Said,
    unseen: Said,
    done: str = "",
    thresholds: ArrayLike | None = None,
) -> list[Finding]:
    """Return the gap between rows learned from and rows unseen, with its interval.

    Parameters
    ----------
    task
        Says what the score is: accuracy (balanced where the classes are uneven, over those that
        both sides have), the F1 of a row for several labels, R² for a number.
    learned
        What the model says of rows it was fitted on.
    unseen
        What it says of validation rows; or, out of fold, of the same rows in the same order: the
        gap is then that of pairs, and its interval narrower.
    done
        What was done about it, in words: the penalty, an earlier stop, a simpler head.
    thresholds
        For several labels, the probability from which each is said.
    """
    if min(len(learned.targets), len(unseen.targets)) < 2:
        return []
    name, gap, means = _compared(task, learned, unseen, thresholds)
    real = "" if gap.low > 0 else ", which may be chance"
    what = (
        f"Rows learned from score {gap:+.3f} above unseen ones{real} ({name} "
        f"{means[0]:.3f} against {means[1]:.3f})."
    )
    done = f"What was done about it: {done}." if done else ""
    more = " More rows, a smaller head or a heavier penalty would narrow it."
    is_wide = gap.low > WIDE
    facts = dict(zip(("low", "gap", "high"), gap, strict=True))
    severity: Severity = "warning" if is_wide else "note"
    return [Finding("overfitting", severity, what, fix=done + more * is_wide, facts=facts)]


def _compared(
    task: Task, learned: Said, unseen: Said, thresholds: ArrayLike | None
) -> tuple[str, Interval, tuple[float, float]]:
    """Return the name of the score, the gap, and the score of each side."""
    among = np.concatenate([learned.targets, unseen.targets])  # one scale for both sides
    is_paired = content(learned.targets) == content(unseen.targets)
    if task.kind is Kind.MULTICLASS and is_imbalanced(among) and not is_paired:
        # Each side has shares of classes of its own; those that one side lacks cannot be compared.
        both = np.intersect1d(learned.targets, unseen.targets)
        if len(both):
            sides = [balanced(*_right(side, both)) for side in (learned, unseen)]
            return "balanced accuracy", difference(*sides), (sides[0].mid, sides[1].mid)
    seen, held_out = (
        row_scores(task, side.targets, side.outputs, thresholds, among)
        for side in (learned, unseen)
    )
    is_even = is_paired and task.kind is Kind.MULTICLASS and is_imbalanced(among)
    gap = paired_gap(seen, held_out) if is_paired else welch(seen, held_out)
    name = "balanced accuracy" if is_even else NAMES[task.kind]
    return name, gap, (float(seen.mean()), float(held_out.mean()))


def _right(side: Said, classes: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Return which rows of some classes are right, and their classes."""
    some = np.isin(side.targets, classes)
    targets = side.targets[some]
    return side.outputs[some].argmax(axis=1) == targets, targets


def paired_gap(a: ArrayLike, b: ArrayLike) -> Interval:
    """Return the mean of a − b over pairs, with its 95 % Student interval.

    >>> print(paired_gap([1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]))  # 1/2 ± 3.182 · 0.289
    +0.500 [-0.419, +1.419]
    """
    from scipy.special import stdtrit

    gaps = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    n, mid = len(gaps), float(gaps.mean())
    half = float(stdtrit(n - 1, 0.975)) * float(gaps.std(ddof=1)) / math.sqrt(n)
    return Interval(mid - half, mid, mid + half)


def welch(a: ArrayLike, b: ArrayLike) -> Interval:
    """Return mean(a) − mean(b) of two samples of any variances, with its 95 % interval.

    References
    ----------
    Welch, The generalization of "Student's" problem when several different population variances
    are involved, 1947.

    Examples
    --------
    >>> print(welch([1.0, 3.0], [0.0, 2.0]))  # variances 1 and 1 of the means, 2 degrees of freedom
    +1.000 [-5.085, +7.085]
    """
    from scipy.special import stdtrit

    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    mid = float(first.mean() - second.mean())
    parts = np.array([x.var(ddof=1) / len(x) for x in (first, second)])
    if parts.sum() == 0:
        return Interval(mid, mid, mid)
    freedom = parts.sum() ** 2 / (parts**2 / [len(first) - 1, len(second) - 1]).sum()
    half = float(stdtrit(freedom, 0.975)) * math.sqrt(parts.sum())
    return Interval(mid - half, mid, mid + half)
