"""Choose: the penalty of a linear head, by what rows that were held out cost under it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headstart.data.pictures import row_hash
from headstart.data.sampling import folds as folds_of
from headstart.features.features import Features
from headstart.heads.design import CHUNK, IDENTITY, Rows
from headstart.heads.solve import (
    ROUGH,
    Problem,
    Solution,
    held_out_losses,
    logits_of,
    problem,
)
from headstart.task import Kind, Task

#: The rows to fit, and the rows to hold out.
Fold: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]

#: From the strongest, two a decade. They are per row: the same for many rows as for few.
PENALTIES: tuple[float, ...] = tuple(float(10 ** (e / 2)) for e in range(4, -11, -1))
#: Where there are too few rows to choose one.
DEFAULT_PENALTY = 0.1
#: A weaker penalty must lower the loss to this share of the least so far, or it is no better.
WORTH = 0.999
#: So many penalties in a row that are no better than the best end the path.
PATIENCE = 2
#: Above so many rows that may be held out one split takes the place of the folds.
SPLIT_ABOVE = 20_000
#: Raw numbers that stand for more rows than this, on average, are no copies.
MOST_COPIES = 10


@dataclass(frozen=True)
class Tried:
    """A penalty, and what the rows held out of each fold cost under it, on average.

    >>> Tried(0.1, (0.5, 0.25)).loss
    0.375
    """

    penalty: float
    losses: tuple[float, ...]

    @property
    def loss(self) -> float:
        """The mean over folds."""
        return sum(self.losses) / len(self.losses)


@dataclass(frozen=True, eq=False)
class Job:
    """Rows, what is true of them, and how much each counts."""

    rows: Rows
    targets: NDArray[Any]
    weight: NDArray[np.float64]
    task: Task

    def take(self, index: NDArray[np.int64]) -> "Job":
        """Return the same for some of the rows."""
        rows = self.rows.take(index)
        return Job(rows, self.targets[index], self.weight[index], self.task)

    def whole(self) -> Problem:
        """Return the problem of all the rows."""
        k = self.task.n_outputs
        return problem(self.task.kind, self.rows, self.targets, self.weight, k)

    def cost(self, logits: NDArray[np.float32]) -> float:
        """Return the mean loss of the rows, for logits of shape (n, k)."""
        each = held_out_losses(self.task.kind, logits, self.targets)
        return float(self.weight @ each / self.weight.sum())


@dataclass(frozen=True, eq=False)
class Choice:
    """The penalty of least held-out loss, and what was seen on the way.

    Parameters
    ----------
    logits
        Shape (n, k): of each row when it was held out; NaN where it never was, or counts nothing.
    start
        A solution near the one for all the rows.
    """

    penalty: float
    path: tuple[Tried, ...] = ()
    logits: NDArray[np.float32] | None = None
    start: Solution | None = None
    warnings: tuple[str, ...] = ()


def holdouts(
    job: Job,
    features: Features,
    folds: int | Sequence[Fold],
    seed: int,
    judges: NDArray[np.bool_] | None = None,
) -> Sequence[Fold]:
    """Return the folds to use, equal rows on one side; none where too few rows can be held out.

    Parameters
    ----------
    features
        What the rows of the job were made of.
    judges
        Which rows may be held out, shape (n,); the others are in every fit. All if None. Rows that
        count nothing are not.
    """
    if not isinstance(folds, int):
        return folds
    if folds < 2:
        return ()
    n, groups, counts = len(job.targets), groups_of(features), job.weight > 0
    at = np.flatnonzero(counts if judges is None else counts & judges)
    at, most = _judging(job, at, groups)
    k = min(folds, most)
    if k < 2:
        return ()
    # Of few judges beside many rows all are asked: one split would leave a handful to decide.
    is_split = len(at) > SPLIT_ABOVE
    if is_split:
        k = min(max(folds, 5), len(np.unique(groups[at])))
    found = folds_of(job.targets[at], job.task, k, seed, groups[at])
    return among(found[:1] if is_split else found, at, n)


def groups_of(features: Features) -> NDArray[np.int64]:
    """Return a number for the content of each row, from 0 as they first stand; shape (n,).

    Raw numbers of which each stands for many rows are no copies but values that repeat, as those of
    a table of few settings do: there each row is a content of its own.

    >>> groups_of(Features.of(np.array([[2.0], [1.0], [2.0]])))
    array([0, 1, 0])
    """
    _, first, group = np.unique(_contents(features), return_index=True, return_inverse=True)
    if _is_raw(features) and len(first) * MOST_COPIES < len(group):
        return np.arange(len(group))
    return np.argsort(np.argsort(first))[group]


def _is_raw(features: Features) -> bool:
    return features.key in ("memory", IDENTITY) and not features.is_ragged


def _contents(features: Features) -> NDArray[Any]:
    if _is_raw(features):
        hashes = [row_hash(row) for _, rows in features.chunks(CHUNK) for row in rows]
        return np.array(hashes, dtype="V16")
    # Extraction finds rows by their hash: equal content has one place, and is not read again.
    return features.where.astype(np.int64) @ np.array([2**32, 1])


def among(folds: Sequence[Fold], at: NDArray[np.int64], n: int) -> list[Fold]:
    """Return folds of the rows `at` as folds of all `n`: the others are in every fit.

    >>> [(fit.tolist(), out.tolist()) for fit, out in among([([0], [1])], np.array([0, 2]), 3)]
    [([0, 1], [2])]
    """
    return [(np.delete(np.arange(n), at[out]), at[out]) for _, out in folds]


def _judging(
    job: Job, at: NDArray[np.int64], groups: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Return which of the rows `at` may be held out, and the most folds of them.

    Each fold is to hold out a row of every class, and leave one. A class of one row, or of equal
    ones, has none to leave: it is in every fit. A single row beside, such as the name of a class,
    does not stand in for it: heads that knew classes by their names alone chose a temperature of 8
    (NOTES.md of the bench). What is left must be of two classes, or it would only say how sure to
    be of the one.
    """
    if job.task.kind is not Kind.MULTICLASS:
        return at, len(np.unique(groups[at])) // 2
    label, k = job.targets[np.unique(groups, return_index=True)[1]], job.task.n_outputs
    here = np.bincount(label[np.unique(groups[at])], minlength=k)
    teach = np.unique(groups[job.weight > 0])
    others = np.bincount(label[teach], minlength=k) - here
    alone = np.where(others <= 1, here, 0)  # no others do them
    if (alone == 1).any():
        at = at[alone[label[groups[at]]] != 1]
        if len(np.unique(job.targets[at])) < 2:
            return at, 0
    n = len(np.unique(groups[at]))
    return at, int(min(n // 2, alone[alone > 1].min(initial=n)))


def choose(job: Job, penalties: Sequence[float] | None, folds: Sequence[Fold]) -> Choice:
    """Return the penalty of least held-out loss.

    The path goes from the strongest penalty to the weakest, each solved from the one before, and
    ends early once it only gets worse.
    """
    # A fold whose rows count for nothing judges nothing, and none can be fitted on such rows.
    folds = [fold for fold in folds if all(job.weight[part].sum() > 0 for part in fold)]
    if not folds:
        return _unchecked(penalties)
    fitted = [job.take(fit).whole() for fit, _ in folds]
    held = [job.take(out) for _, out in folds]
    starts: list[Solution | None] = [None] * len(folds)
    best, path, lowest = Choice(0.0), [], 0
    for penalty in sorted(penalties or PENALTIES, reverse=True):
        found = [p.solve(penalty, s, ROUGH) for p, s in zip(fitted, starts, strict=True)]
        said = [logits_of(part.rows, s) for part, s in zip(held, found, strict=True)]
        losses = tuple(part.cost(logits) for part, logits in zip(held, said, strict=True))
        path.append(Tried(penalty, losses))
        if len(path) == 1 or path[-1].loss < WORTH * path[lowest].loss:
            lowest = len(path) - 1
            best = Choice(penalty, logits=_spread(said, folds, job.weight), start=found[0])
        elif len(path) - 1 - lowest >= PATIENCE:
            break
        starts = list(found)
    return dataclasses.replace(best, path=tuple(path))


def _unchecked(penalties: Sequence[float] | None) -> Choice:
    if penalties:
        return Choice(penalties[0])
    return Choice(
        DEFAULT_PENALTY,
        warnings=(
            "No rows were held out to choose the penalty (too few differ, or all classes but one "
            f"have a single row): the default, {DEFAULT_PENALTY:g}, was taken, and probabilities "
            "are not calibrated.",
        ),
    )


def _spread(
    said: Sequence[NDArray[np.float32]], folds: Sequence[Fold], weight: NDArray[np.float64]
) -> NDArray[np.float32]:
    # Back to the order of the rows, shape (n, k).
    logits = np.full((len(weight), said[0].shape[1]), np.nan, dtype=np.float32)
    for values, (_, out) in zip(said, folds, strict=True):
        logits[out] = values
    logits[weight == 0] = np.nan  # what counts for nothing is no evidence of how sure to be
    return logits
