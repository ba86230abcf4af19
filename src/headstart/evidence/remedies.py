"""Remedies: what else may be tried where transfer does not win; judged by validation alone.

They are those of the survey, in its order: other data (another training, fewer or lighter rows),
another model, boundary, optimizer and rate, architecture, more regularization. None of them
changes the verdict or what ships: the best of many tries looks better than it is, and what it is
worth is for a study of its own to say.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from headstart.data.dataset import Dataset
from headstart.errors import HeadstartError
from headstart.evidence.arms import Arm, identity, like
from headstart.evidence.curation import DROPPED, More, Representative, name_of
from headstart.evidence.evidence import Outcome
from headstart.sources.catalog import shelf
from headstart.sources.source import Source
from headstart.steps.phase import Phase, default_phase
from headstart.task import Modality
from headstart.transfer.plan import AUTO_BOUNDARY

#: Seeds that a remedy is tried with, at most: those of the study, so that scores are paired.
SEEDS = 3
#: Other sources that are tried of each kind.
SOURCES = 2
#: Boundaries of step 5 that are tried where they are not what was asked for.
BOUNDARIES = ("last:50%", "last:10%", "all")


@dataclass(frozen=True, eq=False)
class Remedy:
    """One thing to try.

    Parameters
    ----------
    name
        Which of the remedies of the survey it is.
    what
        What is done, in a few words.
    arm
        The arm that does it; None where it cannot be done here, and `what` says why.
    """

    name: str
    what: str
    arm: Arm | None = None


@dataclass(frozen=True)
class Tried:
    """What came of a remedy, on validation rows.

    Parameters
    ----------
    remedy, what
        As in `Remedy`.
    gave
        The mean score less that of the best transfer arm, over the seeds tried; None where there
        is no score.
    over_control
        The same beside the best control.
    n_seeds, seconds
        Fits, and what they took.
    outcome
        Whether it beats the best control, or why there is no score.
    """

    remedy: str
    what: str
    gave: float | None = None
    over_control: float | None = None
    n_seeds: int = 0
    seconds: float = 0.0
    outcome: str = ""


def remedies(model: Any, source: Source, also: Dataset | None = None) -> list[Remedy]:
    """Return everything there is to try for a model of a source, in the order of the survey.

    Parameters
    ----------
    also
        More labelled rows to learn from; none of them is one of the study's rows.
    """
    more = [] if also is None else [_more_rows(model, source, also)]
    if source.modality is Modality.VECTOR:
        return [*more, Remedy("other data", "rows of numbers have no pretrained network to change")]
    return [
        *more,
        *_other_data(model, source),
        *_another_model(model, source),
        *_boundary(model, source),
        *_optimizer(model, source),
        *_architecture(model, source),
        *_regularization(model, source),
    ]


def _more_rows(model: Any, source: Source, also: Dataset) -> Remedy:
    what = f"{len(also):,} more rows to learn from"
    learner = More(like(model, source.uri, "no"), also, name_of(also), source.uri)
    return Remedy("other data", what, Arm("rows:also", learner, "transfer", what))


def _other_data(model: Any, source: Source) -> Iterator[Remedy]:
    yield from _sources(
        "other data", model, [one for one in _others(source) if one.trained_on != source.trained_on]
    )
    probe = like(model, source.uri, "no")
    rules = {
        "drop": f"without the {DROPPED:.0%} of the training rows that are least like others",
        "weigh": "training rows count the less, the less they are like others",
    }
    for rule, what in rules.items():
        yield Remedy("other data", what, Arm(f"rows:{rule}", Representative(
            probe, rule=rule, source=source.uri), "transfer", what))  # fmt: skip


def _another_model(model: Any, source: Source) -> Iterator[Remedy]:
    alike = [one for one in _others(source) if one.trained_on == source.trained_on]
    yield from _sources("another model", model, alike)
    if not alike:
        yield Remedy(
            "another model", f"no other on this machine was trained on {source.trained_on}"
        )


def _others(source: Source) -> list[Source]:
    """Return what else of the shelf is on disk and reads such rows, the best first guess first."""
    found = [one.source for one in shelf() if one.on_disk]
    return [one for one in found if one.modality is source.modality and one.uri != source.uri]


def _sources(name: str, model: Any, found: Sequence[Source]) -> Iterator[Remedy]:
    for one in found[:SOURCES]:
        learner, about = like(model, one.uri, "no"), "another source"
        arm = Arm(f"source:{one.uri}", learner, "transfer", about, identity(one))
        yield Remedy(name, f"{one.uri} ({one.trained_on})", arm)


def _boundary(model: Any, source: Source) -> Iterator[Remedy]:
    if not source.is_trainable:
        yield Remedy("boundary", "this source can only be used frozen")
        return
    for boundary in BOUNDARIES:
        if boundary != _asked(model):
            yield Remedy(
                "boundary", boundary, _tuned(model, source, boundary, _phase(model, source))
            )


def _optimizer(model: Any, source: Source) -> Iterator[Remedy]:
    if not source.is_trainable:
        yield Remedy("optimizer and rate", "nothing but the head is trained, and that is solved")
        return
    phase = _phase(model, source)
    head = phase.head_rate or phase.rate
    ways = {
        "a third of the rates": replace(phase, rate=phase.rate / 3, head_rate=head / 3),
        "three times the rates": replace(phase, rate=phase.rate * 3, head_rate=head * 3),
        "SGD with momentum": replace(
            phase, optimizer="sgd", rate=phase.rate * 100, head_rate=head * 10
        ),
    }
    for what, changed in ways.items():
        yield Remedy("optimizer and rate", what, _tuned(model, source, _asked(model), changed))


def _architecture(model: Any, source: Source) -> Iterator[Remedy]:
    head = str(model.get_params(deep=False).get("head", "linear"))
    other = "linear" if head == "mlp" else "mlp"
    estimator = like(model, source.uri, "no")
    if "head" in estimator.get_params(deep=False):
        arm = Arm(f"head:{other}", estimator.set_params(head=other), "transfer", "another head")
        yield Remedy("architecture", f"a head of the kind {other}", arm)


def _regularization(model: Any, source: Source) -> Iterator[Remedy]:
    if not source.is_trainable:
        yield Remedy(
            "more regularization", "the penalty of the head was chosen by cross-validation already"
        )
        return
    phase = _phase(model, source)
    heavier = replace(
        phase, weight_decay=phase.weight_decay * 10, patience=max(1, phase.patience // 2),
        views=phase.views * 2,
    )  # fmt: skip
    what = "ten times the weight decay, twice the views, an earlier stop"
    yield Remedy("more regularization", what, _tuned(model, source, _asked(model), heavier))


def _asked(model: Any) -> str:
    asked = str(model.get_params(deep=False).get("finetune", "auto")).removeprefix("only:")
    return AUTO_BOUNDARY if asked in ("auto", "no", "head") else asked


def _phase(model: Any, source: Source) -> Phase:
    own: Phase | None = model.get_params(deep=False).get("phase")
    return own or default_phase(source.uri, source.modality)


def _tuned(model: Any, source: Source, boundary: str, phase: Phase) -> Arm:
    # The whole of what is learned is in the estimator, and so in the name of the job.
    estimator = like(model, source.uri, f"only:{boundary}", phase)
    return Arm("remedy", estimator, "transfer", f"upper stages ({boundary}) move too")


def tried(
    remedy: Remedy,
    outcomes: Sequence[Outcome],
    transfer: Mapping[int, float],
    control: Mapping[int, float],
) -> Tried:
    """Return what came of a remedy beside the best arm of each kind.

    Parameters
    ----------
    outcomes
        One a seed.
    transfer, control
        Validation scores by seed.

    Examples
    --------
    >>> one = Outcome("remedy", 0, 40, scores={"accuracy": 0.75}, seconds=2.0)
    >>> found = tried(Remedy("boundary", "all"), [one], {0: 0.5}, {0: 0.875})
    >>> found.gave, found.outcome
    (0.25, 'does not beat the best control (-0.125)')
    """
    seconds = sum(one.cost_s for one in outcomes)
    said = Tried(remedy.name, remedy.what, n_seeds=len(outcomes), seconds=seconds)
    if errors := [one.error for one in outcomes if one.error]:
        return replace(said, outcome=f"came to no score: {errors[0].splitlines()[0]}")
    gave, over = (_mean_gap(outcomes, other) for other in (transfer, control))
    if gave is None or over is None:
        return replace(said, outcome="no seed to compare it with")
    outcome = f"{'beats' if over > 0 else 'does not beat'} the best control ({over:+.3f})"
    return replace(said, gave=gave, over_control=over, outcome=outcome)


def attempt(
    listed: Sequence[Remedy],
    fit: Callable[[Arm, int], Outcome],
    transfer: Mapping[int, float],
    control: Mapping[int, float],
    budget_s: float,
) -> Iterator[Tried]:
    """Try remedies in turn until the time is over; yield what came of each, and why of none.

    Parameters
    ----------
    listed
        What to try, in this order.
    fit
        Fits an arm with a seed.
    transfer, control
        Validation scores by seed of the arms to compare with.
    budget_s
        Seconds that all of it may take; a fit that was begun is finished.
    """
    spent_s = 0.0
    seeds = [seed for seed in sorted(transfer) if seed in control][:SEEDS]
    for remedy in listed:
        if remedy.arm is None:
            yield Tried(remedy.name, remedy.what, outcome="cannot be tried here")
        elif spent_s >= budget_s:
            yield Tried(remedy.name, remedy.what, outcome="not tried: the time was over")
        else:
            outcomes, why = _fits(remedy.arm, fit, seeds, budget_s - spent_s)
            spent_s += sum(one.cost_s for one in outcomes)
            found = tried(remedy, outcomes, transfer, control)
            yield replace(found, outcome=f"cannot be tried: {why}") if why else found


def _fits(
    arm: Arm, fit: Callable[[Arm, int], Outcome], seeds: Sequence[int], left_s: float
) -> tuple[list[Outcome], str]:
    """Return a fit a seed, as far as the time goes; and why an arm cannot be fitted at all."""
    outcomes: list[Outcome] = []
    for seed in seeds:
        try:
            outcomes.append(fit(arm, seed))
        except HeadstartError as error:
            return [], str(error).splitlines()[0]
        left_s -= outcomes[-1].cost_s
        if outcomes[-1].error or outcomes[-1].cost_s > left_s:
            break
    return outcomes, ""


def _mean_gap(outcomes: Sequence[Outcome], other: Mapping[int, float]) -> float | None:
    gaps = [one.score - other[one.seed] for one in outcomes if one.seed in other]
    return float(np.mean(gaps)) if gaps else None
