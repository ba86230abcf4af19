"""Step 5, fine-tune: let the upper stages move, gently, from cached activations.

Below the boundary nothing moves, so the network is run there once; each epoch reads what it said
and runs only the stages that train.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data.also import is_also
from headstart.data.dataset import VALIDATION, Dataset
from headstart.errors import ResourceError, UnreadableRow, UsageError
from headstart.features.engine import close_last
from headstart.features.extract import extract
from headstart.features.features import Features
from headstart.heads.head import Head
from headstart.losses.contrastive import Contrastive
from headstart.losses.loss import Term, supervised
from headstart.machine import is_out_of_memory
from headstart.metrics.curve import Curve
from headstart.runs import Run
from headstart.sources.backbone import Backbone
from headstart.sources.catalog import open_backbone
from headstart.sources.files import keep_weights
from headstart.sources.source import Source
from headstart.steps.attach import Tail, attach, new_head
from headstart.steps.batches import DecodedRows, Examples, Rows, RunRows, cached_rows
from headstart.steps.evaluation import logits_of
from headstart.steps.fold import folded
from headstart.steps.freeze import boundary_of, check_frozen, fingerprint, freeze, hold_batchnorm
from headstart.steps.loop import descend, seconds_a_step
from headstart.steps.phase import SCRATCH, Phase, default_phase
from headstart.steps.scale import Scale
from headstart.steps.train import labelled
from headstart.task import Kind, Modality, Task


@dataclass(frozen=True, eq=False)
class Finetuned:
    """A network whose upper stages moved.

    Parameters
    ----------
    backbone
        The moved network.
    head
        Its head.
    curve
        Validation score and loss against rows seen; the loss of numbers is in units of their
        spread (`headstart.steps.scale`).
    boundary
        How many stages stayed as they were.
    validation
        Shape (n, k): what it says of the validation rows, before the temperature; n may be 0.
    """

    backbone: Backbone
    head: Head
    curve: Curve
    boundary: int
    validation: NDArray[np.floating]

    def keep(self) -> Source:
        """Keep the moved weights; return the network as a source like any other."""
        moved = keep_weights(self.backbone.source, self.backbone)
        return dataclasses.replace(moved, trained_on=f"{moved.trained_on}, then the user's rows")


def finetune(
    source: Source,
    spec: str | int,
    head: Head,
    data: Dataset,
    *,
    phase: Phase | None = None,
    seed: int = 0,
    run: Run | None = None,
) -> Finetuned:
    """Train the stages above a boundary, starting from a converged head.

    Parameters
    ----------
    source
        What the head was trained on.
    spec
        The boundary: "last:25%", "stage:…", "all", or a number of stages.
    head
        The converged head of step 4.
    data
        Labelled rows; those of its validation split say when to stop, test rows are left out.
        Without any to say so, every epoch of the phase is run.

    Raises
    ------
    UsageError
        Where the source can only be used frozen, or the boundary is none of its.
    """
    phase = phase or default_phase(source.uri, data.modality)
    backbone = open_backbone(source)
    boundary = boundary_of(spec, backbone.names, backbone.blocks)
    scale = Scale.of(head, data.training())
    start = scale.down(head)
    tail = attach(backbone, boundary, start)
    if not len(tail.stages):
        raise UsageError(f"finetune={spec!r} leaves nothing to train.\nExpected 'last:25%' or so.")
    freeze(backbone, boundary)
    before = fingerprint(backbone, boundary)
    hold_batchnorm(tail.stages)
    curve, said = _descend(backbone, tail, scale.rows(data), phase, seed, run)
    check_frozen(backbone, boundary, before)
    learned = scale.up(start.learned(tail.head))
    return Finetuned(backbone, learned, curve, boundary, scale.raw(said))


def from_scratch(
    source: Source,
    data: Dataset,
    *,
    phase: Phase | None = None,
    seed: int = 0,
    run: Run | None = None,
) -> Finetuned:
    """Train a network with random weights: another recipe, not fine-tuning without weights.

    Everything trains, BatchNorm in training mode, no head first, one rate, a longer way. Only
    data, split, architecture and input size (and tokenizer) are shared with the transfer.
    """
    task = labelled(data)
    backbone = open_backbone(source)
    head = new_head(backbone.n_features, task, seed)
    scale = Scale.of(head, data.training())
    tail = attach(backbone, 0, head)
    curve, said = _descend(backbone, tail, scale.rows(data), phase or SCRATCH, seed, run)
    learned = scale.up(head.learned(tail.head))
    return Finetuned(backbone, learned, curve, 0, scale.raw(said))


@dataclass(frozen=True)
class Rehearsal:
    """What one step on a few rows tells of a training to come.

    Parameters
    ----------
    stages, boundary
        The ordered stages, and how many of them stay as they are.
    rates
        The peak rate of each trained stage and of the head, by name.
    seconds_a_row
        Of one training step.
    bytes_a_row
        What a row's cached activations take on disk.
    """

    stages: tuple[str, ...]
    boundary: int
    rates: dict[str, float]
    seconds_a_row: float
    bytes_a_row: int


def rehearse(source: Source, spec: str, phase: Phase, data: Dataset) -> Rehearsal:
    """Time one training step on a few of the rows, so that the plan can say how long it will take.

    Raises
    ------
    UsageError
        Where the boundary is none of the source's.
    ResourceError
        Where there is not enough memory for a step on a single row.
    """
    backbone = open_backbone(source)
    boundary = boundary_of(spec, backbone.names, backbone.blocks)
    freeze(backbone, boundary)
    tail = attach(backbone, boundary, new_head(backbone.n_features, labelled(data), seed=0))
    if not source.is_scratch:
        hold_batchnorm(tail.stages)
    seconds, n_bytes = _measured(backbone, tail, data, phase)
    trained = backbone.names[boundary : tail.top]
    rates = {name: phase.rate * phase.decay**i for i, name in enumerate(reversed(trained))}
    rates["head"] = phase.head_rate or phase.rate
    return Rehearsal(backbone.names, boundary, rates, seconds, n_bytes)


def _measured(backbone: Backbone, tail: Tail, data: Dataset, phase: Phase) -> tuple[float, int]:
    """Return the seconds and bytes of a row, measured on a batch or on as much of it as fits."""
    size = min(phase.batch, len(data))
    while True:
        try:
            return _measured_on(size, backbone, tail, data, phase)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise ResourceError(
                    "memory ran out in a training step on a single row\n"
                    "Give a smaller source, let fewer stages move, or free some memory."
                ) from error
        size //= 2  # as a training goes on in pieces (`headstart.steps.loop`)


def _measured_on(
    size: int, backbone: Backbone, tail: Tail, data: Dataset, phase: Phase
) -> tuple[float, int]:
    rows = _a_few(backbone.source, backbone, data, size)
    n = len(rows[-1])  # of sentences that have several windows the first tensor has more rows
    with torch.no_grad():
        state = tail.below(*rows)
    n_bytes = 0 if _is_streamed(backbone, tail.boundary) else _bytes(state, n)
    with folded(tail, state):
        return seconds_a_step(tail, state, phase) / n, n_bytes


def _a_few(
    source: Source, backbone: Backbone, data: Dataset, batch: int
) -> tuple[torch.Tensor, ...]:
    """Return a batch of real rows, spread over the data; made-up ones if one cannot be read."""
    at = np.unique(np.linspace(0, len(data) - 1, batch).astype(np.int64))
    try:
        return DecodedRows(data, source.preprocess).state(at, 0)
    except UnreadableRow:
        if data.modality is Modality.WORDS:
            raise
        return backbone.example(batch)


def _is_streamed(backbone: Backbone, boundary: int) -> bool:
    """Say whether nothing is kept at a boundary: at the input; of texts, below the first block."""
    is_lookup = backbone.source.modality is Modality.TEXT and boundary <= backbone.blocks.start
    return boundary == 0 or is_lookup


def _bytes(state: tuple[torch.Tensor, ...], n: int) -> int:
    """Return what a row takes on disk at the boundary, in float16."""
    places = int(state[1].sum()) if len(state) > 1 else 1  # texts: tokens that are not padding
    each = state[0].shape[-1] if len(state) > 1 else state[0].numel()
    return 2 * places * each // n


def _descend(
    backbone: Backbone,
    tail: Tail,
    data: Dataset,
    phase: Phase,
    seed: int,
    run: Run | None,
) -> tuple[Curve, NDArray[np.float32]]:
    """Train the tail; return its curve, and what it says of the validation rows."""
    task = labelled(data)
    examples = _examples(backbone, tail, data.training(), task, phase.views)
    watched = data.only(VALIDATION)
    held_out = _examples(backbone, tail, watched, task, 0) if len(watched) else None
    close_last()  # what is trained takes its memory
    with folded(tail, examples.rows.state(np.arange(min(2, len(examples))), 0)):
        curve = descend(tail, examples, held_out, _terms(task, phase), phase, seed=seed, run=run)
        nothing = np.zeros((0, task.n_outputs), dtype=np.float32)
        return curve, nothing if held_out is None else logits_of(tail, held_out)


def _terms(task: Task, phase: Phase) -> list[tuple[float, Term]]:
    terms: list[tuple[float, Term]] = [(1.0, supervised(task))]
    if phase.contrast and task.kind is Kind.MULTICLASS:
        terms.append((phase.contrast, Contrastive()))
    return terms


def _examples(backbone: Backbone, tail: Tail, data: Dataset, task: Task, views: int) -> Examples:
    """Return the rows as the tail reads them: activations, or decoded where (nearly) all trains."""
    source, boundary = backbone.source, tail.boundary
    views = views if source.modality is Modality.IMAGE else 0
    if _is_streamed(backbone, boundary):
        decoded = DecodedRows(data, source.preprocess, views)
        rows: Rows = RunRows(decoded, tail) if boundary else decoded
        return _of(rows, data, task)
    every = extract(source, data, boundary=boundary, pooled=False, views=views + 1)
    handles: tuple[Features, ...] = every if isinstance(every, tuple) else (every,)
    kept: NDArray[np.int64] = handles[0].kept
    kept_rows = data.take(kept)
    rows = cached_rows(handles, kept_rows, source.preprocess)
    return _of(rows, kept_rows, task)


def _of(rows: Rows, data: Dataset, task: Task) -> Examples:
    beside = is_also(data)
    domain = beside.astype(np.int64) if beside.any() else None
    return Examples(rows, np.asarray(data.targets), task, domain, data.weight)
