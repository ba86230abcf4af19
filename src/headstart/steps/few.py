"""Few: step 5 on texts so few that none can be held out to say when to stop or whether it pays.

So many passes are made, in large batches, with a contrastive term, and a head is solved on
the network as it then is. Whether that pays is judged on rows held out in turn: of a fold's texts
the network has seen none, and the frozen one beside it learns from the same rows. Nothing is
checkpointed: to write the moments of a network takes longer than to go over so few rows again.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from headstart.data.also import is_also
from headstart.data.dataset import Dataset
from headstart.data.pictures import row_hash
from headstart.data.sampling import folds as folds_of
from headstart.features.features import Features
from headstart.heads.calibrate import calibrated
from headstart.heads.choose import Fold, among
from headstart.heads.linear import LinearHead, fit_linear
from headstart.sources.backbone import Backbone
from headstart.sources.source import Source
from headstart.steps.attach import Tail
from headstart.steps.batches import DecodedRows, Examples
from headstart.steps.evaluation import logits_of
from headstart.steps.finetune import Finetuned, finetune
from headstart.steps.phase import FEW_FOLDS, Phase
from headstart.steps.train import labelled, targets_of

#: What is said where such a network ships.
HALVES = (
    "Rows held out in turn calibrated the head and chose this arm; what is said out of fold is of "
    "networks that learned from half of the rows. A test split says more."
)


@dataclass(frozen=True, eq=False)
class FewTuned:
    """A network that moved on few rows, and what is known of it.

    Parameters
    ----------
    made
        The network moved by all the rows; its head is solved on it, and calibrated out of fold.
    outputs, frozen
        Shape (n, k): what networks say of the rows that had not seen them, moved and frozen; NaN
        of rows that count nothing, and of the names of classes.
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
    penalty: float,
    phase: Phase,
    seed: int = 0,
) -> FewTuned:
    """Move a network by a few rows, and by a part of them for each fold.

    Parameters
    ----------
    source
        A network that can be trained.
    spec
        The boundary, as `finetune` takes it.
    features, data
        The rows to learn from, and what the frozen network says of them, in the same order.
    penalty
        Of every head. It was chosen on frozen features: on those of a network that has learned the
        rows any held-out one looks easy, and heads of several penalties could not be calibrated by
        one temperature.
    """
    task, targets = labelled(data), targets_of(data)
    moved = np.full((len(data), task.n_outputs), np.nan, dtype=np.float32)
    frozen = np.full_like(moved, np.nan)
    for fit, out in folds(data, seed):
        start = _solved(features.take(fit), data.take(fit), penalty)
        made = _moved(source, spec, start, data.take(fit), penalty, phase, seed)
        moved[out] = made.head.logits(vectors(made.backbone, data.take(out)))
        frozen[out] = start.outputs(features.take(out).array())
    start = _solved(features, data, penalty)
    made = _moved(source, spec, start, data, penalty, phase, seed)
    judges = ~is_also(data)
    weight = None if data.weight is None else data.weight[judges]
    head = calibrated(made.head, moved[judges], targets[judges], weight)
    outputs = moved.copy()
    outputs[judges] = head.outputs_from(moved[judges])
    if data.weight is not None:
        outputs[data.weight == 0] = frozen[data.weight == 0] = np.nan
    return FewTuned(dataclasses.replace(made, head=head), outputs, frozen)


def folds(data: Dataset, seed: int) -> list[Fold]:
    """Return (rows to learn from, rows to judge) a fold; equal texts stay on one side.

    Rows beside, which are the names of classes, are learned from in every fold.
    """
    own = np.flatnonzero(~is_also(data))
    hashes = np.array([row_hash(row) for row in data.take(own).rows], dtype="V16")
    groups = np.unique(hashes, return_inverse=True)[1]
    found = folds_of(targets_of(data)[own], labelled(data), FEW_FOLDS, seed, groups)
    return among(found, own, len(data))


def _moved(
    source: Source,
    spec: str | int,
    start: LinearHead,
    data: Dataset,
    penalty: float,
    phase: Phase,
    seed: int,
) -> Finetuned:
    """Return the network moved by the rows, under a head that is solved on it."""
    rows = dataclasses.replace(data, split=None)
    made = finetune(source, spec, start, rows, phase=phase, seed=seed)
    seen = Features.of(vectors(made.backbone, rows))
    return dataclasses.replace(made, head=_solved(seen, rows, penalty))


def _solved(features: Features, data: Dataset, penalty: float) -> LinearHead:
    fitted = fit_linear(
        features,
        targets_of(data),
        labelled(data),
        weight=data.weight,
        penalties=(penalty,),
        folds=0,
    )
    head: LinearHead = fitted.head
    return head


def vectors(backbone: Backbone, data: Dataset) -> NDArray[np.float32]:
    """Return what a network in memory says of rows at its top, shape (n, d); nothing is kept."""
    rows = DecodedRows(data, backbone.source.preprocess)
    whole = Tail(backbone, 0, nn.Identity())
    return logits_of(whole, Examples(rows, targets_of(data), labelled(data)))
