"""The five gains between two curves: start, slope, asymptote, time, labels; and the ratio of areas.

Each takes the curves it needs, effort or data, as its docstring says.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.metrics.curve import Curve

Floats = NDArray[np.float64]
Scale = Callable[[ArrayLike], Floats]

#: The share of the final score up to which a curve counts as rising.
RISEN = 0.9
#: The share of scratch's final score that is the threshold where none was asked for.
THRESHOLD = 0.95


@dataclass(frozen=True)
class Slope:
    """How fast two arms rose.

    Parameters
    ----------
    transfer, control
        Score per doubling of rows processed; not a number where a line had fewer than two points.
    until
        The rows processed up to which the lines were fitted.
    area
        Between the two curves, score × doublings; a high start lowers a slope, but not this.
    """

    transfer: float
    control: float
    until: int
    area: float

    @property
    def gain(self) -> float:
        """By how much the slope of transfer is steeper."""
        return self.transfer - self.control


@dataclass(frozen=True)
class Asymptote:
    """Where two arms ended, and whether they had stopped getting better.

    >>> print(Asymptote(0.9, 0.8, transfer_converged=True, control_converged=False))
    at most +0.100
    """

    transfer: float
    control: float
    transfer_converged: bool
    control_converged: bool

    @property
    def gain(self) -> float:
        """By how much transfer ended higher."""
        return self.transfer - self.control

    @property
    def is_provisional(self) -> bool:
        """Whether an arm could have gone on."""
        return not (self.transfer_converged and self.control_converged)

    def __str__(self) -> str:
        words = {(True, False): "at most ", (False, True): "at least ", (False, False): "about "}
        bound = words.get((self.transfer_converged, self.control_converged), "")
        return f"{bound}{self.gain:+.3f}"


@dataclass(frozen=True)
class TimeTo:
    """What it took to reach a score: rows processed and seconds; None if it was never reached.

    Parameters
    ----------
    rows
        Rows processed.
    warm_s
        Seconds of training alone: the trunk is exported, its features are in the cache.
    cold_s
        Seconds with that preparation.
    """

    rows: int | None
    warm_s: float | None
    cold_s: float | None


@dataclass(frozen=True)
class Needed:
    """How many labelled rows an arm needs for a score.

    Parameters
    ----------
    rows
        The rows; None if it never got there.
    least, most
        The fewest and the most rows it was tried with.

    Examples
    --------
    >>> print(Needed(20.4, 10, 80), Needed(10.0, 10, 80), Needed(None, 10, 80), sep=", ")
    20, ≤ 10, > 80
    """

    rows: float | None
    least: int
    most: int

    @property
    def is_bound(self) -> bool:
        """Whether it got there with the fewest rows already, and may need fewer."""
        return self.rows is not None and self.rows <= self.least

    def __str__(self) -> str:
        if self.rows is None:
            return f"> {self.most}"
        return f"≤ {self.least}" if self.is_bound else f"{self.rows:.0f}"


@dataclass(frozen=True)
class LabelsSaved:
    """How many labelled rows each arm needs for what the other does with `n`.

    Parameters
    ----------
    n
        Labelled rows at which the two are compared.
    control
        What the control needs to match transfer at `n`.
    transfer
        What transfer needs to match the control at `n`.

    Examples
    --------
    >>> print(LabelsSaved(80, control=Needed(None, 10, 80), transfer=Needed(10, 10, 80)))
    scratch needs > 80 labels to match transfer at 80;
    transfer needs ≤ 10 to match scratch at 80: ≥ 70 saved
    """

    n: int
    control: Needed
    transfer: Needed

    @property
    def saved(self) -> float | None:
        """`n` minus the rows transfer needs; None if it never matched the control."""
        return None if self.transfer.rows is None else self.n - self.transfer.rows

    @property
    def extra(self) -> float | None:
        """How many more labelled rows the source is worth; None if the control never matched.

        References
        ----------
        Hernandez et al., Scaling laws for transfer, 2021: the effective data transferred.
        https://arxiv.org/abs/2102.01293
        """
        return None if self.control.rows is None else self.control.rows - self.n

    def __str__(self) -> str:
        bound = "≥ " if self.transfer.is_bound else ""
        saved = "none" if self.saved is None else f"{bound}{self.saved:.0f}"
        return (
            f"scratch needs {self.control} labels to match transfer at {self.n}; "
            f"transfer needs {self.transfer} to match scratch at {self.n}: {saved} saved"
        )


def jumpstart(pretrained: ArrayLike, random: ArrayLike) -> float:
    """Return the higher start: a frozen pretrained trunk's score minus a frozen random one's.

    Parameters
    ----------
    pretrained, random
        Shape (S,), or one number: the score of each seed under a head trained to convergence.

    References
    ----------
    Torrey & Shavlik, Transfer learning, 2010, Figure 2; Taylor & Stone, Transfer learning for
    reinforcement learning domains: a survey, 2009.

    Examples
    --------
    >>> jumpstart([0.75, 1.0], [0.5, 0.5])
    0.375
    """
    return float(np.mean(np.asarray(pretrained) - np.asarray(random)))


def slope(transfer: Curve, control: Curve) -> Slope:
    """Return the higher slope: score per doubling of rows processed, by least squares.

    Both lines are fitted up to the smaller of the two arms' points of 90 % of their final score, or
    up to the second point of both where that comes later: a line needs two.

    Parameters
    ----------
    transfer, control
        Effort curves with scores.

    References
    ----------
    Torrey & Shavlik, Transfer learning, 2010, Figure 2.

    Examples
    --------
    Transfer is the first to reach 0.9 of its final score, 0.81, after 40 rows. Up to there control
    rises by 0.2 a doubling, transfer by (0.8125 − 0.6) / 2; the area is of all three doublings.

    >>> control = Curve(seen=(10, 20, 40, 80), score=(0.2, 0.4, 0.6, 0.8))
    >>> transfer = Curve(seen=(10, 20, 40, 80), score=(0.6, 0.7, 0.8125, 0.9))
    >>> found = slope(transfer, control)
    >>> round(found.control, 3), round(found.transfer, 3), found.until, round(found.area, 4)
    (0.2, 0.106, 40, 0.7625)
    """
    risen = [_risen(curve) for curve in (transfer, control)]
    until = max(min(risen), *(curve.seen[:2][-1] for curve in (transfer, control)))
    return Slope(
        transfer=_steepness(transfer, until),
        control=_steepness(control, until),
        until=until,
        area=_between(transfer, control, np.log2),
    )


def asymptote(transfer: Curve, control: Curve, patience: int) -> Asymptote:
    """Return the higher end: the scores of the weights kept by the stop rule.

    Parameters
    ----------
    transfer, control
        Effort curves with scores.
    patience
        After how many points without progress an arm counts as converged.

    References
    ----------
    Torrey & Shavlik, Transfer learning, 2010, Figure 2.

    Examples
    --------
    >>> transfer = Curve(seen=(10, 20, 30), score=(0.5, 0.75, 0.75))
    >>> print(asymptote(transfer, Curve(seen=(10, 20), score=(0.25, 0.5)), patience=1))
    at most +0.250
    """
    return Asymptote(
        transfer=transfer.asymptote,
        control=control.asymptote,
        transfer_converged=transfer.has_converged(patience),
        control_converged=control.has_converged(patience),
    )


def threshold(control: Curve, target: float | None = None) -> float:
    """Return the score to be reached: the target, or 95 % of scratch's final validation score.

    >>> threshold(Curve(seen=(10, 20), score=(0.25, 0.5))), threshold(Curve(), target=0.75)
    (0.475, 0.75)
    """
    return _share(control.asymptote, THRESHOLD) if target is None else target


def time_to_threshold(curve: Curve, threshold: float, preparation_s: float = 0.0) -> TimeTo:
    """Return what it took an arm to first reach a score fixed beforehand.

    Parameters
    ----------
    curve
        An effort curve with scores.
    threshold
        The score to be reached.
    preparation_s
        Seconds before training that only a first, cold run takes: export and extraction.

    References
    ----------
    Taylor & Stone, Transfer learning for reinforcement learning domains: a survey, 2009.

    Examples
    --------
    >>> curve = Curve(seen=(10, 20, 30), score=(0.5, 0.8, 0.9), seconds=(1.0, 2.0, 3.0))
    >>> time_to_threshold(curve, 0.75, preparation_s=5.0)
    TimeTo(rows=20, warm_s=2.0, cold_s=7.0)
    >>> time_to_threshold(curve, 0.95)
    TimeTo(rows=None, warm_s=None, cold_s=None)
    """
    warm = curve.seconds_to(threshold) if curve.seconds else None
    return TimeTo(
        rows=curve.time_to(threshold),
        warm_s=warm,
        cold_s=None if warm is None else warm + preparation_s,
    )


def labels_saved(transfer: Curve, control: Curve, n: int | None = None) -> LabelsSaved:
    """Return how many labelled rows one arm needs to match the other at `n`, in both directions.

    Between two measured points a curve is a line on the logarithm of rows; where noise lets it
    fall, what counts is when it first got there.

    Parameters
    ----------
    transfer, control
        Data curves with scores.
    n
        Labelled rows, within both curves; the most that both have if None.

    References
    ----------
    Hernandez et al., Scaling laws for transfer, 2021. https://arxiv.org/abs/2102.01293

    Examples
    --------
    Control has 0.8 after 80 rows, transfer halfway between 10 and 40; what transfer has after 20
    rows, control has after 80.

    >>> control = Curve(seen=(10, 20, 40, 80), score=(0.2, 0.4, 0.6, 0.8))
    >>> transfer = Curve(seen=(10, 40, 80), score=(0.7, 0.9, 1.0))
    >>> print(labels_saved(transfer, control))
    scratch needs > 80 labels to match transfer at 80;
    transfer needs 20 to match scratch at 80: 60 saved
    >>> labels_saved(transfer, control, n=20).control.rows
    80.0
    """
    start, end = _common(transfer, control)
    at = end if n is None else n
    if not start <= at <= end:
        raise ValueError(f"n={n}: expected from {start} to {end} rows, which both curves cover.")
    return LabelsSaved(
        n=at,
        control=_needed(control, _at(transfer, at)),
        transfer=_needed(transfer, _at(control, at)),
    )


def transfer_ratio(transfer: Curve, control: Curve) -> float:
    """Return how much more area transfer has under its curve, as a share of the control's.

    The area is taken over the rows processed that both curves cover. It depends on where they end;
    not a number where the control has none.

    Parameters
    ----------
    transfer, control
        Effort curves with scores.

    References
    ----------
    Taylor & Stone, Transfer learning for reinforcement learning domains: a survey, 2009.

    Examples
    --------
    >>> control = Curve(seen=(10, 20), score=(0.25, 0.75))
    >>> transfer_ratio(Curve(seen=(10, 20), score=(0.75, 0.75)), control)  # 7.5 over 5
    0.5
    """
    whole = _area(control, _common(transfer, control), np.asarray)
    return _between(transfer, control, np.asarray) / whole if whole > 0 else math.nan


def _points(curve: Curve) -> tuple[Floats, Floats]:
    # Rows and scores; what was measured before the first row has no place on a scale of doublings.
    seen, score = np.asarray(curve.seen, dtype=np.float64), np.asarray(curve.score)
    return seen[seen > 0], score[seen > 0]


def _common(a: Curve, b: Curve) -> tuple[int, int]:
    starts = (min(n for n in curve.seen if n > 0) for curve in (a, b))
    return max(starts), min(a.seen[-1], b.seen[-1])


def _share(final: float, share: float) -> float:
    # A share of a score below 0, as R² may be, would lie above it and never be reached.
    return min(final, share * final)


def _risen(curve: Curve) -> int:
    # The rows processed at 90 % of the final score; all of them where there was no such score.
    at = curve.time_to(_share(curve.asymptote, RISEN))
    return curve.seen[-1] if at is None else at


def _steepness(curve: Curve, until: int) -> float:
    seen, score = _points(curve)
    doublings, scores = np.log2(seen[seen <= until]), score[seen <= until]
    if len(scores) < 2:
        return math.nan
    away = doublings - doublings.mean()
    return float(away @ scores / (away @ away))


def _at(curve: Curve, n: float) -> float:
    seen, score = _points(curve)
    return float(np.interp(math.log2(n), np.log2(seen), score))


def _needed(curve: Curve, score: float) -> Needed:
    seen, scores = _points(curve)
    # Any score matches one that is not a number: that arm came to nothing.
    there = np.flatnonzero(scores >= (-math.inf if math.isnan(score) else score))
    rows = None if len(there) == 0 else _crossing(seen, scores, score, int(there[0]))
    return Needed(rows, int(seen[0]), int(seen[-1]))


def _crossing(seen: Floats, scores: Floats, score: float, there: int) -> float:
    if there == 0 or not math.isfinite(scores[there - 1]):
        return float(seen[there])
    share = (score - scores[there - 1]) / (scores[there] - scores[there - 1])
    return float(seen[there - 1] * (seen[there] / seen[there - 1]) ** share)


def _between(a: Curve, b: Curve, scale: Scale) -> float:
    span = _common(a, b)
    return _area(a, span, scale) - _area(b, span, scale)


def _area(curve: Curve, span: tuple[int, int], scale: Scale) -> float:
    seen, scores = _points(curve)
    inside = seen[(seen > span[0]) & (seen < span[1])]
    x = scale([span[0], *inside, span[1]])
    y = np.interp(x, scale(seen), scores)
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())
