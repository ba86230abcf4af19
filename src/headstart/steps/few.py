"""Few: step 5 where no row can be held out to say when to stop or whether it pays.

So many passes are made, with a contrastive term, and a head is solved on the network as it then
is. Whether that pays is judged on rows held out in turn: of each fold the network has seen nothing,
and the frozen one beside it learns from the same rows.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from headstart.data.dataset import Dataset
from headstart.data.sampling import folds as folds_of
from headstart.features.features import Features
from headstart.heads.calibrate import calibrated
from headstart.heads.linear import LinearHead, fit_linear
from headstart.runs import Run
from headstart.sources.backbone import Backbone
from headstart.sources.source import Source
from headstart.steps.attach import Tail
from headstart.steps.batches import DecodedRows, Examples
from headstart.steps.finetune import Finetuned, finetune
from headstart.steps.loop import logits_of
from headstart.steps.phase import FEW_FOLDS, Phase
from headstart.steps.train import labelled, targets_of


@dataclass(frozen=True, eq=False)
class FewTuned:
    """A network that moved on few rows, and what is known of it.

    Parameters
    ----------
    made
        The network moved by all the rows; its head is solved on it, and calibrated out of fold.
    outputs, frozen
        Shape (n, k): what networks say of the rows that had not seen them, moved and frozen.
    """

    made: Finetuned
    outputs: NDArray[np.float32]
    frozen: NDArray[np.float32]


def finetune_few(
    source: Source,
    spec: str | int,
    features: Features,
    data: Dataset,
    *,
    phase: Phase,
    seed: int = 0,
    run: Run | None = None,
) -> FewTuned:
    """Move a network by a few rows, and by a part of them for each fold.

    Parameters
    ----------
    source
        A network that can be trained.
    spec
        The boundary, as `finetune` takes it.
    features, data
        The rows to learn from, each class with as many as there are folds, and what the frozen
        network says of them, in the same order.
    """
    task, targets = labelled(data), targets_of(data)
    moved = np.zeros((len(data), task.n_outputs), dtype=np.float32)
    frozen = np.zeros_like(moved)
    for fit, out in folds_of(targets, task, FEW_FOLDS, seed):
        start = _solved(features.take(fit), data.take(fit), seed)
        made = _moved(source, spec, start, data.take(fit), phase, seed, run)
        moved[out] = made.head.logits(vectors(made.backbone, data.take(out)))
        frozen[out] = start.outputs(features.take(out).array())
    made = _moved(source, spec, _solved(features, data, seed), data, phase, seed, run)
    head = calibrated(made.head, moved, targets)
    outputs = head.outputs_from(moved)
    return FewTuned(dataclasses.replace(made, head=head), outputs, frozen)


def _moved(
    source: Source,
    spec: str | int,
    start: LinearHead,
    data: Dataset,
    phase: Phase,
    seed: int,
    run: Run | None,
) -> Finetuned:
    """Return the network moved by the rows, under a head that is solved on it."""
    rows = dataclasses.replace(data, split=None)
    made = finetune(source, spec, start, rows, phase=phase, seed=seed, run=run)
    seen = Features.of(vectors(made.backbone, rows))
    return dataclasses.replace(made, head=_solved(seen, rows, seed))


def _solved(features: Features, data: Dataset, seed: int) -> LinearHead:
    fitted = fit_linear(
        features, targets_of(data), labelled(data), weight=data.weight, seed=seed
    )  # fmt: skip
    head: LinearHead = fitted.head
    return head


def vectors(backbone: Backbone, data: Dataset) -> NDArray[np.float32]:
    """Return what a network in memory says of rows at its top, shape (n, d); nothing is kept."""
    rows = DecodedRows(data, backbone.source.preprocess)
    whole = Tail(backbone, 0, nn.Identity())
    return logits_of(whole, Examples(rows, targets_of(data), labelled(data)))
