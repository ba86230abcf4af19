"""Judge: from what arms said of the test rows, and the truth, to gains with their intervals.

Nothing here chooses: the arms that are compared, and the one that ships, come from validation.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import Dataset
from headstart.data.ragged import is_ragged
from headstart.evidence.evidence import Gain, Judged, Outcome, Point
from headstart.heads.head import decided
from headstart.metrics.crossed import (
    Estimate,
    estimate,
    estimate_paired,
    jackknifed,
    macro_f1_left_out,
    multilabel_macro_f1_left_out,
    over_seeds,
    r2_left_out,
)
from headstart.metrics.curve import Curve
from headstart.metrics.entities import counts, f1, f1_left_out
from headstart.metrics.gains import (
    labels_saved,
    slope,
    threshold,
    time_to_threshold,
)
from headstart.metrics.interval import Interval, wilson
from headstart.metrics.scores import macro_f1, multilabel_macro_f1, r2, scores
from headstart.task import Kind, Task

#: What one fit said of the test rows, and the cuts of its labels: (n, k) and (k,) or None.
Said = tuple[NDArray[np.float32], tuple[float, ...] | None]


@dataclass(frozen=True, eq=False)
class Bench:
    """The truth, and how it is scored.

    Parameters
    ----------
    task
        What is predicted.
    score
        The name of the primary score.
    truth
        The test targets.
    learned_from
        The targets of the rows that were learned from.
    """

    task: Task
    score: str
    truth: NDArray[Any]
    learned_from: NDArray[Any]

    def gain(self, ours: Sequence[Said], theirs: Sequence[Said]) -> Estimate:
        """Return the mean primary score over seeds minus that of other fits.

        Its error is infinite where one seed is all there is, which does not say what another would
        give, or where nothing varies.

        Parameters
        ----------
        ours, theirs
            One fit a seed, in the same order of seeds.
        """
        if self.score == "accuracy":
            found = estimate_paired(self._right(ours) - self._right(theirs))
        else:
            (whole, without), (other, other_without) = self._left_out(ours), self._left_out(theirs)
            found = jackknifed(whole - other, without - other_without)
        return found if len(ours) > 1 and found.error else Estimate(found.mid, math.inf, 1.0)

    def bounded(self, found: Estimate) -> Interval:
        """Return a gain with its interval, no end of it beyond what a gain can be.

        An interval without ends stays so: nothing is known of them.
        """
        low, mid, high = found.interval()
        if self.task.kind is Kind.REGRESSION or not math.isfinite(high):
            return Interval(low, mid, high)
        return Interval(max(-1.0, low), mid, min(1.0, high))

    def smallest_gain(self, found: Estimate) -> float:
        """Return the smallest true gain that is found four times in five; infinite if none can."""
        least = found.smallest_gain()
        return math.inf if least > 1 and self.task.kind is not Kind.REGRESSION else least

    def interval(self, fits: Sequence[Said]) -> Interval:
        """Return the mean primary score over seeds with its interval, whose ends are scores.

        Of one seed it is for new rows alone. Fits that are all right, or nearly, do not vary; so
        the interval of an accuracy is never within that of a share of so many rows.
        """
        n, is_share = len(self.truth), self.score == "accuracy"
        found = estimate(self._right(fits)) if is_share else jackknifed(*self._left_out(fits))
        low, mid, high = found.interval()
        if self.task.kind is Kind.REGRESSION:
            return Interval(low, mid, min(1.0, high))
        if is_share or not found.error:
            share = wilson(n * mid, n)
            low, high = min(low, share.low), max(high, share.high)
        return Interval(max(0.0, low), mid, min(1.0, high))

    def score_of(self, said: Said) -> float:
        """Return the primary score of one fit."""
        return self.scores_of(said)[self.score]

    def scores_of(self, said: Said) -> dict[str, float]:
        """Return every score of one fit, the primary one first."""
        return scores(self.task, self.truth, said[0], said[1], self.learned_from)

    def _right(self, fits: Sequence[Said]) -> NDArray[np.float64]:
        """Return which rows each fit has right, shape (R, S)."""
        return np.stack([said.argmax(axis=1) == self.truth for said, _ in fits], axis=1) * 1.0

    def _left_out(self, fits: Sequence[Said]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the score of each fit, shape (S,), and without each row, shape (R, S)."""
        each = [self._with_and_without(decided(self.task.kind, *said)) for said in fits]
        return np.array([whole for whole, _ in each]), np.stack([left for _, left in each], axis=1)

    def _with_and_without(self, said: NDArray[Any]) -> tuple[float, NDArray[np.float64]]:
        if self.task.kind is Kind.TAGS:
            table = counts(self.truth, said)
            return f1(table), f1_left_out(table)
        whole, left_out = _LEFT_OUT[self.task.kind]
        return whole(self.truth, said), left_out(self.truth, said)


