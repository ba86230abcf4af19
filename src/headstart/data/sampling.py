"""Which rows train, which judge: splits, folds and samples.

Classes keep their shares, labels of several-at-once rows too; equal rows never stand on both
sides. The same seed gives the same answer on every machine.
"""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import TEST, TRAIN, UNASSIGNED, VALIDATION, Dataset
from headstart.errors import UsageError
from headstart.machine import seeds
from headstart.task import Kind, Task

Index = NDArray[np.int64]
Fold = tuple[Index, Index]


def split(
    data: Dataset,
    *,
    seed: int,
    validation: float = 0.2,
    test: float = 0.0,
    hashes: Sequence[Hashable] | None = None,
) -> Dataset:
    """Return the data with every row in "train", "validation" or "test".

    Splits that the data came with are kept: validation rows are drawn from the training and the
    unassigned rows only if there are none yet, and so are test rows. A class of one row stays in
    training.

    Parameters
    ----------
    data
        The rows; stratified by their targets where they have some.
    seed
        Names the draw.
    validation, test
        Shares of the rows that may be drawn, from 0 to 1.
    hashes
        The content hash of each row, or a number for it. Rows of equal content are drawn together,
        and an unassigned row goes where its twin already is.
    """
    _check_share(validation, test)
    parts = np.full(len(data), UNASSIGNED, dtype="<U10")
    parts[:] = UNASSIGNED if data.split is None else data.split
    if hashes is not None:
        _follow_twins(parts, hashes)
    wanted = {TEST: test, VALIDATION: validation}
    missing = {part: share for part, share in wanted.items() if not (parts == part).any()}
    pool = np.flatnonzero((parts == TRAIN) | (parts == UNASSIGNED))
    parts[pool] = TRAIN
    n_pool = len(pool)
    for part, share in missing.items():
        drawn = _drawn(data, pool, round(share * n_pool), seeds(seed, "split", part), hashes)
        parts[drawn] = part
        pool = np.setdiff1d(pool, drawn)
    return data.with_split(parts)


def folds(
    targets: NDArray[Any], task: Task, k: int, seed: int, groups: Index | None = None
) -> list[Fold]:
    """Return `k` pairs (rows to fit on, rows to judge on); each row is judged exactly once.

    Parameters
    ----------
    targets
        As in `Dataset`: (n,) or (n, labels).
    task
        Says whether they are classes, labels or numbers. Classes are spread evenly; a class with
        fewer rows than folds is missing from the judged rows of some folds.
    k
        At least 2, at most the number of rows, or of groups.
    seed
        Names the draw.
    groups
        A number for the content of each row, shape (n,). Rows of one number are judged together,
        as what the first of them is. The groups are dealt in the order of their numbers, so that
        those of rows that all differ, numbered as they stand, change nothing.

    Examples
    --------
    >>> task = Task(Kind.MULTICLASS, ("ant", "bee"))
    >>> pairs = folds(np.array([0, 0, 1, 1]), task, k=2, seed=0)
    >>> [sorted(np.array([0, 0, 1, 1])[judged].tolist()) for fitted, judged in pairs]
    [[0, 1], [0, 1]]
    """
    each = np.arange(len(targets)) if groups is None else groups
    _, first, group = np.unique(each, return_index=True, return_inverse=True)
    n, of_group = len(first), np.asarray(targets)[first]
    if not 2 <= k <= n:
        raise UsageError(f"{k} folds of {n} rows: expected from 2 to {n} folds.")
    rng = seeds(seed, "folds")
    if task.kind is Kind.MULTILABEL:
        dealt = _dealt_by_labels(of_group, np.full(k, 1 / k), rng)
    else:
        dealt = _dealt(_strata(of_group, task), k, rng)
    at = dealt[group]
    return [(np.flatnonzero(at != fold), np.flatnonzero(at == fold)) for fold in range(k)]


