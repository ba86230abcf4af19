"""The linear head: solved, not trained; its penalty chosen on rows it has not seen."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.features.features import Features
from headstart.heads.calibrate import calibrated
from headstart.heads.choose import Fold, Job, Tried, choose, holdouts
from headstart.heads.design import Scaler, design, scaler_of
from headstart.heads.head import Layer, outputs_of, run_layers
from headstart.heads.solve import FINE, Solution
from headstart.machine import one_thread
from headstart.task import Kind, Task

_NOT_CONVERGED = "The linear head stopped before its optimum: its weights are close, not exact."


@dataclass(frozen=True, eq=False)
class LinearHead:
    """One affine layer.

    Parameters
    ----------
    weight, bias
        Shape (k, d) and (k,), for raw features; float64 where solved, so that a column far from
        zero keeps its digits.
    kind
        What is asked of a row.
    temperature
        What logits are divided by before they become probabilities (Guo et al. 2017, §4.2).
    thresholds
        For several labels, the probability from which each is said, shape (k,); None: 0.5.

    Examples
    --------
    >>> head = LinearHead(np.array([[1.0], [-1.0]]), np.zeros(2), Kind.MULTICLASS)
    >>> head.outputs(np.array([[0.0]], dtype=np.float32)).tolist()
    [[0.5, 0.5]]
    """

    weight: NDArray[np.floating]
    bias: NDArray[np.floating]
    kind: Kind
    temperature: float = 1.0
    thresholds: NDArray[np.float64] | None = None

    name: ClassVar[str] = "linear"
    reads: ClassVar[None] = None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The one layer."""
        return ((self.weight, self.bias),)

    def module(self) -> Any:
        """Return a torch `Linear` of the same weights, to be trained."""
        from headstart.heads.module import affine

        return affine(self.layers[0])

    def learned(self, module: Any) -> "LinearHead":
        """Return the same head with the weights that its module has now."""
        from headstart.heads.module import layer_of

        weight, bias = layer_of(module)
        return dataclasses.replace(self, weight=weight, bias=bias)

    def logits(self, features: NDArray[np.floating]) -> NDArray[Any]:
        """Return what the layer says, shape (n, k), before the temperature."""
        return run_layers(self.kind, self.layers, features)

    def outputs(self, features: NDArray[np.floating]) -> NDArray[Any]:
        """Return probabilities in float32, or numbers in float64 of shape (n, 1)."""
        return self.outputs_from(self.logits(features))

    def outputs_from(self, logits: NDArray[np.floating]) -> NDArray[Any]:
        """Return the outputs for what the last layer says."""
        return outputs_of(self.kind, logits, self.temperature)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return everything needed to make it again: arrays, and facts that fit in JSON."""
        arrays: dict[str, NDArray[Any]] = {"weight": self.weight, "bias": self.bias}
        if self.thresholds is not None:
            arrays["thresholds"] = self.thresholds
        facts = {"head": self.name, "kind": str(self.kind), "temperature": self.temperature}
        return arrays, facts

    @classmethod
    def from_state(
        cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]
    ) -> "LinearHead":
        """Make it again from its `state`."""
        thresholds = arrays.get("thresholds")
        kind, temperature = Kind(facts["kind"]), float(facts["temperature"])
        return cls(arrays["weight"], arrays["bias"], kind, temperature, thresholds)


@dataclass(frozen=True, eq=False)
class LinearFit:
    """A linear head and how it was found.

    Parameters
    ----------
    head
        The `LinearHead`, or a head made of one.
    penalty
        The chosen penalty.
    oof_outputs
        Shape (n, k): what heads fitted without a row say of it (out of fold), with the head's
        temperature; rows that were never held out, or count nothing, hold NaN. None where nothing
        was held out.
    path
        The penalties tried, from the strongest.
    converged
        Whether the solver reached the optimum.
    seconds
        How long it took.
    warnings
        What a person should know, a sentence each.
    """

    head: Any
    penalty: float
    oof_outputs: NDArray[Any] | None = None
    path: tuple[Tried, ...] = ()
    converged: bool = True
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


def fit_linear(  # noqa: PLR0913  (what is solved, and how it is chosen)
    features: Features,
    targets: ArrayLike,
    task: Task,
    *,
    weight: ArrayLike | None = None,
    penalties: Sequence[float] | None = None,
    folds: int | Sequence[Fold] = 5,
    judges: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> LinearFit:
    """Return the linear head of least penalized loss; the penalty is chosen on held-out rows.

    The scaler is fitted on all the rows, without their labels, and is folded into the head.
    Probabilities are calibrated on the held-out rows by one temperature, and for several labels
    the threshold of each is the one of highest F1 there.

    Parameters
    ----------
    features
        Shape (n, d).
    targets
        As in a dataset: shape (n,), or (n, k) for several labels.
    weight
        How much each row counts, shape (n,); 1 if None. One that counts nothing judges nothing.
    penalties
        The path; `headstart.heads.choose.PENALTIES` if None. They are per row (see
        `headstart.heads.solve`).
    folds
        How many, or the folds themselves as (rows to fit, rows to hold out). 0: nothing is held
        out, and the first of `penalties` is taken, or the default. Above 20,000 rows that may be
        held out a number above 0 means one split.
    judges
        Which rows may be held out, shape (n,), where `folds` is a number; all if None.

    Raises
    ------
    DataError
        Where a feature is not finite.

    Notes
    -----
    Chunks of rows are worked on side by side, each in one thread of linear algebra, so the result
    is the same to the last bit whatever the number of threads.
    """
    began = time.perf_counter()
    with one_thread():
        counts = np.ones(len(features)) if weight is None else np.asarray(weight, dtype=np.float64)
        job, scaler, level = convex(features, targets, task, counts)
        choice = choose(job, penalties, holdouts(job, features, folds, seed, judges))
        found = job.whole().solve(choice.penalty, choice.start, FINE)
    head, outputs = _calibrated(unscaled(job, scaler, found), choice.logits, job)
    if task.kind is Kind.REGRESSION:
        head = dataclasses.replace(head, bias=head.bias + level)
        outputs = None if outputs is None else outputs + level
    return LinearFit(
        head,
        choice.penalty,
        outputs,
        choice.path,
        found.converged,
        time.perf_counter() - began,
        choice.warnings + (() if found.converged else (_NOT_CONVERGED,)),
    )


def convex(
    features: Features, targets: ArrayLike, task: Task, weight: NDArray[np.float64]
) -> tuple[Job, Scaler, Any]:
    """Return rows as a convex problem, what standardized them, and what targets are taken from."""
    scaler, level = scaler_of(features, weight), _level(task, targets, weight)
    return Job(design(features, scaler), np.asarray(targets) - level, weight, task), scaler, level


def _level(task: Task, targets: ArrayLike, weight: NDArray[np.float64]) -> Any:
    # Numbers are solved for from their mean: near 1e9 float32 tells only every 64th apart.
    if task.kind is not Kind.REGRESSION:
        return 0
    return weight @ np.asarray(targets, dtype=np.float64) / weight.sum()


def unscaled(job: Job, scaler: Scaler, found: Solution) -> LinearHead:
    """Return a solution as a head on raw features."""
    weight, bias = scaler.fold(job.rows.standard(found.weight), found.bias)
    return LinearHead(weight, bias, job.task.kind)


def _calibrated(
    head: LinearHead, logits: NDArray[np.float32] | None, job: Job
) -> tuple[LinearHead, NDArray[Any] | None]:
    """Return the head with its temperature and thresholds, and what it says out of fold."""
    if logits is None:
        return head, None
    held = np.isfinite(logits).all(axis=1)
    head = calibrated(head, logits[held], job.targets[held], job.weight[held])
    said = outputs_of(head.kind, logits[held], head.temperature)
    outputs = np.full(logits.shape, np.nan, dtype=said.dtype)
    outputs[held] = said
    return head, outputs
