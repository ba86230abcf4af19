"""Prove: fit every arm, choose by validation, then open the test labels once."""

import datetime
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from headstart.data.dataset import Dataset
from headstart.data.readers import read
from headstart.errors import DataError, UsageError
from headstart.evidence import judge
from headstart.evidence.allot import Allotment, Asked, Pace, allot, epochs_at
from headstart.evidence.arms import FINETUNED, PROBE, RANDOM, SCRATCH, Arm, roster
from headstart.evidence.crossing import crossings
from headstart.evidence.curation import apart, unknown
from headstart.evidence.evidence import ArmRecord, Evidence, Gain, Outcome, Point
from headstart.evidence.findings import by_heart, card, in_rows
from headstart.evidence.judge import Bench, Said
from headstart.evidence.remedies import attempt, remedies
from headstart.evidence.study import Job, Study, Worker, prepare
from headstart.evidence.verdict import Preferred, Verdict, best, ships, simplest, wins, word_of
from headstart.jobs import once, run
from headstart.machine import versions
from headstart.metrics.crossed import Estimate
from headstart.metrics.curve import Curve
from headstart.steps.phase import SCRATCH as RECIPE
from headstart.steps.phase import Phase
from headstart.store.store import Store, open_store
from headstart.task import Kind

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
#: What test rows are that tell no model from another.
SAME = {Kind.MULTICLASS: "of one class", Kind.REGRESSION: "of one number"}


def prove(  # noqa: PLR0913
    model: Any,
    data: Any,
    *,
    seeds: int = 5,
    budget_s: float | None = None,
    arms: Mapping[str, Any] | None = None,
    worth: float = 0.0,
    target: float | None = None,
    best_effort: bool = False,
    remedies_s: float = 600.0,
    also: Dataset | None = None,
    fresh: bool = False,
) -> Evidence:
    """Measure what a transfer gained over not transferring, and say what to ship.

    Every arm is fitted anew on the training rows of each seed; what is compared, and what ships, is
    chosen by validation; the labels of the test rows are read once, at the end. Each finished fit
    is kept: the same call again computes nothing, and one that was killed goes on.

    Parameters
    ----------
    model
        A `Transfer`, fitted or not.
    data
        Labelled rows, or anything `headstart.read` reads. Without test rows a fifth is drawn.
    seeds
        How many times every arm is fitted, each time with another train–validation split and
        another initialization. The test rows never change.
    budget_s
        Seconds that the fits may take; None: as long as it takes.
    arms
        More arms: name → unfitted estimator.
    worth
        The gain from which a transfer is worth its trouble.
    target
        The validation score to be reached in *time to threshold*; None: 95 % of scratch's.
    best_effort
        Prove what can be proved with too few rows, instead of refusing.
    remedies_s
        Seconds that the search for a remedy may take, where validation does not clearly prefer
        the transfer; they come on top of the budget. 0: nothing else is tried.
    also
        More labelled rows, of another domain or language; None: those of the data, if there are
        some. Arms learn from them too ("beside"), or from them alone ("zero-shot").
    fresh
        Forget the fits of this study that were kept, and do all of them again.

    Returns
    -------
    Evidence
        Arms, outcomes, curves, gains, verdict.

    Raises
    ------
    DataError
        Where the rows are too few.
    UsageError
        Where the model transfers nothing.
    """
    if seeds < 1 or worth < 0 or (budget_s is not None and budget_s <= 0) or remedies_s < 0:
        raise UsageError(
            f"seeds={seeds}, worth={worth:g}, budget_s={budget_s}, remedies_s={remedies_s:g} "
            "cannot be right.\n"
            "Expected seeds ≥ 1, worth ≥ 0, a budget above 0 (or None) and remedies_s ≥ 0."
        )
    kind = Kind.REGRESSION if isinstance(model, RegressorMixin) else None
    data = read(data, kind=kind, max_skipped=getattr(model, "max_skipped", 0.01))
    # Test rows keep the names they have among all: the report looks them up by these.
    data, others = apart(replace(data, names=[data.name(i) for i in range(len(data))]))
    also = also or others
    study = prepare(model, data, seeds, best_effort)
    # Counted by now: of the part that an arm learns from, those left out are a larger share.
    study = replace(study, pool=replace(study.pool, skipped=()))
    if also is not None:
        also = replace(unknown(also, study.pool, study.every_hash()), skipped=())
    with open_store() as store:
        if fresh:
            store.drop_study(study.key)
        more = {} if also is None else crossings(model, study.source, study.pool, also)
        compared = roster(model, study.pool, {**more, **(arms or {})}, study.source)
        proof = Proof(study, compared, store, seeds, budget_s)
        proof.fit()
        chosen = proof.choose()
        remedied = proof.remedy(chosen, model, remedies_s, also)
        found = proof.open(chosen, worth, target)
    named = (chosen.shipped.arm, chosen.transfer, chosen.control)
    findings = (*in_rows(study, proof.truth), *by_heart(proof.outcomes, named))
    return replace(found, findings=findings, remedies=remedied)


