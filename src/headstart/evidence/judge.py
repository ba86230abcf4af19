"""Judge: from what arms said of the test rows, and the truth, to gains with their intervals.

Nothing here chooses: the arms that are compared, and the one that ships, come from validation.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    f1_gain,
    jackknifed,
    macro_f1_left_out,
    multilabel_macro_f1_left_out,
    over_seeds,
)
from headstart.metrics.curve import Curve
from headstart.metrics.entities import counts, f1, f1_left_out
from headstart.metrics.gains import (
    labels_saved,
    slope,
    threshold,
    time_to_threshold,
)
from headstart.metrics.interval import Interval
from headstart.metrics.scores import macro_f1, multilabel_macro_f1, row_scores, scores
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

    def estimate(self, ours: Sequence[Said], theirs: Sequence[Said] | None = None) -> Estimate:
        """Return the mean primary score over seeds, or its gain over that of other fits.

        Parameters
        ----------
        ours, theirs
            One fit a seed, in the same order of seeds.
        """
        if self.score == "macro_f1":
            return self._f1(ours, theirs)
        if self.score == "entity_f1":
            return self._entity_f1(ours, theirs)
        table = self._table(ours)
        return estimate(table if theirs is None else table - self._table(theirs))

    def score_of(self, said: Said) -> float:
        """Return the primary score of one fit."""
        return self.scores_of(said)[self.score]

    def scores_of(self, said: Said) -> dict[str, float]:
        """Return every score of one fit, the primary one first."""
        return scores(self.task, self.truth, said[0], said[1], self.learned_from)

    def _table(self, fits: Sequence[Said]) -> NDArray[np.float64]:
        """Return what each row gives to the score of each fit; shape (R, S)."""
        if self.score == "accuracy":
            rows = [(said.argmax(axis=1) == self.truth).astype(np.float64) for said, _ in fits]
        else:
            rows = [row_scores(self.task, self.truth, said, cut) for said, cut in fits]
        return np.stack(rows, axis=1)

    def _entity_f1(self, ours: Sequence[Said], theirs: Sequence[Said] | None) -> Estimate:
        whole, without = self._left_out(ours)
        if theirs is not None:
            other, other_without = self._left_out(theirs)
            whole, without = whole - other, without - other_without
        return jackknifed(whole, without)

    def _left_out(self, fits: Sequence[Said]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the F1 of each fit, shape (S,), and without each sentence, shape (R, S)."""
        tables = [counts(self.truth, decided(self.task.kind, *said)) for said in fits]
        whole = np.array([f1(table) for table in tables])
        return whole, np.stack([f1_left_out(table) for table in tables], axis=1)

    def _f1(self, ours: Sequence[Said], theirs: Sequence[Said] | None) -> Estimate:
        mine = [decided(self.task.kind, *said) for said in ours]
        if theirs is not None:
            return f1_gain(self.truth, mine, [decided(self.task.kind, *said) for said in theirs])
        several = self.truth.ndim > 1
        whole = multilabel_macro_f1 if several else macro_f1
        left_out = multilabel_macro_f1_left_out if several else macro_f1_left_out
        without = np.stack([left_out(self.truth, one) for one in mine], axis=1)
        return jackknifed([whole(self.truth, one) for one in mine], without)


def point(bench: Bench, outcomes: Sequence[Outcome], fits: Sequence[Said]) -> Point:
    """Return one point of a data curve; an outcome and what it said a seed."""
    return Point(
        n_rows=round(float(np.mean([outcome.n_rows for outcome in outcomes]))),
        scores=tuple(bench.score_of(said) for said in fits),
        interval=bench.estimate(fits).interval(),
        is_converged=all(outcome.is_converged for outcome in outcomes),
    )


def jumpstart(bench: Bench, probe: Sequence[Said], random: Sequence[Said]) -> Gain:
    """Return the higher start: frozen pretrained minus frozen random features, on test rows."""
    if not probe:
        return Gain("jumpstart", None, bench.score, "no frozen features to compare")
    found = bench.estimate(probe, random).interval()
    return Gain("jumpstart", found, bench.score, "frozen trunk: pretrained minus random weights")


def asymptote(
    bench: Bench, transfer: Sequence[Said], scratch: Sequence[Said], *, is_at_most: bool
) -> Gain:
    """Return the higher end: the transfer arm minus scratch, at their stop rules, on test rows."""
    if not transfer:
        return Gain("asymptote", None, bench.score, "no scratch arm to compare")
    note = "at most: scratch had not converged" if is_at_most else "transfer minus scratch"
    return Gain("asymptote", bench.estimate(transfer, scratch).interval(), bench.score, note)


