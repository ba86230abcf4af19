"""Allot: what a budget becomes: seeds and fractions by arm, and how long scratch may learn."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.evidence.evidence import Outcome

#: Points of a data curve, the whole set among them.
POINTS = 6
#: What scratch gives up in turn: points of its data curve, their seeds, seeds; then epochs.
LADDER = ((6, 9, 9), (4, 3, 9), (3, 1, 9), (3, 1, 3), (2, 1, 3), (2, 1, 2), (1, 1, 2))
#: Epochs below which scratch would rather have fewer points and seeds.
ENOUGH_EPOCHS = 25
#: The share of a transfer's fit that does not shrink with the rows: networks opened and exported.
SETUP_SHARE = 0.3


@dataclass(frozen=True)
class Pace:
    """What a fit from scratch takes: before and after its epochs, and each of them."""

    setup_s: float
    epoch_s: float

    @classmethod
    def of(cls, outcome: Outcome) -> "Pace":
        """Read it off a fit."""
        taken = outcome.facts.get("plan", {}).get("taken_s", {})
        learning_s = float(taken.get("scratch", outcome.seconds))
        return cls(max(0.0, outcome.cost_s - learning_s), learning_s / max(1, len(outcome.curve)))


@dataclass(frozen=True)
class Asked:
    """What is to be planned.

    Parameters
    ----------
    n_rows, least
        Rows an arm learns from, and at the start of the data curve.
    seeds
        Seeds that were asked for.
    epochs
        Of scratch, at most.
    seconds
        Arm → what a fit takes, without scratch.
    epoch_s
        What an epoch of scratch takes.
    left_s
        Seconds that are left; None: as long as it takes.
    setup_s
        What a fit of scratch takes beside its epochs.
    """

    n_rows: int
    least: int
    seeds: int
    epochs: int
    seconds: Mapping[str, float]
    epoch_s: float
    left_s: float | None
    setup_s: float = 0.0


@dataclass(frozen=True)
class Allotment:
    """What will be fitted.

    Parameters
    ----------
    seeds
        Of every arm but scratch.
    scratch_seeds
        Of scratch.
    transfer_rows, scratch_rows
        The points of the data curves below the whole set.
    transfer_curve_seeds, scratch_curve_seeds
        Seeds a point.
    epochs
        Of scratch on all rows, at most.
    """

    seeds: int
    scratch_seeds: int
    transfer_rows: tuple[int, ...]
    scratch_rows: tuple[int, ...]
    transfer_curve_seeds: int
    scratch_curve_seeds: int
    epochs: int

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Allotment":
        """Read back what `to_json` wrote."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**fields)


def allot(asked: Asked) -> Allotment:
    """Return what is fitted within the time that is left.

    Examples
    --------
    >>> asked = Asked(256, 8, seeds=5, epochs=100, seconds={"probe": 2.0}, epoch_s=5.0, left_s=None)
    >>> allot(asked).transfer_rows, allot(asked).scratch_seeds
    ((8, 16, 32, 64, 128), 5)
    >>> import dataclasses
    >>> short = allot(dataclasses.replace(asked, left_s=600.0))
    >>> short.seeds, short.scratch_seeds, short.scratch_rows, short.epochs
    (5, 3, (8, 45), 31)
    """
    n, least, seeds = asked.n_rows, asked.least, asked.seeds
    points = steps(n, least, POINTS)
    if asked.left_s is None:
        return Allotment(seeds, seeds, points, points, seeds, seeds, asked.epochs)
    each = sum(asked.seconds.values())
    # Two seeds hardly show how far seeds differ: the third is worth more than a half of the time.
    while seeds > 2 and each * (seeds - 1) > asked.left_s * (2 / 3 if seeds == 3 else 1 / 2):
        seeds -= 1
    left = asked.left_s - each * (seeds - 1)
    costly = max(asked.seconds.values(), default=0.0)
    some, curve_seeds = _transfer_curve(asked, costly, seeds, left / 4)
    left -= costly * curve_seeds * _whole_fits(some, n)
    m, scratch_some, scratch_curve_seeds, epochs = _scratch(asked, seeds, max(0.0, left))
    return Allotment(seeds, m, some, scratch_some, curve_seeds, scratch_curve_seeds, epochs)


def _transfer_curve(
    asked: Asked, fit_s: float, seeds: int, left_s: float
) -> tuple[tuple[int, ...], int]:
    for k, curve_seeds in ((POINTS, seeds), (POINTS, min(3, seeds)), (4, 1), (2, 1)):
        some = steps(asked.n_rows, asked.least, k)
        if fit_s * curve_seeds * _whole_fits(some, asked.n_rows) <= left_s:
            break
    return some, curve_seeds


def _whole_fits(some: tuple[int, ...], n: int) -> float:
    """Return what one fit a point costs, in fits of all rows.

    >>> _whole_fits((50, 100), 200)
    1.125
    """
    return sum(SETUP_SHARE + (1 - SETUP_SHARE) * rows / n for rows in some)


def _scratch(asked: Asked, seeds: int, left_s: float) -> tuple[int, tuple[int, ...], int, int]:
    for k, most_curve_seeds, most_seeds in LADDER:
        some = steps(asked.n_rows, asked.least, k)
        m, curve_seeds = min(seeds, most_seeds), min(seeds, most_curve_seeds)
        epoch_s = asked.epoch_s * (m + curve_seeds * sum(math.sqrt(i / asked.n_rows) for i in some))
        learning_s = left_s - asked.setup_s * (m + curve_seeds * len(some))
        epochs = min(asked.epochs, int(learning_s / max(epoch_s, 1e-9)))
        if epochs >= min(ENOUGH_EPOCHS, asked.epochs):
            break
    return m, some, curve_seeds, max(2, epochs)


def steps(n: int, least: int, k: int) -> tuple[int, ...]:
    """Return the points of a data curve below `n`, spaced evenly on a logarithm from `least`.

    >>> steps(256, 8, 6), steps(6, 8, 6)
    ((8, 16, 32, 64, 128), ())
    """
    if n <= least:
        return ()
    found = np.geomspace(least, n, k).tolist() if k > 1 else [least]
    return tuple(sorted({round(value) for value in found} - {n}))


def epochs_at(allotment: Allotment, n_rows: int, n: int, most: int) -> int:
    """Return how long scratch may learn from fewer rows: longer, as its epochs are shorter."""
    return min(most, max(2, round(allotment.epochs * math.sqrt(n / n_rows))))
