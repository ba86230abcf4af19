"""Fits: every arm with every seed, and points of the data curves, within a budget."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from headstart.evidence.allot import Allotment, Asked, Pace, allot, epochs_at
from headstart.evidence.arms import SCRATCH, Arm
from headstart.evidence.choice import choose, whole
from headstart.evidence.evidence import Outcome
from headstart.evidence.study import Study
from headstart.evidence.worker import Job, Worker
from headstart.jobs import once, run
from headstart.metrics.curve import Curve
from headstart.steps.phase import SCRATCH as RECIPE
from headstart.steps.phase import Phase
from headstart.store.store import Store

#: The seed of the pilot's split; studies have fewer seeds than this.
PILOT_SEED = 1_000_003
#: Rates that the pilot tries, as shares of the recipe's.
PILOT_RATES = (0.25, 1.0, 4.0)
#: How long the pilot learns with each, at most.
PILOT_EPOCHS = 15
#: From so many times its budget on a proof says that it took more time than it was given.
OVERSPENT = 1.1
#: The share of a budget that the pilot may take.
PILOT_SHARE = 0.12
#: The share of a budget that is given out; the rest is for what nobody foresees.
SPENT_SHARE = 0.9


class Fits:
    """The fits of a study, under way: its arms, and what came of every one."""

    def __init__(
        self, study: Study, arms: Sequence[Arm], store: Store, seeds: int, budget_s: float | None
    ) -> None:
        self.study, self.store, self.seeds, self.budget_s = study, store, seeds, budget_s
        self.arms = {arm.name: arm for arm in arms}
        self.worker = Worker.of(study)
        self.outcomes: list[Outcome] = []
        self.spent_s = self.fits_s = self.preparation_s = 0.0
        self.rates: dict[str, float | None] = {}
        asked = [Job(arm, seed=0).key for arm in arms]
        question = repr((study.subject, asked, seeds, budget_s))
        self.name = hashlib.sha256(question.encode()).hexdigest()[:24]

    def whole(self, arm: str) -> list[Outcome]:
        """Return what came of an arm on all rows."""
        return whole(self.outcomes, arm)

    def curves(self, arm: str) -> dict[int, Curve]:
        """Return seed → curve of an arm on all rows, where it learned by steps."""
        return {one.seed: one.curve for one in self.whole(arm) if len(one.curve)}

    def fit(self) -> None:
        """Fit every arm with every seed, then the points of the data curves."""
        prepared = self._once("preparation", {"s": self.study.preparation_s})
        self.preparation_s = float(prepared["s"])
        rate, pace = self._piloted()
        others = [arm for name, arm in self.arms.items() if name != SCRATCH]
        # What a fit takes matters to a budget alone; without one nobody waits for the first.
        n_first = 0 if self.budget_s is None else 1
        first = self._keep([Job(arm, s) for arm in others for s in range(n_first)], "first seed")
        at = self.allotment = self._planned(first, pace)
        rest = [Job(arm, s) for arm in others for s in range(n_first, at.seeds)]
        if SCRATCH in self.arms:
            self.arms[SCRATCH] = self.arms[SCRATCH].with_phase(self._recipe(rate, at.epochs))
            rest += [Job(self.arms[SCRATCH], s) for s in range(at.scratch_seeds)]
        self._keep(rest, "seeds")
        self._keep(list(self._curve_jobs(rate)), "data curve")
        self.fits_s = self.spent_s

    def _keep(self, jobs: Sequence[Job], name: str) -> list[Outcome]:
        """Do jobs whose outcomes are the study's."""
        found = self.run(jobs, name)
        self.outcomes += found
        return found

    def run(self, jobs: Sequence[Job], name: str) -> list[Outcome]:
        """Do jobs, or find what came of them; it is charged, and is no part of the study yet."""
        if not jobs:
            return []
        kept = run(
            {job.key: job for job in longest_first(jobs)}, self.worker, study=self.study.key,
            store=self.store, is_whole=self.worker.is_whole, name=name,
        )  # fmt: skip
        found = [Outcome.from_json(kept[job.key]) for job in jobs]
        self.spent_s += sum(outcome.cost_s for outcome in found)
        return found

    def _piloted(self) -> tuple[float, Pace]:
        """Choose scratch's rate on a split of its own; return it, and how fast scratch learns."""
        if SCRATCH not in self.arms:
            return RECIPE.rate, Pace(0.0, 0.0)
        rates = [RECIPE.rate * share for share in PILOT_RATES]
        pace = Pace.of(self._pilot([RECIPE.rate], 1)[0])
        epochs = int(self._once("pilot", {"epochs": self._pilot_epochs(pace)})["epochs"])
        if not epochs:  # no time to try rates: the recipe's own is taken
            return RECIPE.rate, pace
        tried = self._pilot(rates, epochs)
        losses = [_least_loss(outcome) for outcome in tried]
        self.rates = {
            f"{rate:g}": loss if np.isfinite(loss) else None
            for rate, loss in zip(rates, losses, strict=True)
        }
        quickest = min(map(Pace.of, tried), key=lambda pace: pace.epoch_s)
        return rates[int(np.argmin(losses))], quickest

    def _pilot(self, rates: Sequence[float], epochs: int) -> list[Outcome]:
        phases = [replace(RECIPE, rate=rate, epochs=epochs) for rate in rates]
        jobs = [Job(self.arms[SCRATCH].with_phase(phase), PILOT_SEED) for phase in phases]
        return self.run(jobs, "pilot")

    def _pilot_epochs(self, pace: Pace) -> int:
        if self.budget_s is None:
            return PILOT_EPOCHS
        each_s = self.budget_s * PILOT_SHARE / len(PILOT_RATES)
        fit = int((each_s - pace.setup_s) / max(pace.epoch_s, 1e-9))
        return 0 if fit < 2 else min(fit, PILOT_EPOCHS)

    def _planned(self, first: Sequence[Outcome], pace: Pace) -> Allotment:
        """Make the list of what is fitted, once; it is kept, so that a rerun has the same."""
        left = None if self.budget_s is None else self.budget_s * SPENT_SHARE - self.spent_s
        asked = Asked(
            n_rows=self.study.n_train(),
            least=self.study.least,
            seeds=self.seeds,
            epochs=RECIPE.epochs,
            seconds={outcome.arm: outcome.cost_s for outcome in first},
            epoch_s=pace.epoch_s,
            setup_s=pace.setup_s,
            left_s=None if left is None else max(0.0, left),
        )
        return Allotment.from_json(self._once("plan", allot(asked).to_json()))

    def _once(self, what: str, facts: dict[str, Any]) -> dict[str, Any]:
        return once(f"{what}-{self.name}", lambda: facts, study=self.study.key, store=self.store)

    def _recipe(self, rate: float, epochs: int) -> Phase:
        return replace(RECIPE, rate=rate, epochs=epochs)

    def _curve_jobs(self, rate: float) -> Iterable[Job]:
        """Yield the points below the whole set, of the best transfer arm and of scratch."""
        at, arm = self.allotment, self.arms[choose(self.arms, self.outcomes).transfer]
        for n in at.transfer_rows:
            yield from (Job(arm, seed, n) for seed in range(at.transfer_curve_seeds))
        if SCRATCH not in self.arms:
            return
        for n in at.scratch_rows:
            epochs = epochs_at(at, n, self.study.n_train(), RECIPE.epochs)
            scratch = self.arms[SCRATCH].with_phase(self._recipe(rate, epochs))
            yield from (Job(scratch, seed, n) for seed in range(at.scratch_curve_seeds))

    def overspent(self) -> list[str]:
        """Say that the fits could not keep to their budget, and why."""
        if self.budget_s is None or self.fits_s <= OVERSPENT * self.budget_s:
            return []
        slowest = max((one for one in self.outcomes if one.is_whole), key=lambda one: one.cost_s)
        least = " Fewer than two seeds of an arm tell nothing." if self.allotment.seeds == 2 else ""
        return [
            f"The fits took {self.fits_s:.0f} s of computing where {self.budget_s:.0f} s were "
            f"given; one of {slowest.arm} takes {slowest.cost_s:.0f} s.{least}"
        ]


def longest_first(jobs: Sequence[Job]) -> list[Job]:
    """Return jobs in the order that leaves workers idle least at the end: the costliest first.

    What a job will cost is not known; arms come from the simplest to the costliest of their kind,
    transfers last, and scratch costs more than any. Before all, the first seed of each arm: what it
    computes and keeps, such as activations, the other seeds find.
    """
    back = list(reversed(jobs))
    return sorted(
        back, key=lambda job: (job.arm.name == SCRATCH or job.seed != 0, job.arm.name != SCRATCH)
    )


def _least_loss(outcome: Outcome) -> float:
    """Return the validation loss of the kept weights; without one, minus the score."""
    if outcome.error:
        return float("inf")
    curve = outcome.curve
    return curve.loss[curve.best] if curve.loss else -outcome.score
