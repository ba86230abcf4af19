"""Worker: one fit of an arm on the rows of a study, here or in another process."""

import json
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.checks.overfitting import Said, overfitting
from headstart.data.dataset import VALIDATION, Dataset
from headstart.data.ragged import are_finite, flat, is_ragged, lengths, ragged
from headstart.errors import DataError, Diverged, UsageError
from headstart.evidence.arms import Arm, fitted, outputs
from headstart.evidence.caller import content, is_own
from headstart.evidence.evidence import Outcome
from headstart.evidence.sealed import Sealed
from headstart.evidence.study import Study, digest, preparation_of
from headstart.features.features import Features
from headstart.io import read_safetensors, sha256_file, write_safetensors
from headstart.machine import home
from headstart.metrics.curve import Curve
from headstart.metrics.scores import best_cuts, cuts_of_others, scores
from headstart.steps.phase import MLP
from headstart.task import Kind, Task

#: What a fit may come to instead of a model, while the study goes on.
DIVERGES = (Diverged, FloatingPointError)

#: The same of a point of a data curve: its rows may be too few, or too alike, for an arm.
LEAVES_OUT = (*DIVERGES, DataError, UsageError)


@dataclass(frozen=True, eq=False)
class Job:
    """One fit: an arm, a seed, and how many rows; None: all."""

    arm: Arm
    seed: int
    n_rows: int | None = None

    @cached_property
    def key(self) -> str:
        """What names it within a study: equal keys, equal outcomes."""
        estimator = self.arm.estimator
        given = estimator.get_params(deep=True).items()
        own = is_own(estimator)
        options = sorted((n, repr(v)) for n, v in given) if own else [content(estimator)]
        kind = type(estimator).__name__
        return digest(kind, self.arm.name, options, self.seed, self.n_rows, *self.arm.weights)