def sample(targets: NDArray[Any], task: Task, n: int, seed: int, least: int = 1) -> Index:
    """Return the sorted indices of `n` rows; classes keep their shares, and a few rows if they can.

    Parameters
    ----------
    targets, task
        As in `folds`.
    n
        Rows wanted.
    seed
        Names the draw.
    least
        Rows that every class is to give, or all it has; fewer where `n` rows are too few for that.

    Examples
    --------
    >>> task = Task(Kind.MULTICLASS, ("ant", "bee"))
    >>> sample(np.array([0, 0, 0, 0, 0, 0, 0, 1]), task, n=2, seed=0)[1]  # the only bee
    np.int64(7)
    """
    if not 0 <= n <= len(targets):
        raise UsageError(f"A sample of {n} rows out of {len(targets)}: expected at most all.")
    rng = seeds(seed, "sample")
    if task.kind is Kind.MULTILABEL:
        share = n / max(1, len(targets))
        at = _dealt_by_labels(np.asarray(targets), np.array([1 - share, share]), rng)
        return _exactly(np.flatnonzero(at == 1), np.flatnonzero(at == 0), n, rng)
    strata = _strata(targets, task)
    counts = np.bincount(strata)
    lows = (np.minimum(counts, each) for each in range(least, -1, -1))
    low = next(each for each in lows if each.sum() <= n)
    return _picked(strata, quotas(counts, n, low, counts, rng), rng)


def quotas(counts: Index, n: int, low: Index, high: Index, rng: np.random.Generator) -> Index:
    """Return how many of `n` rows each class gives: its share, by largest remainder.

    Parameters
    ----------
    counts
        Rows a class has; shape (classes,).
    n
        Rows wanted; met as far as `low` and `high` allow.
    low, high
        The least and the most a class may give; shape (classes,).
    rng
        Settles ties.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> quotas(np.array([60, 30, 10]), 10, np.zeros(3, int), np.array([60, 30, 10]), rng)
    array([6, 3, 1])
    """
    ideal = counts * (n / max(1, counts.sum()))  # (classes,)
    given: Index = np.clip(np.floor(ideal).astype(np.int64), low, high)
    tie = rng.permutation(len(counts))
    while (lacking := n - given.sum()) != 0:
        step = 1 if lacking > 0 else -1
        free = np.flatnonzero(given < high if step > 0 else given > low)
        if len(free) == 0:
            break
        order = np.lexsort((tie[free], -step * (ideal - given)[free]))
        given[free[order[: abs(lacking)]]] += step
    return given