@dataclass(frozen=True)
class Chosen:
    """What validation prefers: the transfer arm and the control to compare, and what ships."""

    transfer: str
    control: str
    shipped: Preferred
    scores: Mapping[str, Mapping[int, float]]
    notes: tuple[str, ...] = ()


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


class Proof:
    """One study under way: its arms, and what came of every fit."""

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
        self.truth: Any = None

    # -- fits -------------------------------------------------------------------------------------

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
        found = self._run(jobs, name)
        self.outcomes += found
        return found

    def _run(self, jobs: Sequence[Job], name: str) -> list[Outcome]:
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
        return self._run(jobs, "pilot")

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
        at, arm = self.allotment, self.arms[self.choose().transfer]
        for n in at.transfer_rows:
            yield from (Job(arm, seed, n) for seed in range(at.transfer_curve_seeds))
        if SCRATCH not in self.arms:
            return
        for n in at.scratch_rows:
            epochs = epochs_at(at, n, self.study.n_train(), RECIPE.epochs)
            scratch = self.arms[SCRATCH].with_phase(self._recipe(rate, epochs))
            yield from (Job(scratch, seed, n) for seed in range(at.scratch_curve_seeds))

    # -- choices, by validation -------------------------------------------------------------------

    def choose(self) -> Chosen:
        """Choose the arms to compare, and what ships, by validation."""
        notes: list[str] = []
        found = {name: self._validation(name) for name in self.arms}
        transfers = self._eligible("transfer", found, notes)
        controls = self._eligible("control", found, notes)
        transfer = simplest(found, transfers)
        control = best(found, controls)
        shipped = ships(found, transfer.arm, control)
        if shipped.arm == transfer.arm:
            shipped = Preferred(shipped.arm, f"{transfer.why}; {shipped.why}")
        return Chosen(transfer.arm, control, shipped, found, tuple(notes))

    def _validation(self, arm: str) -> dict[int, float]:
        return {one.seed: one.score for one in self._whole(arm) if not one.error}

    def _eligible(
        self, role: str, found: Mapping[str, Mapping[int, float]], notes: list[str]
    ) -> list[str]:
        """Return the arms that can be chosen, and say of the others why not.

        A transfer arm that diverged once is not chosen; a control is, for its other seeds: both
        ways the gain is not made to look larger.
        """
        names = [name for name, arm in self.arms.items() if arm.role == role]
        for name in names:
            n = len(self._whole(name)) - len(found[name])
            if n:
                notes.append(f"{name} diverged with {n} of {len(self._whole(name))} seeds.")
        there = [name for name in names if found[name]]
        steady = [name for name in there if len(found[name]) == len(self._whole(name))]
        chosen = steady if role == "transfer" and steady else there
        if not chosen:
            raise DataError(f"Every {role} arm diverged: {' '.join(notes)}\nLook at the rows.")
        return chosen

    def remedy(
        self, chosen: Chosen, model: Any, budget_s: float, also: Dataset | None
    ) -> tuple[dict[str, Any], ...]:
        """Try what else there is, by validation, where the transfer does not clearly win."""
        if not budget_s or wins(chosen.scores, chosen.transfer, chosen.control):
            return ()

        def fit(arm: Arm, seed: int) -> Outcome:
            return self._run([Job(arm, seed)], f"remedy {arm.name}")[0]

        found = attempt(
            remedies(model, self.study.source, also), fit, chosen.scores[chosen.transfer],
            chosen.scores[chosen.control], budget_s,
        )  # fmt: skip
        return tuple(asdict(one) for one in found)

    def _whole(self, arm: str) -> list[Outcome]:
        return [one for one in self.outcomes if one.arm == arm and one.is_whole]

    # -- the verdict ------------------------------------------------------------------------------

    def open(self, chosen: Chosen, worth: float, target: float | None) -> Evidence:
        """Read the test labels, the only place that does, and say what was found."""
        self.truth, n_reads = self.study.sealed.open(self.store, self.name)
        bench = Bench(
            self.study.task, self.study.score, self.truth, np.asarray(self.study.pool.targets)
        )
        said = {
            name: {one.seed: self._said(one) for one in self._whole(name) if not one.error}
            for name in self.arms
        }
        data = {name: self._data_curve(bench, name) for name in (chosen.transfer, SCRATCH)}
        return Evidence(
            task=self.study.task,
            score=self.study.score,
            source=card(self.study.source, self.study.ranking),
            n_rows=self._n_rows(),
            arms=tuple(self._record(bench, arm, said[arm.name]) for arm in self.arms.values()),
            outcomes=tuple(self.outcomes),
            effort={name: tuple(self._curves(name).values()) for name in self.arms},
            data={name: points for name, points in data.items() if points},
            gains=self._gains(bench, chosen, said, data, target),
            verdict=self._verdict(bench, chosen, said, worth, n_reads),
            judged=self._judged(bench, chosen.shipped.arm, said),
            n_test_reads=n_reads,
            seeds=self.seeds,
            budget_s=self.budget_s,
            plan=self.allotment.to_json() | {"pilot": self.rates},
            transfer_plan=self._transfer_plan(chosen.transfer),
            versions=versions(),
            notes=self.study.notes,
            seconds=self.spent_s,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )

    def _said(self, outcome: Outcome) -> Said:
        return self.worker.tested(outcome), outcome.thresholds

    def _verdict(
        self, bench: Bench, chosen: Chosen, said: Mapping[str, Mapping[int, Said]], worth: float,
        n_reads: int,
    ) -> Verdict:  # fmt: skip
        ours, theirs = _paired(said[chosen.transfer], said[chosen.control])
        notes = list(chosen.notes)
        if n_reads > 1:
            notes.append(f"These test labels were read {n_reads} times, by fits or studies: the "
                         "interval is optimistic.")  # fmt: skip
        notes += self._overspent()
        found = bench.estimate(ours, theirs)
        if len(ours) < 2:
            found = Estimate(found.mid, math.inf, 1.0)
            notes.append("One seed does not say what another would give: it decides nothing.")
        word = word_of(found.interval(), worth)
        if bench.task.kind in SAME and len(np.unique(bench.truth)) < 2:
            word = "undecided"
            notes.append(f"All test rows are {SAME[bench.task.kind]}: no score on them says much.")
        control = self._whole(chosen.control)
        return Verdict(
            word=word,
            gain=found.interval(),
            transfer=chosen.transfer,
            control=chosen.control,
            shipped=chosen.shipped.arm,
            why=chosen.shipped.why,
            n_seeds=len(ours),
            worth=worth,
            smallest_gain=worth + found.smallest_gain(),
            is_at_most=not all(one.is_converged or one.error for one in control),
            notes=tuple(notes),
        )

    def _overspent(self) -> list[str]:
        """Say that the fits could not keep to their budget, and why."""
        if self.budget_s is None or self.fits_s <= OVERSPENT * self.budget_s:
            return []
        slowest = max((one for one in self.outcomes if one.is_whole), key=lambda one: one.cost_s)
        least = " Fewer than two seeds of an arm tell nothing." if self.allotment.seeds == 2 else ""
        return [
            f"The fits took {self.fits_s:.0f} s of computing where {self.budget_s:.0f} s were "
            f"given; one of {slowest.arm} takes {slowest.cost_s:.0f} s.{least}"
        ]

    def _gains(
        self, bench: Bench, chosen: Chosen, said: Mapping[str, Mapping[int, Said]],
        data: Mapping[str, Sequence[Point]], target: float | None,
    ) -> tuple[Gain, ...]:  # fmt: skip
        none: dict[int, Said] = {}
        scratch = [one for one in self._whole(SCRATCH) if not one.error]
        starts = _paired(said.get(PROBE, none), said.get(RANDOM, none))
        ends = _paired(said[chosen.transfer], said.get(SCRATCH, none))
        is_at_most = not all(one.is_converged for one in scratch)
        rising = FINETUNED if FINETUNED in self.arms else chosen.transfer
        return (
            judge.jumpstart(bench, *starts),
            judge.steepness(self._curves(rising), self._curves(SCRATCH), bench.score),
            judge.asymptote(bench, *ends, is_at_most=is_at_most),
            judge.time_saved(self._whole(chosen.transfer), scratch, target, self.preparation_s),
            judge.labels(data[chosen.transfer], data[SCRATCH]),
        )

    def _curves(self, arm: str) -> dict[int, Curve]:
        return {one.seed: one.curve for one in self._whole(arm) if len(one.curve)}

    def _data_curve(self, bench: Bench, arm: str) -> tuple[Point, ...]:
        """Return the points of an arm's data curve, rising; diverged fits have none."""
        by_rows: dict[int, list[Outcome]] = {}
        for one in self.outcomes:
            if one.arm == arm and not one.error:
                by_rows.setdefault(0 if one.is_whole else one.n_rows, []).append(one)
        found = [
            judge.point(bench, some, [self._said(one) for one in some]) for some in by_rows.values()
        ]
        return tuple(sorted(found, key=lambda point: point.n_rows))

    def _record(self, bench: Bench, arm: Arm, said: Mapping[int, Said]) -> ArmRecord:
        fits = self._whole(arm.name)
        each = {seed: bench.scores_of(one) for seed, one in said.items()}
        names = next(iter(each.values()), {})
        return ArmRecord(
            name=arm.name,
            role=arm.role,
            about=arm.about,
            validation=self._validation(arm.name),
            test={seed: found[bench.score] for seed, found in each.items()},
            interval=bench.estimate(list(said.values())).interval() if said else None,
            test_scores={n: float(np.mean([one[n] for one in each.values()])) for n in names},
            seconds=float(np.mean([one.seconds for one in fits])),
            n_seeds=len(fits),
            n_diverged=sum(bool(one.error) for one in fits),
            n_not_converged=sum(not one.is_converged and not one.error for one in fits),
        )

    def _judged(self, bench: Bench, arm: str, said: Mapping[str, Mapping[int, Said]]) -> Any:
        first = said[arm][min(said[arm])]
        return judge.judged(bench, arm, first, self.study.test)

    def _transfer_plan(self, arm: str) -> dict[str, Any]:
        plans = [one.facts.get("plan") for one in self._whole(arm)]
        return next((plan for plan in plans if plan), {})

    def _n_rows(self) -> dict[str, int]:
        n_train = self.study.n_train()
        n_held_out = len(self.study.pool) - n_train
        return {"train": n_train, "validation": n_held_out, "test": len(self.study.test)}


def _paired(ours: Mapping[int, Said], theirs: Mapping[int, Said]) -> tuple[list[Said], list[Said]]:
    """Return what both said with the seeds that both have."""
    shared = [seed for seed in sorted(ours) if seed in theirs]
    return [ours[seed] for seed in shared], [theirs[seed] for seed in shared]


def _least_loss(outcome: Outcome) -> float:
    """Return the validation loss of the kept weights; without one, minus the score."""
    if outcome.error:
        return float("inf")
    curve = outcome.curve
    return curve.loss[curve.best] if curve.loss else -outcome.score
