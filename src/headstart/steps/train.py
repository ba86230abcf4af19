"""Step 4, train: the new head to convergence, on cached features."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.also import is_also
from headstart.data.dataset import VALIDATION, Dataset
from headstart.data.sampling import split
from headstart.errors import DataError, UsageError
from headstart.features.compile import Boundaries
from headstart.features.extract import TOP_OF_WORDS
from headstart.features.features import Features
from headstart.heads.calibrate import calibrated
from headstart.heads.choose import groups_of
from headstart.heads.head import Head
from headstart.heads.linear import fit_linear
from headstart.heads.tags import fit_tags
from headstart.metrics.curve import Curve
from headstart.runs import Run
from headstart.steps.phase import MLP, Phase
from headstart.task import Kind, Task

if TYPE_CHECKING:
    from headstart.heads.mlp import MlpHead

#: What a tag head may read: middle layers tell more of words than the last (Tenney et al., BERT
#: rediscovers the classical NLP pipeline, 2019, https://arxiv.org/abs/1905.05950).
LAYERS: Boundaries = (0.5, 0.75, 1.0)


#: What is said of several labels: their thresholds come from the rows they are scored on.
TUNED = (
    "The thresholds of the labels were chosen on what is said out of fold: macro F1 there is a "
    "little optimistic. A test split says more."
)


#: What is said of an MLP: the rows it is scored on are not as new to it as those of folds.
WATCHED = (
    "The rows held out of the MLP said when to stop, and calibrated it: its out-of-fold scores are "
    "of these rows, and optimistic. A test split says more."
)


@dataclass(frozen=True, eq=False)
class Trained:
    """A converged head and what is known of it.

    Parameters
    ----------
    head
        The head.
    outputs
        Shape (n, k): what heads that did not see a row say of it, NaN where none did; None where
        there were too few rows to hold any out.
    notes
        What a person should know: nothing could be held out, a solver did not converge.
    facts
        The penalty, the folds, seconds; for the plan.
    curve
        Of an MLP head; the loss of numbers is in units of their variance.
    """

    head: Head
    outputs: NDArray[Any] | None
    notes: tuple[str, ...]
    facts: dict[str, Any]
    curve: Curve | None = None


def train(
    head: str,
    features: Features,
    data: Dataset,
    *,
    seed: int = 0,
    phase: Phase | None = None,
    run: Run | None = None,
) -> Trained:
    """Train a head on features.

    Parameters
    ----------
    head
        "linear": a convex problem, solved, its penalty chosen by cross-validation.
        "mlp": one hidden layer, trained by gradient.
    features, data
        The features of the rows and the rows' labels, in the same order.
    phase
        How an MLP learns; a linear head needs none.
    """
    task = labelled(data)
    check_head(head, task)
    if task.kind is Kind.TAGS:
        return _solve_tags(features, data, task, seed)
    if head == "linear":
        return _solve(features, data, task, seed)
    return _descend(features, data, task, phase or MLP, seed, run)


def check_head(head: str, task: Task) -> None:
    """Refuse a head that does not learn such a task.

    Raises
    ------
    UsageError
        It names those that do.
    """
    if task.kind is Kind.TAGS and head != "linear":
        raise UsageError(f"head={head!r} does not tag words.\nExpected 'linear'.")
    if head not in ("linear", "mlp"):
        raise UsageError(f"head={head!r} is not known here.\nExpected 'linear' or 'mlp'.")


def labelled(data: Dataset) -> Task:
    """Return the task of labelled data.

    Raises
    ------
    DataError
        Without labels, or where there is nothing to tell apart.
    """
    if data.task is None or data.targets is None:
        raise DataError(
            "The rows have no labels, so there is nothing to learn.\n"
            "Expected a folder a class, or a label column (`--label`)."
        )
    if len(data) < 2:
        ends = " A blank line ends a sentence of a CoNLL file." * (data.task.kind is Kind.TAGS)
        raise DataError(f"Got {len(data)} sample.\nExpected at least two labelled rows.{ends}")
    if data.task.kind is Kind.MULTICLASS and len(np.unique(data.targets)) < 2:
        only = data.task.labels[int(data.targets[0])]
        raise DataError(
            f"All {len(data)} training rows are of one class, {only!r}.\n"
            "Expected rows of at least two classes."
        )
    return data.task


def targets_of(data: Dataset) -> NDArray[Any]:
    """Return the targets of labelled data; shape (n,) or (n, k)."""
    labelled(data)
    return np.asarray(data.targets)


def _held_out(
    features: Features, data: Dataset, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to learn from and those that say when to stop; no class loses its last row.

    Those of another domain are never held out, nor those that count nothing, and equal rows stay
    together.

    Raises
    ------
    DataError
        Where no row can be held out.
    """
    own = np.flatnonzero(~is_also(data) & data.counted())
    rows, groups = replace(data.take(own), split=None), groups_of(features)[own]
    parts = split(rows, seed=seed, validation=0.2, hashes=groups.tolist()).split
    held_out = own[np.asarray(parts) == VALIDATION]
    if not len(held_out):
        raise DataError(
            f"No row of {len(own)} can be held out to say when to stop.\n"
            "Expected at least five rows, and two of a class; or take the linear head."
        )
    return np.delete(np.arange(len(data)), held_out), held_out