@dataclass(frozen=True, eq=False)
class Worker:
    """Does jobs, here or in another process. It has the test rows, and no label of theirs."""

    study: Study
    folder: Path

    @classmethod
    def of(cls, study: Study) -> "Worker":
        """Return the worker of a study."""
        blind = replace(
            study, sealed=Sealed(np.zeros(0), ()), features=Features.of(np.zeros((0, 1)))
        )
        return cls(blind, home() / "outcomes" / study.key)

    def __call__(self, job: Job) -> dict[str, Any]:
        """Fit an arm, score it on validation, put what it says of the test rows aside."""
        rows = self.study.rows(job.seed, job.n_rows)
        blank = Outcome(job.arm.name, job.seed, len(rows.training()), job.n_rows is None)
        expected = DIVERGES if blank.is_whole else LEAVES_OUT
        start = time.perf_counter()
        try:
            model = fitted(job.arm, rows, job.seed)
        except expected as error:
            seconds = time.perf_counter() - start
            return replace(blank, seconds=seconds, is_converged=False, error=str(error)).to_json()
        done = replace(blank, seconds=time.perf_counter() - start)
        told = self._told(done, model, rows, job.key)
        scoring_s = time.perf_counter() - start - done.seconds
        return replace(told, facts=told.facts | {"scoring_s": scoring_s}).to_json()

    def _told(self, done: Outcome, model: Any, rows: Dataset, key: str) -> Outcome:
        held_out, task = rows.only(VALIDATION), self.study.task
        said, tested = (outputs(model, data, task) for data in (held_out, self.study.test))
        if not (are_finite(said).all() and are_finite(tested).all()):
            return replace(done, is_converged=False, error="Some outputs are not finite numbers.")
        truth = np.asarray(held_out.targets)
        cut = _cuts(model, task, truth, said)
        others = None if cut is None else cuts_of_others(truth, said)
        found = scores(task, truth, said, others, np.asarray(self.study.pool.targets))
        self.folder.mkdir(parents=True, exist_ok=True)
        write_safetensors(self._file(key), _arrays(tested))
        facts: dict[str, Any] = {"job": key}
        if done.is_whole and done.seed == 0:  # once an arm: the gap needs what it says of all rows
            facts["overfitting"] = self._gap(model, rows, said)
        return _with_effort(
            replace(
                done,
                scores={name: float(value) for name, value in found.items()},
                thresholds=None if cut is None else tuple(float(value) for value in cut),
                outputs=sha256_file(self._file(key)),
                facts=facts,
            ),
            model,
        )

    def _gap(self, model: Any, rows: Dataset, unseen: NDArray[np.float32]) -> list[dict[str, Any]]:
        """Return how much better the model is on rows it learned from, and what was done."""
        learned, held_out = rows.training(), rows.only(VALIDATION)
        found = overfitting(
            self.study.task,
            Said(np.asarray(learned.targets), outputs(model, learned, self.study.task)),
            Said(np.asarray(held_out.targets), unseen),
            restraint(model),
            _cuts(model, self.study.task, np.asarray(held_out.targets), unseen),
        )
        return [one.to_json() for one in found]

    def is_whole(self, facts: dict[str, Any]) -> bool:
        """Say whether the outputs of a kept outcome are there, byte for byte."""
        if facts["error"]:
            return True
        path = self._file(facts["facts"]["job"])
        return path.is_file() and sha256_file(path) == facts["outputs"]

    def tested(self, outcome: Outcome) -> NDArray[np.float32]:
        """Return what a fit said of the test rows; shape (n, k)."""
        arrays = read_safetensors(self._file(outcome.facts["job"]))[0]
        said = np.array(arrays["outputs"])
        if "sizes" not in arrays:
            return said
        return ragged(np.split(said, np.cumsum(arrays["sizes"])[:-1]))

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def _arrays(outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return outputs as a file holds them: those of sentences one after another."""
    if not is_ragged(outputs):
        return {"outputs": outputs}
    return {"outputs": flat(outputs), "sizes": lengths(outputs)}


def _cuts(
    model: Any, task: Task, truth: NDArray[Any], said: NDArray[np.float32]
) -> NDArray[np.float64] | None:
    """Return the cuts of several labels: a model's own, else those that suit its validation rows.

    Heads of ours have some; an arm without would lose to them by that alone.
    """
    if task.kind is not Kind.MULTILABEL:
        return None
    own = getattr(getattr(getattr(model, "bundle_", None), "head", None), "thresholds", None)
    return best_cuts(truth, said) if own is None else np.asarray(own)


def restraint(model: Any) -> str:
    """Say what kept a fitted estimator from learning its rows by heart; empty if that is unknown.

    >>> from types import SimpleNamespace
    >>> phase = SimpleNamespace(epochs=20, weight_decay=0.02)
    >>> curve = Curve(seen=(8, 16, 24), score=(0.5, 0.7, 0.6), loss=(0.9, 0.5, 0.6))
    >>> restraint(SimpleNamespace(curve_=curve, plan_=SimpleNamespace(phase=phase)))
    'it stopped after 3 of at most 20 passes and kept the weights of pass 2; weight decay 0.02'
    """
    curve: Curve | None = getattr(model, "curve_", None)
    phase = getattr(getattr(model, "plan_", None), "phase", None)
    if curve is not None and len(curve) and phase is not None:
        return (
            f"it stopped after {len(curve)} of at most {phase.epochs} passes and kept the weights "
            f"of pass {curve.best + 1}; weight decay {phase.weight_decay:g}"
        )
    facts = getattr(getattr(model, "bundle_", None), "facts", {})
    if penalty := facts.get("penalty"):
        return f"its penalty, {penalty:g} a row, was chosen by cross-validation"
    return ""


def _with_effort(done: Outcome, model: Any) -> Outcome:
    """Add the curve, whether it ended by its stop rule, and what was done, where these are told.

    Where the head alone learned, its curve is of rows that it held out itself, which are not those
    of the study: it is a single point, as of a head that is solved.
    """
    plan, curve = getattr(model, "plan_", None), getattr(model, "curve_", None) or Curve()
    phase, before = getattr(plan, "phase", None), preparation_of(model)
    learning = max(0.0, done.seconds - before)
    is_head = plan is not None and phase is None
    patience = getattr(MLP if is_head else phase, "patience", 1)
    stopped = not len(curve) or curve.has_converged(patience)
    if is_head or not len(curve):
        seen = curve.seen[-1] if len(curve) else done.n_rows
        curve = Curve(seen=(seen,), score=(done.score,), seconds=(learning,))
    else:
        curve = _since_the_start(curve, learning)
    said = {} if plan is None else {"plan": json.loads(json.dumps(plan.to_json(), default=str))}
    return replace(
        done,
        curve=curve,
        is_converged=stopped,
        preparation_s=before,
        facts=done.facts | said,
    )


def _since_the_start(curve: Curve, learning_s: float) -> Curve:
    """Return the curve with seconds since the fit began, its preparation left out.

    What a fit does beside its passes (a timed step, the head's solution, activations, calibration)
    is waited for whichever point is good enough, so every point has all of it. Without seconds of
    the passes they are spread over the rows.

    >>> curve = Curve(seen=(8, 16), score=(0.5, 0.7), seconds=(1.0, 3.0))
    >>> _since_the_start(curve, 10.0).seconds, _since_the_start(Curve(seen=(8, 16)), 10.0).seconds
    ((8.0, 10.0), (5.0, 10.0))
    """
    if not curve.seconds:
        spread = tuple(learning_s * seen / curve.seen[-1] for seen in curve.seen)
        return replace(curve, seconds=spread)
    beside_s = max(0.0, learning_s - curve.seconds[-1])
    return replace(curve, seconds=tuple(beside_s + one for one in curve.seconds))