def steepness(transfer: Mapping[int, Curve], scratch: Mapping[int, Curve], score: str) -> Gain:
    """Return the higher slope, of validation scores, for the seeds that both have."""
    unit = f"{score} per doubling of rows processed"
    pairs = [(transfer[s], scratch[s]) for s in transfer if s in scratch]
    pairs = [(ours, theirs) for ours, theirs in pairs if min(len(ours), len(theirs)) > 1]
    found = [slope(ours, theirs) for ours, theirs in pairs]
    gains = [one.gain for one in found if math.isfinite(one.gain)]
    if not gains:
        return Gain("slope", None, unit, "a head that is solved has no slope")
    area = float(np.mean([one.area for one in found]))
    return Gain("slope", over_seeds(gains), unit, f"area between the curves {area:+.3f}")


def time_saved(
    transfer: Sequence[Outcome], scratch: Sequence[Outcome], target: float | None
) -> Gain:
    """Return the seconds saved to a score fixed beforehand, warm; the note tells the cold time."""
    name, unit = "time to threshold", "s saved"
    theirs = {one.seed: one for one in scratch}
    if not scratch:
        return Gain(name, None, unit, "no scratch arm to compare")
    wanted = float(np.mean([threshold(one.curve, target) for one in scratch]))
    if target is None and wanted <= 0:  # anything reaches that before it has learned a row
        return Gain(name, None, unit, "scratch learned nothing: there is no score to reach")
    cold_s = max((one.preparation_s for one in transfer), default=0.0)
    pairs = [
        (time_to_threshold(one.curve, wanted, cold_s),
         time_to_threshold(theirs[one.seed].curve, wanted))
        for one in transfer if one.seed in theirs
    ]  # fmt: skip
    reached = [(ours.warm_s, other.warm_s) for ours, other in pairs]
    saved = [b - a for a, b in reached if a is not None and b is not None]
    times = [a for a, _ in reached if a is not None]
    note = f"to {wanted:.3f} on validation: transfer {_times(times, len(pairs), cold_s)}, "
    note += f"scratch {_times([b for _, b in reached if b is not None], len(pairs))}"
    return Gain(name, over_seeds(saved) if saved else None, unit, note)


def _times(times: Sequence[float], n: int, cold_s: float = 0.0) -> str:
    """Say how long it took.

    >>> _times([2.0, 4.0], 3, cold_s=5.0), _times([], 3)
    ('3.0 s (8.0 s cold) in 2 of 3 seeds', 'never')
    """
    if not times:
        return "never"
    cold = f" ({np.mean(times) + cold_s:.1f} s cold)" if cold_s else ""
    return f"{np.mean(times):.1f} s{cold} in {len(times)} of {n} seeds"


def labels(transfer: Sequence[Point], scratch: Sequence[Point]) -> Gain:
    """Return the labelled rows saved, from the mean data curves."""
    name = "labels saved"
    if len(transfer) < 2 or len(scratch) < 2:
        return Gain(name, None, "rows", "too few points on the data curves")
    ours, theirs = (_curve(points) for points in (transfer, scratch))
    found = labels_saved(ours, theirs)
    note = str(found) + ("" if all(p.is_converged for p in scratch) else "; provisional: scratch "
                         "had not converged everywhere")  # fmt: skip
    if found.saved is None:
        return Gain(name, None, "rows", note)
    return Gain(name, _spread_saved(transfer, theirs, found.saved, found.n), "rows", note)


def _curve(points: Sequence[Point]) -> Curve:
    return Curve(
        seen=tuple(p.n_rows for p in points),
        score=tuple(float(np.mean(p.scores)) for p in points),
    )


def _spread_saved(points: Sequence[Point], control: Curve, saved: float, n: int) -> Interval:
    """Return the saving with the spread of the transfer's curve over its seeds."""
    n_seeds = min(len(p.scores) for p in points)
    seen = tuple(p.n_rows for p in points)
    each = []
    for seed in range(n_seeds):
        curve = Curve(seen=seen, score=tuple(p.scores[seed] for p in points))
        one = labels_saved(curve, control, n).saved
        each.append(float("nan") if one is None else one)
    if n_seeds < 2 or not np.isfinite(each).all():
        return Interval(-math.inf, saved, math.inf)
    spread = over_seeds(each)
    return Interval(saved - (spread.mid - spread.low), saved, saved + (spread.high - spread.mid))


def judged(bench: Bench, arm: str, said: Said, test: Dataset) -> Judged:
    """Return what one fit said of each test row."""
    outputs, _ = said
    answers = decided(bench.task.kind, *said)
    sure = _sure(bench.task.kind, outputs)
    return Judged(
        arm=arm,
        names=tuple(test.name(i) for i in range(len(test))),
        truth=tuple(_plain(bench.truth)),
        said=tuple(_plain(answers)),
        sure=tuple(float(value) for value in sure),
    )


def _sure(kind: Kind, outputs: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probability of what was said of a row; of a sentence, of its least sure word."""
    if kind is Kind.TAGS:
        return np.array([row.max(axis=1).min(initial=1.0) for row in outputs], dtype=np.float64)
    return outputs.max(axis=1) if kind is Kind.MULTICLASS else np.ones(len(outputs))


def _plain(values: NDArray[Any]) -> list[Any]:
    return [row.tolist() for row in values] if is_ragged(values) else values.tolist()