def _check_share(validation: float, test: float) -> None:
    if not (0 <= validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise UsageError(
            f"validation={validation} and test={test} leave nothing to train on.\n"
            "Expected two shares from 0 to 1 with a sum below 1, for example 0.2 and 0.2."
        )


def _follow_twins(parts: NDArray[np.str_], hashes: Sequence[Hashable]) -> None:
    """Send an unassigned row where a row of equal content already is."""
    home = {hashes[i]: parts[i] for i in np.flatnonzero(parts != UNASSIGNED).tolist()}
    for i in np.flatnonzero(parts == UNASSIGNED).tolist():
        parts[i] = home.get(hashes[i], UNASSIGNED)


def _drawn(
    data: Dataset,
    pool: Index,
    n: int,
    rng: np.random.Generator,
    hashes: Sequence[Hashable] | None,
) -> Index:
    """Return `n` rows of the pool, or a few more or less where equal rows move together."""
    if n == 0 or len(pool) < 2:
        return np.zeros(0, dtype=np.int64)
    first, group = _groups(pool, hashes)
    of_group = _targets_at(data, pool[first])
    n_groups = min(max(1, round(n * len(first) / len(pool))), len(first) - 1)
    picked = _stratified(of_group, data.task, n_groups, rng)
    return pool[np.isin(group, picked)]


def _groups(pool: Index, hashes: Sequence[Hashable] | None) -> tuple[Index, Index]:
    """Return the first place in the pool of every group of equal rows, and the group of a row."""
    if hashes is None:
        each = np.arange(len(pool))
        return each, each
    number: dict[Hashable, int] = {}
    group = np.array([number.setdefault(hashes[i], len(number)) for i in pool])
    return np.unique(group, return_index=True)[1], group


def _targets_at(data: Dataset, at: Index) -> NDArray[Any]:
    return np.zeros(len(at), dtype=np.int64) if data.targets is None else data.targets[at]


def _stratified(
    targets: NDArray[Any], task: Task | None, n: int, rng: np.random.Generator
) -> Index:
    """Return `n` rows to hold out; no class loses its last row."""
    if task is not None and task.kind is Kind.MULTILABEL:
        share = n / len(targets)
        at = _dealt_by_labels(targets, np.array([1 - share, share]), rng)
        return _exactly(np.flatnonzero(at == 1), np.flatnonzero(at == 0), n, rng)
    strata = _strata(targets, task)
    counts = np.bincount(strata)
    most = np.maximum(counts - 1, 0)
    return _picked(strata, quotas(counts, n, np.zeros_like(counts), most, rng), rng)


def _strata(targets: NDArray[Any], task: Task | None) -> Index:
    """Return the class of a row; numbers, and rows without targets, are all of one."""
    if task is None or task.kind is not Kind.MULTICLASS:
        return np.zeros(len(targets), dtype=np.int64)
    return np.asarray(targets, dtype=np.int64)


def _picked(strata: Index, wanted: Index, rng: np.random.Generator) -> Index:
    """Return the sorted indices of `wanted[c]` rows of each class c, drawn at random."""
    grouped = _shuffled_by_class(strata, rng)
    ends = np.cumsum(np.bincount(strata, minlength=len(wanted)))
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    pieces = [grouped[start : start + n] for start, n in zip(starts, wanted, strict=True)]
    return np.sort(np.concatenate(pieces))


def _shuffled_by_class(strata: Index, rng: np.random.Generator) -> Index:
    order = rng.permutation(len(strata))
    return order[np.argsort(strata[order], kind="stable")]


def _dealt(strata: Index, k: int, rng: np.random.Generator) -> Index:
    """Deal the rows out like cards, class after class; return the fold of a row, shape (n,)."""
    at = np.empty(len(strata), dtype=np.int64)
    at[_shuffled_by_class(strata, rng)] = np.arange(len(strata)) % k
    return at


def _dealt_by_labels(
    targets: NDArray[Any], shares: NDArray[np.float64], rng: np.random.Generator
) -> Index:
    """Deal rows of several labels so that each label keeps its shares; the part of a row, (n,).

    The rarest label is dealt first, each row to the part that lacks most of it, then to the part
    that lacks most rows.

    References
    ----------
    Sechidis, Tsoumakas & Vlahavas, On the stratification of multi-label data, 2011, algorithm 1.
    """
    has = np.column_stack([np.asarray(targets) > 0, np.ones(len(targets), dtype=bool)])
    lacking = has.sum(axis=0)[:, None] * shares[None, :]  # (labels + 1, parts); last: any row
    at = np.full(len(has), -1, dtype=np.int64)
    order = rng.permutation(len(has))
    left = has.sum(axis=0)  # (labels + 1,), of the rows that are not dealt yet
    while left[-1]:
        label = int(np.argmin(np.where(left == 0, math.inf, left)))
        open_rows = order[at[order] < 0]
        for row in open_rows[has[open_rows, label]]:
            part = int(np.lexsort((-lacking[-1], -lacking[label]))[0])
            at[row] = part
            lacking[has[row], part] -= 1
            left -= has[row]
    return at


def _exactly(chosen: Index, others: Index, n: int, rng: np.random.Generator) -> Index:
    """Return `n` rows: the chosen ones, less some or with some others."""
    if len(chosen) > n:
        return np.sort(rng.choice(chosen, size=n, replace=False))
    more = rng.choice(others, size=n - len(chosen), replace=False)
    return np.sort(np.concatenate([chosen, more]))
