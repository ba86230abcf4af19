"""Prove: fit every arm, choose by validation, then open the test labels once."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from sklearn.base import RegressorMixin

from headstart.data.dataset import Dataset
from headstart.data.readers import read
from headstart.errors import UsageError
from headstart.evidence.arms import Arm, roster
from headstart.evidence.choice import Chosen, choose
from headstart.evidence.crossing import crossings
from headstart.evidence.curation import apart, unknown
from headstart.evidence.evidence import Evidence, Outcome
from headstart.evidence.findings import by_heart, in_rows
from headstart.evidence.fits import Fits
from headstart.evidence.opened import Opened
from headstart.evidence.remedies import attempt, remedies
from headstart.evidence.study import prepare
from headstart.evidence.verdict import wins
from headstart.evidence.worker import Job
from headstart.machine import whole
from headstart.store.store import open_store
from headstart.task import Kind, Task


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
    also: Any = None,
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
        Labelled rows, or anything `headstart.read` reads. Without test rows the validation rows are
        tested on, and others drawn to validate; without either a fifth is drawn to test on.
    seeds
        How many times every arm is fitted, each time with another train–validation split and
        another initialization. The test rows never change.
    budget_s
        Seconds that the fits may take; None: as long as it takes.
    arms
        More arms: name → unfitted estimator.
    worth
        The gain from which a transfer is worth its trouble: 0.02 is two points of accuracy.
    target
        The validation score to be reached in *time to threshold*; None: 95 % of scratch's.
    best_effort
        Prove what can be proved with too few rows, instead of refusing.
    remedies_s
        Seconds that the search for a remedy may take, where validation does not clearly prefer
        the transfer; they come on top of the budget. 0: nothing else is tried.
    also
        More labelled rows, of another domain or language, as `data`; None: those of the data, if
        there are some. Arms learn from them too ("beside"), or from them alone ("zero-shot").
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
    seeds = whole("seeds", seeds, least=1)
    if (budget_s is not None and budget_s <= 0) or remedies_s < 0:
        raise UsageError(
            f"budget_s={budget_s}, remedies_s={remedies_s:g} cannot be right.\n"
            "Expected a budget above 0 (or None) and remedies_s ≥ 0."
        )
    if isinstance(model, type) or not hasattr(model, "get_params"):
        raise UsageError(
            f"model={model!r}: expected an estimator, such as headstart.Transfer('auto')."
        )
    kind = Kind.REGRESSION if isinstance(model, RegressorMixin) else None
    limit = getattr(model, "max_skipped", 0.01)
    data = read(data, kind=kind, max_skipped=limit)
    # Test rows keep the names they have among all: the report looks them up by these.
    data, others = apart(replace(data, names=[data.name(i) for i in range(len(data))]))
    check_worth(worth, data.task)
    also = others if also is None else read(also, kind=kind, max_skipped=limit)
    study = prepare(model, data, seeds, best_effort)
    if also is not None:
        study = replace(study, skipped=(*study.skipped, *also.skipped))
        also = replace(unknown(also, study.pool, study.every_hash()), skipped=())
    with open_store() as store:
        if fresh:
            store.drop_study(study.key)
        more = {} if also is None else crossings(model, study.source, study.pool, also)
        compared = roster(model, study.pool, {**more, **(arms or {})}, study.source, data)
        fits = Fits(study, compared, store, seeds, budget_s)
        fits.fit()
        chosen = choose(fits.arms, fits.outcomes)
        remedied = _remedied(fits, chosen, model, also, remedies_s)
        opened = Opened.of(fits, chosen)
        found = opened.evidence(worth, target)
    named = (chosen.shipped.arm, chosen.transfer, chosen.control)
    findings = (*in_rows(study, opened.bench.truth), *by_heart(fits.outcomes, named))
    return replace(found, findings=findings, remedies=remedied)


def check_worth(worth: float, task: Task | None) -> None:
    """Refuse a gain that none can exceed; only numbers have a score without a lower bound.

    Raises
    ------
    UsageError
        Where it is negative, no number, or no difference of two scores.
    """
    most = math.inf if task is None or task.kind is Kind.REGRESSION else 1.0
    if not 0 <= worth < most:
        raise UsageError(
            f"worth={worth:g}: no difference of scores that a gain could exceed.\n"
            "Expected 0 or more, and below 1 for classes, labels or tags: 0.02 is two points."
        )


def _remedied(
    fits: Fits, chosen: Chosen, model: Any, also: Dataset | None, budget_s: float
) -> tuple[dict[str, Any], ...]:
    """Try what else there is, by validation, where the transfer does not clearly win."""
    if not budget_s or wins(chosen.scores, chosen.transfer, chosen.control):
        return ()

    def fit(arm: Arm, seed: int) -> Outcome:
        return fits.run([Job(arm, seed)], f"remedy {arm.name}")[0]

    others = remedies(model, fits.study.source, also)
    transfer, control = (chosen.scores[name] for name in (chosen.transfer, chosen.control))
    return tuple(asdict(one) for one in attempt(others, fit, transfer, control, budget_s))
