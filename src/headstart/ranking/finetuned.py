"""Finetuned: what a short step 5 gives to a source that came to the end of a ranking."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import TRAIN, VALIDATION, Dataset
from headstart.data.sampling import split
from headstart.features.features import Features
from headstart.heads.head import outputs_of
from headstart.heads.linear import fit_linear
from headstart.jobs import once
from headstart.ranking.probe import Probed
from headstart.sources.source import Source
from headstart.steps.phase import default_phase
from headstart.steps.train import labelled, targets_of
from headstart.store.store import open_store

#: Passes over the rows, and views of a picture: enough to see which of two gains more.
EPOCHS, VIEWS = 5, 1
BOUNDARY = "last:25%"
HELD_OUT = 0.25


def finetuned(
    source: Source,
    sample: Dataset,
    features: Features,
    seed: int,
    study: str,
    *,
    fresh: bool = False,
) -> Probed | None:
    """Return what rows held out gave once the upper stages had moved; None where they cannot.

    The outcome is kept, so that the same ranking again trains nothing.

    Parameters
    ----------
    source
        What moves.
    sample
        The rows of the last round.
    features
        Of those rows, at the top, one of each group of equal rows.
    seed
        Of the rows held out, the views and the order of batches.
    study
        Names the ranking; with the number of rows it names the outcome.
    fresh
        Train anew, and keep that.
    """
    if not source.is_trainable:
        return None
    data = split(sample.take(features.kept), seed=seed, validation=HELD_OUT)
    study, among = f"{study}-{len(features)}", targets_of(sample)
    with open_store() as store:
        facts = once(
            source.uri, lambda: _tuned(source, data, features, seed), study=study, store=store,
            fresh=fresh,
        )  # fmt: skip
    rows = np.array(facts["rows"], dtype=np.int64)
    said = np.array(facts["said"], dtype=np.float32).reshape(len(rows), -1)
    return Probed.of(features.kept[rows], labelled(sample), among, said)


def _tuned(source: Source, data: Dataset, features: Features, seed: int) -> dict[str, Any]:
    from headstart.steps.finetune import finetune

    task, targets = labelled(data), targets_of(data)
    train, held_out = (_part(data, name) for name in (TRAIN, VALIDATION))
    head = fit_linear(features.take(train), targets[train], task, seed=seed).head
    phase = default_phase(source.uri, source.modality)
    phase = dataclasses.replace(phase, epochs=min(phase.epochs, EPOCHS), views=VIEWS)
    made = finetune(source, BOUNDARY, head, data, phase=phase, seed=seed)
    said = outputs_of(task.kind, made.validation, 1.0)
    return {"rows": held_out.tolist(), "said": said.tolist()}


def _part(data: Dataset, name: str) -> NDArray[np.int64]:
    assert data.split is not None
    return np.flatnonzero(data.split == name)