#: A kind of task → its primary score where that is no mean over rows, and the same without each.
_LEFT_OUT = {
    Kind.MULTICLASS: (macro_f1, macro_f1_left_out),
    Kind.MULTILABEL: (multilabel_macro_f1, multilabel_macro_f1_left_out),
    Kind.REGRESSION: (r2, r2_left_out),
}


def point(bench: Bench, outcomes: Sequence[Outcome], fits: Sequence[Said]) -> Point:
    """Return one point of a data curve; an outcome and what it said a seed."""
    return Point(
        n_rows=round(float(np.mean([outcome.n_rows for outcome in outcomes]))),
        scores=tuple(bench.score_of(said) for said in fits),
        interval=bench.interval(fits),
        is_converged=all(outcome.is_converged for outcome in outcomes),
        seeds=tuple(outcome.seed for outcome in outcomes),
    )


def jumpstart(
    bench: Bench, probe: Sequence[Said], random: Sequence[Said], stand_in: str = ""
) -> Gain:
    """Return the higher start: frozen pretrained minus frozen random features, on test rows.

    The note names the network whose random weights stand in for the source's, `stand_in`.
    """
    if not probe:
        return Gain("jumpstart", None, bench.score, "no frozen features to compare")
    found = bench.bounded(bench.gain(probe, random))
    note = f"frozen trunk: pretrained minus random weights{stand_in}"
    return Gain("jumpstart", found, bench.score, note)


#: Why a gain over scratch is missing.
NO_SCRATCH = "no fit of scratch to compare"

#: Whether transfer and scratch ended by their stop rules → what that makes of the gain.
ENDS = {
    (True, True): "transfer minus scratch",
    (True, False): "at most: scratch had not converged",
    (False, True): "at least: the transfer had not converged",
    (False, False): "provisional: neither had converged",
}


def asymptote(
    bench: Bench,
    transfer: Sequence[Said],
    scratch: Sequence[Said],
    have_converged: tuple[bool, bool],
    stand_in: str = "",
) -> Gain:
    """Return the higher end: the transfer arm minus scratch, at their stop rules, on test rows.

    The note says which bound it is, and names the network that stands in for the source's own.
    """
    if not transfer:
        return Gain("asymptote", None, bench.score, NO_SCRATCH)
    found = bench.bounded(bench.gain(transfer, scratch))
    note = ENDS[have_converged] + (f"; random weights{stand_in}" if stand_in else "")
    return Gain("asymptote", found, bench.score, note)


def steepness(
    transfer: Mapping[int, Curve], scratch: Mapping[int, Curve], score: str, of: str = ""
) -> Gain:
    """Return the higher slope, of validation scores, for the seeds that both have.

    The note says whose slope it is, `of`, where that is not the transfer arm of the other gains.
    """
    unit = f"{score} per doubling of rows processed"
    if not scratch:
        return Gain("slope", None, unit, NO_SCRATCH)
    pairs = [(transfer[s], scratch[s]) for s in transfer if s in scratch]
    pairs = [(ours, theirs) for ours, theirs in pairs if min(len(ours), len(theirs)) > 1]
    found = [slope(ours, theirs) for ours, theirs in pairs]
    gains = [one.gain for one in found if math.isfinite(one.gain)]
    if not gains:
        return Gain("slope", None, unit, "a head that is solved has no slope")
    area = float(np.mean([one.area for one in found]))
    note = f"{f'of {of}; ' if of else ''}area between the curves {area:+.3f}"
    return _of_seeds(Gain("slope", over_seeds(gains), unit, note))


def _of_seeds(gain: Gain) -> Gain:
    """Say of a gain's interval, where it has one, that it speaks of new seeds and no new rows."""
    if gain.interval is None or not math.isfinite(gain.interval.high - gain.interval.low):
        return gain
    return replace(gain, note=f"{gain.note}; interval over seeds, on these rows")


def time_saved(
    transfer: Sequence[Outcome],
    scratch: Sequence[Outcome],
    target: float | None,
    preparation_s: float = 0.0,
    least: float = 0.0,
) -> Gain:
    """Return the seconds saved to a score fixed beforehand, warm; the note tells the cold time.

    A score that the most frequent class has, `least`, is none to be reached.

    They are told where every seed of both got there: a mean over some seeds flatters whoever
    failed with the others.
    """
    name, unit = "time to threshold", "s saved"
    theirs = {one.seed: one for one in scratch}
    if not scratch:
        return Gain(name, None, unit, NO_SCRATCH)
    wanted = float(np.mean([threshold(one.curve, target) for one in scratch]))
    if target is None and wanted <= least:  # anything reaches that before it has learned a row
        return Gain(name, None, unit, "scratch learned nothing: there is no score to reach")
    cold_s = preparation_s + max((one.preparation_s for one in transfer), default=0.0)
    pairs = [
        (time_to_threshold(one.curve, wanted, cold_s),
         time_to_threshold(theirs[one.seed].curve, wanted))
        for one in transfer if one.seed in theirs
    ]  # fmt: skip
    reached = [(ours.warm_s, other.warm_s) for ours, other in pairs]
    saved = [b - a for a, b in reached if a is not None and b is not None]
    saved = saved if len(saved) == len(pairs) else []
    times = [a for a, _ in reached if a is not None]
    note = f"to {wanted:.3f} on validation: transfer {_times(times, len(pairs), cold_s)}, "
    note += f"scratch {_times([b for _, b in reached if b is not None], len(pairs))}"
    return _of_seeds(Gain(name, over_seeds(saved) if saved else None, unit, note))


