"""Schedule: which rows are probed in which round; decided once, before the first probe."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.machine import seeds
from headstart.task import Kind, Task

#: Rows of the last round: above that, scores move by less than sources differ.
MOST_ROWS = 2000
#: Rows of the first round, and rows a class: with fewer, noise would choose.
LEAST_ROWS, LEAST_A_CLASS = 200, 5


@dataclass(frozen=True)
class Round:
    """Rows that are probed, and how many sources may take part."""

    n_rows: int
    n_sources: int


def schedule(
    n_rows: int, n_classes: int, seconds_a_row: Sequence[float], budget_s: float | None = None
) -> tuple[Round, ...]:
    """Return the rounds: rows double from one to the next.

    Where the budget lets every source see all the rows, a source leaves only when it is known to
    be worse; where it does not, half of them leave after every round.

    Parameters
    ----------
    n_rows
        Rows to choose from.
    n_classes
        0 for a number.
    seconds_a_row
        Of each source.
    budget_s
        None: what it takes.

    References
    ----------
    Jamieson & Talwalkar, Non-stochastic best arm identification, 2016 (successive halving).
    https://arxiv.org/abs/1502.07943

    Examples
    --------
    >>> schedule(5000, 2, [0.01] * 5)
    (Round(n_rows=500, n_sources=5), Round(n_rows=1000, n_sources=5), Round(n_rows=2000, ...
    >>> schedule(5000, 2, [0.01] * 5, budget_s=30)  # all rows for all five would take 100 s
    (Round(n_rows=239, n_sources=5), Round(n_rows=478, n_sources=3), Round(n_rows=956, n_sources=2))
    """
    most = min(n_rows, MOST_ROWS)
    least = min(most, max(LEAST_ROWS, LEAST_A_CLASS * n_classes))
    n = len(seconds_a_row)
    race = _doubled(most, least, [n] * _n_rounds(n))
    if budget_s is None or cost(race, seconds_a_row) <= budget_s:
        return race
    halves = [max(2, math.ceil(n / 2**i)) for i in range(_n_rounds(n))]
    sizes = [most, *(int(most * 0.9**i) for i in range(1, 60) if most * 0.9**i > least), least]
    tried = (_doubled(size, least, halves) for size in sizes)
    return next((t for t in tried if cost(t, seconds_a_row) <= budget_s), (Round(least, n),))


def _n_rounds(n_sources: int) -> int:
    return max(1, math.ceil(math.log2(n_sources))) if n_sources > 2 else 1


def _doubled(last: int, least: int, n_sources: Sequence[int]) -> tuple[Round, ...]:
    rounds: dict[int, Round] = {}
    for i, n in enumerate(n_sources):
        rows = max(least, last // 2 ** (len(n_sources) - 1 - i))
        rounds.setdefault(rows, Round(rows, n))
    return tuple(rounds.values())


def cost(rounds: Sequence[Round], seconds_a_row: Sequence[float]) -> float:
    """Return the seconds of the forward passes if the slowest sources stay; rows run once.

    >>> cost([Round(100, 3), Round(200, 2)], [0.1, 0.2, 0.3])  # 60 s, then 50 s
    110.0
    """
    slowest, seen, total = sorted(seconds_a_row, reverse=True), 0, 0.0
    for one in rounds:
        total += sum(slowest[: one.n_sources]) * (one.n_rows - seen)
        seen = one.n_rows
    return round(total, 9)


def order(targets: NDArray[Any], task: Task, seed: int) -> NDArray[np.int64]:
    """Return all rows in an order of which every beginning is a stratified sample.

    Two rows of every class come first. So a larger sample holds the smaller one, and nothing that
    was computed for that one is lost.

    Examples
    --------
    >>> task = Task(Kind.MULTICLASS, ("ant", "bee"))
    >>> targets = np.array([0] * 8 + [1] * 4)
    >>> targets[order(targets, task, seed=0)][:4].tolist().count(1)
    2
    """
    rng = seeds(seed, "rank")
    shuffled = rng.permutation(len(targets))
    if task.kind is not Kind.MULTICLASS:
        return shuffled
    place = np.empty(len(targets))
    for name in np.unique(targets):
        rows = shuffled[targets[shuffled] == name]
        place[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
        place[rows[:2]] = -1
    return np.argsort(place, kind="stable")
