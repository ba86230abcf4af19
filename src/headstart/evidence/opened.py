"""Opened: what the test labels, read once, say of the fits that validation chose."""

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.checks.finding import counted
from headstart.evidence import judge
from headstart.evidence.arms import FINETUNED, MAJORITY, PROBE, RANDOM, SCRATCH, Arm, stand_in
from headstart.evidence.choice import Chosen, validation
from headstart.evidence.crossing import n_beside
from headstart.evidence.evidence import BESIDE, ArmRecord, Evidence, Gain, Outcome, Point
from headstart.evidence.findings import card
from headstart.evidence.fits import Fits
from headstart.evidence.judge import Bench, Said
from headstart.evidence.verdict import Verdict, word_of
from headstart.machine import versions
from headstart.metrics.curve import Curve
from headstart.task import Kind

#: What test rows are that tell no model from another.
SAME = {Kind.MULTICLASS: "of one class", Kind.REGRESSION: "of one number"}


@dataclass(frozen=True, eq=False)
class Opened:
    """A study whose test labels were read.

    Parameters
    ----------
    fits
        All that was fitted.
    chosen
        What validation chose before.
    bench
        The test labels, and how they judge.
    n_reads
        How many times these labels were read, by fits or studies.
    said
        Arm → seed → what its fit said of the test rows; fits that diverged said nothing.
    """

    fits: Fits
    chosen: Chosen
    bench: Bench
    n_reads: int
    said: Mapping[str, Mapping[int, Said]]

    @classmethod
    def of(cls, fits: Fits, chosen: Chosen) -> "Opened":
        """Read the test labels; nothing else does."""
        study = fits.study
        truth, n_reads = study.sealed.open(fits.store, fits.name)
        bench = Bench(study.task, study.score, truth, np.asarray(study.pool.targets))
        said = {
            name: {one.seed: _said(fits, one) for one in fits.whole(name) if not one.error}
            for name in fits.arms
        }
        return cls(fits, chosen, bench, n_reads, said)

    def evidence(self, worth: float, target: float | None) -> Evidence:
        """Say what was found.

        Parameters
        ----------
        worth
            The gain from which a transfer is worth its trouble.
        target
            The validation score to be reached in *time to threshold*; None: 95 % of scratch's.
        """
        fits, study = self.fits, self.fits.study
        data = {name: self._data_curve(name) for name in (self.chosen.transfer, SCRATCH)}
        return Evidence(
            task=study.task,
            score=study.score,
            source=card(study.source, study.ranking),
            n_rows=self._n_rows(),
            arms=tuple(self._record(arm) for arm in fits.arms.values()),
            outcomes=tuple(fits.outcomes),
            effort={name: tuple(fits.curves(name).values()) for name in fits.arms},
            data={name: points for name, points in data.items() if points},
            gains=self._gains(data, target),
            verdict=self._verdict(worth),
            judged=self._judged(),
            n_test_reads=self.n_reads,
            seeds=fits.seeds,
            budget_s=fits.budget_s,
            plan=fits.allotment.to_json() | {"pilot": fits.rates},
            transfer_plan=self._transfer_plan(),
            versions=versions(),
            notes=(*study.notes, *_points_left_out(fits.outcomes)),
            seconds=fits.spent_s,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )

    def _verdict(self, worth: float) -> Verdict:
        chosen, bench = self.chosen, self.bench
        ours, theirs = _paired(self.said[chosen.transfer], self.said[chosen.control])
        notes = list(chosen.notes)
        if self.n_reads > 1:
            notes.append(f"These test labels were read {self.n_reads} times, by fits or studies: "
                         "the interval is optimistic.")  # fmt: skip
        notes += self.fits.overspent()
        found = bench.gain(ours, theirs)
        notes += _of_few_seeds(len(ours))
        gain, smallest = bench.bounded(found), bench.smallest_gain(found)
        word = word_of(gain, worth)
        if len(ours) > 1 and math.isinf(smallest) and word == "undecided":
            notes.append("So few rows or seeds show even the largest gain less than four times "
                         "in five.")  # fmt: skip
        if bench.task.kind in SAME and len(np.unique(bench.truth)) < 2:
            word = "undecided"
            notes.append(f"All test rows are {SAME[bench.task.kind]}: no score on them says much.")
        ended = self._converged(chosen.transfer), self._converged(chosen.control)
        if not any(ended):
            notes.append("Neither arm had converged: the gain may come out smaller, or larger.")
        return Verdict(
            word=word,
            gain=gain,
            transfer=chosen.transfer,
            control=chosen.control,
            shipped=chosen.shipped.arm,
            why=chosen.shipped.why,
            n_seeds=len(ours),
            worth=worth,
            smallest_gain=worth + smallest,
            is_at_most=ended == (True, False),
            notes=tuple(notes),
        )

    def _gains(self, data: Mapping[str, Sequence[Point]], target: float | None) -> tuple[Gain, ...]:
        fits, transfer, none = self.fits, self.chosen.transfer, dict[int, Said]()
        n_rows, other = self._n_rows(), stand_in(fits.study.source)
        scratch = [one for one in fits.whole(SCRATCH) if not one.error]
        starts = _paired(self.said.get(PROBE, none), self.said.get(RANDOM, none))
        ends = _paired(self.said[transfer], self.said.get(SCRATCH, none))
        have_converged = self._converged(transfer), self._converged(SCRATCH)
        least = _mean_of(validation(fits.outcomes, MAJORITY).values())
        tested = _mean_of(
            self.bench.score_of(one) for one in self.said.get(MAJORITY, none).values()
        )
        return (
            judge.jumpstart(self.bench, *starts, other),
            self._slope(),
            judge.asymptote(self.bench, *ends, have_converged, other),
            judge.time_saved(fits.whole(transfer), scratch, target, fits.preparation_s, least),
            judge.labels(
                data[transfer], data[SCRATCH], tested, n_rows["validation"], n_rows.get(BESIDE, 0)
            ),
        )

    def _slope(self) -> Gain:
        """Return the slope of the transfer arm; where its head is solved, of the fine-tuned one."""
        curves, transfer = self.fits.curves, self.chosen.transfer
        of = next((arm for arm in (transfer, FINETUNED) if _rises(curves(arm))), transfer)
        named = "" if of == transfer else of
        return judge.steepness(curves(of), curves(SCRATCH), self.bench.score, named)

    def _data_curve(self, arm: str) -> tuple[Point, ...]:
        """Return the points of an arm's data curve, rising; diverged fits have none."""
        by_rows: dict[int, list[Outcome]] = {}
        for one in self.fits.outcomes:
            if one.arm == arm and not one.error:
                by_rows.setdefault(0 if one.is_whole else one.n_rows, []).append(one)
        found = [
            judge.point(self.bench, some, [_said(self.fits, one) for one in some])
            for some in by_rows.values()
        ]
        return tuple(sorted(found, key=lambda point: point.n_rows))

    def _record(self, arm: Arm) -> ArmRecord:
        fits, said = self.fits.whole(arm.name), self.said[arm.name]
        each = {seed: self.bench.scores_of(one) for seed, one in said.items()}
        names = next(iter(each.values()), {})
        return ArmRecord(
            name=arm.name,
            role=arm.role,
            about=arm.about,
            validation=validation(fits, arm.name),
            test={seed: found[self.bench.score] for seed, found in each.items()},
            interval=self.bench.interval(list(said.values())) if said else None,
            test_scores={n: float(np.mean([one[n] for one in each.values()])) for n in names},
            seconds=float(np.mean([one.seconds for one in fits])),
            n_seeds=len(fits),
            n_diverged=sum(bool(one.error) for one in fits),
            n_not_converged=sum(not one.is_converged and not one.error for one in fits),
        )

    def _converged(self, arm: str) -> bool:
        """Say whether every fit of an arm that came to something ended by its stop rule."""
        return all(one.is_converged or one.error for one in self.fits.whole(arm))

    def _judged(self) -> Any:
        arm = self.chosen.shipped.arm
        first = self.said[arm][min(self.said[arm])]
        return judge.judged(self.bench, arm, first, self.fits.study.test)

    def _transfer_plan(self) -> dict[str, Any]:
        plans = [one.facts.get("plan") for one in self.fits.whole(self.chosen.transfer)]
        return next((plan for plan in plans if plan), {})

    def _n_rows(self) -> dict[str, int]:
        study = self.fits.study
        n_train = study.n_train()
        n_held_out = len(study.pool) - n_train
        found = {"train": n_train, "validation": n_held_out, "test": len(study.test)}
        others = n_beside(self.fits.arms[self.chosen.transfer])
        return found | ({BESIDE: others} if others else {})