def _times(times: Sequence[float], n: int, cold_s: float = 0.0) -> str:
    """Say how long it took.

    >>> _times([2.0, 4.0], 3, cold_s=5.0), _times([], 3)
    ('3.0 s (8.0 s cold) in 2 of 3 seeds', 'never')
    """
    if not times:
        return "never"
    cold = f" ({np.mean(times) + cold_s:.1f} s cold)" if cold_s else ""
    return f"{np.mean(times):.1f} s{cold} in {len(times)} of {n} seeds"


def labels(
    transfer: Sequence[Point],
    scratch: Sequence[Point],
    least: float = -math.inf,
    n_validation: int = 0,
    n_beside: int = 0,
) -> Gain:
    """Return the labelled rows saved, from the mean data curves.

    A score that is not surely above that of the most frequent class, `least`, is none to be
    matched. Rows that validate are labelled too, and the same for every point; so are those of
    another domain that the transfer has beside. The note tells of both.
    """
    name = "labels saved"
    if not scratch:
        return Gain(name, None, "rows", NO_SCRATCH)
    if len(transfer) < 2 or len(scratch) < 2:
        return Gain(name, None, "rows", "too few points on the data curves")
    ours, theirs = (_curve(points) for points in (transfer, scratch))
    found = labels_saved(ours, theirs)
    note = str(found) + ("" if all(p.is_converged for p in scratch) else "; provisional: scratch "
                         "had not converged everywhere")  # fmt: skip
    note += f"; and {n_validation} to validate on, each time" if n_validation else ""
    others = f"; transfer learned from {n_beside:,} labelled rows of another domain, too"
    note += others if n_beside else ""
    ends = {"transfer": transfer[-1], "scratch": scratch[-1]}
    if flat := [who for who, end in ends.items() if not end.interval.low > least]:
        none = "learned nothing that can be told from one answer for every row"
        return Gain(name, None, "rows", f"{flat[0]} {none}")
    if found.saved is None:
        return Gain(name, None, "rows", note)
    spread = math.inf if found.transfer.is_bound else _spread_saved(transfer, scratch, found.n)
    interval = Interval(found.saved - spread, found.saved, found.saved + spread)
    return _of_seeds(Gain(name, interval, "rows", note))


def _curve(points: Sequence[Point], seed: int | None = None) -> Curve:
    """Return the data curve of one seed, or of the means over all."""
    if seed is None:
        scores = [float(np.mean(point.scores)) for point in points]
    else:
        scores = [point.scores[point.seeds.index(seed)] for point in points]
    return Curve(seen=tuple(point.n_rows for point in points), score=tuple(scores))


def _spread_saved(transfer: Sequence[Point], scratch: Sequence[Point], n: int) -> float:
    """Return half the width of the saving's interval, over the seeds that all points have.

    With each seed both curves are its own: the height that is to be matched is as uncertain as the
    rows to get there. Infinite where some seed never got there.
    """
    of_points = [set(point.seeds) for point in (*transfer, *scratch)]
    found = [
        labels_saved(_curve(transfer, seed), _curve(scratch, seed), n).saved
        for seed in sorted(set.intersection(*of_points))
    ]
    each = [one for one in found if one is not None]
    if len(each) < max(2, len(found)):
        return math.inf
    spread = over_seeds(each)
    return spread.high - spread.mid


def judged(bench: Bench, arm: str, said: Said, test: Dataset) -> Judged:
    """Return what one fit said of each test row."""
    outputs, _ = said
    answers = decided(bench.task.kind, *said)
    sure = _sure(bench.task.kind, outputs, answers)
    return Judged(
        arm=arm,
        names=tuple(test.name(i) for i in range(len(test))),
        truth=tuple(_plain(bench.truth)),
        said=tuple(_plain(answers)),
        sure=tuple(float(value) for value in sure),
    )


def _sure(kind: Kind, outputs: NDArray[Any], said: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probability of what was said of a row.

    Of a sentence that of its least sure word, of several labels that of the least sure one.
    """
    if kind is Kind.TAGS:
        return np.array([row.max(axis=1).min(initial=1.0) for row in outputs], dtype=np.float64)
    if kind is Kind.MULTILABEL:
        return np.where(said, outputs, 1 - outputs).min(axis=1, initial=1.0)
    return outputs.max(axis=1) if kind is Kind.MULTICLASS else np.ones(len(outputs))


def _plain(values: NDArray[Any]) -> list[Any]:
    return [row.tolist() for row in values] if is_ragged(values) else values.tolist()