def _solve(features: Features, data: Dataset, task: Task, seed: int) -> Trained:
    fitted = fit_linear(
        features,
        targets_of(data),
        task,
        weight=data.weight,
        judges=~is_also(data),
        seed=seed,
    )
    facts = {
        "head": "linear",
        "penalty": fitted.penalty,
        "converged": fitted.converged,
        "seconds": fitted.seconds,
    }
    tuned = (TUNED,) if fitted.head.thresholds is not None else ()
    return Trained(fitted.head, fitted.oof_outputs, (*fitted.warnings, *tuned), facts)


def _solve_tags(features: Features, data: Dataset, task: Task, seed: int) -> Trained:
    """Solve a head on all boundaries side by side, or on the topmost alone, by held-out words."""
    candidates = {LAYERS: features, TOP_OF_WORDS: features.parts[-1]}
    fitted = fit_tags(
        candidates, targets_of(data), task, weight=data.weight, judges=~is_also(data), seed=seed
    )
    facts = {
        "head": "linear",
        "reads": list(fitted.head.reads),
        "penalty": fitted.penalty,
        "converged": fitted.converged,
        "seconds": fitted.seconds,
    }
    return Trained(fitted.head, fitted.oof_outputs, tuple(fitted.warnings), facts)


def top_head(head: Head, features: Features, data: Dataset, seed: int = 0) -> Head:
    """Return a converged head on the topmost features, for step 5 to start from.

    Parameters
    ----------
    head
        The head that was trained; it is the answer itself unless it reads other boundaries too.
    features, data
        The rows it was trained on.
    """
    if _is_on_top(head):
        return head
    top = features.parts[-1]
    fitted = fit_tags(
        top, targets_of(data), labelled(data), weight=data.weight, judges=~is_also(data), seed=seed
    )
    made: Head = fitted.head
    return made


def reads_of(task: Task) -> Boundaries | None:
    """Return the boundaries whose features a head may read; None: the top alone."""
    return LAYERS if task.kind is Kind.TAGS else None


def read_by(head: Head, features: Features) -> Features:
    """Return of the features at `reads_of` boundaries those that a trained head reads."""
    return features.parts[-1] if _is_on_top(head) else features


def _is_on_top(head: Head) -> bool:
    return head.reads in (None, TOP_OF_WORDS)


def _descend(
    features: Features, data: Dataset, task: Task, phase: Phase, seed: int, run: Run | None
) -> Trained:
    from headstart.heads.mlp import fresh_mlp
    from headstart.losses.loss import supervised
    from headstart.steps.attach import Tail
    from headstart.steps.batches import CachedRows, Examples
    from headstart.steps.loop import descend

    rows, held_out = _held_out(features, data, seed)
    targets, weight = targets_of(data), None if data.weight is None else data.weight[rows]
    head = fresh_mlp(features.take(rows), task, targets=targets[rows], weight=weight, seed=seed)
    tail = Tail(None, features.boundary, replace(head, spread=1.0, level=0.0).module())
    learned = _in_its_units(targets, head)

    def examples(index: NDArray[np.int64]) -> Examples:
        weight = None if data.weight is None else data.weight[index]
        return Examples(CachedRows([features.take(index)]), learned[index], task, weight=weight)

    curve = descend(
        tail, examples(rows), examples(held_out), [(1.0, supervised(task))], phase,
        seed=seed, run=run,
    )  # fmt: skip
    trained = head.learned(tail.head)
    seen = features.take(held_out).array()
    weight = data.take(held_out).weight
    trained = calibrated(trained, trained.logits(seen), targets[held_out], weight)
    said = trained.outputs(seen)
    outputs = np.full((len(data), task.n_outputs), np.nan, dtype=said.dtype)
    outputs[held_out] = said
    facts = {"head": "mlp", "epochs": len(curve.seen), "phase": replace(phase)}
    tuned = (TUNED,) if trained.thresholds is not None else ()
    return Trained(trained, outputs, (WATCHED, *tuned), facts, curve)


def _in_its_units(targets: NDArray[Any], head: "MlpHead") -> NDArray[Any]:
    """Return targets as the layers of an MLP learn them: numbers from their mean, by their spread.

    In the user's units a loss of thousandths would hardly move the weights, and float32 would not
    tell numbers near 1e9 apart.
    """
    if head.kind is not Kind.REGRESSION:
        return targets
    return (np.asarray(targets, dtype=np.float64) - head.level) / head.spread