def _of_few_seeds(n: int) -> list[str]:
    """Say what a verdict of so few seeds is worth (simulated with normal errors, 200 rows)."""
    if n < 2:
        return ["One seed does not say what another would give: it decides nothing."]
    if n == 2:
        return ["Two seeds hardly show how far seeds differ: where that is most of what varies, "
                "such a verdict is wrong up to one time in eight, not in twenty."]  # fmt: skip
    return []


def _points_left_out(outcomes: Iterable[Outcome]) -> list[str]:
    """Say which fits are no part of the data curves, and why.

    >>> few = [Outcome("probe", seed, 4, is_whole=False, error="Too few.") for seed in range(2)]
    >>> _points_left_out([*few, Outcome("probe", 0, 8, is_whole=False)])
    ['The data curve of probe is without 2 fits of 4 rows: Too few.']
    """
    lost: dict[tuple[str, int], list[str]] = {}
    for one in outcomes:
        if one.error and not one.is_whole:
            lost.setdefault((one.arm, one.n_rows), []).append(one.error.splitlines()[0])
    return [
        f"The data curve of {arm} is without {counted(len(why), 'fit')} of {n:,} rows: {why[0]}"
        for (arm, n), why in lost.items()
    ]


def _rises(curves: Mapping[int, Curve]) -> bool:
    """Say whether an arm learned by steps; a head that is solved is a single point."""
    return any(len(curve) > 1 for curve in curves.values())


def _mean_of(scores: Iterable[float]) -> float:
    """Return the mean of what the same answer for every row scores; at least 0, which R² is then.

    >>> _mean_of([]), _mean_of([-0.5, 0.25]), _mean_of([0.5, 0.75])
    (0.0, 0.0, 0.625)
    """
    there = [*scores]
    return max(0.0, float(np.mean(there))) if there else 0.0


def _said(fits: Fits, outcome: Outcome) -> Said:
    return fits.worker.tested(outcome), outcome.thresholds


def _paired(ours: Mapping[int, Said], theirs: Mapping[int, Said]) -> tuple[list[Said], list[Said]]:
    """Return what both said with the seeds that both have."""
    shared = [seed for seed in sorted(ours) if seed in theirs]
    return [ours[seed] for seed in shared], [theirs[seed] for seed in shared]
