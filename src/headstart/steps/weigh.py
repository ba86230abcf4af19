"""Weigh: how much rows of another domain count beside those a model is for.

Rows of the target domain are held out in turn; heads on frozen features, fitted on the rest with
the others beside it under each weight, are judged on them. The weight (and with it the penalty)
of least loss is kept, for the head and for fine-tuning alike: frozen features make it cheap.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.data.also import is_also
from headstart.data.dataset import TEST, VALIDATION, Dataset
from headstart.data.sampling import folds as folds_of
from headstart.features.features import Features
from headstart.heads.choose import Fold
from headstart.heads.linear import LinearFit, fit_linear
from headstart.heads.tags import fit_tags
from headstart.machine import seeds
from headstart.steps.train import labelled, targets_of
from headstart.task import Kind

#: What a row of the other domain may count; 0: it is left out.
WEIGHTS = (0.0, 0.03, 0.1, 0.3, 1.0)
#: With fewer rows of the target domain none can be held out, and all rows count the same.
LEAST = 8
#: How often rows are held out.
FOLDS = 3
#: Rows of the other domain that the choice looks at; each then counts for several.
OTHERS = 600


@dataclass(frozen=True)
class Weighing:
    """What the rows of the other domain count.

    Parameters
    ----------
    weight
        The one of least loss.
    losses
        What held-out rows of the target domain cost under each weight that was tried.
    """

    weight: float
    losses: Mapping[float, float]

    def __str__(self) -> str:
        """Say it to a person."""
        tried = ", ".join(f"{weight:g}: {loss:.4f}" for weight, loss in self.losses.items())
        return f"rows beside count {self.weight:g} each (held-out loss by weight: {tried})"


def weigh(features: Features, data: Dataset, seed: int = 0) -> Weighing:
    """Return what the other domain's rows count, by cross-validation on the target domain's.

    Parameters
    ----------
    features, data
        The rows and what the frozen trunk says of them, in the same order; validation and test
        rows are not looked at.
    """
    learns = np.flatnonzero(~_in(data, VALIDATION, TEST))
    others = learns[is_also(data)[learns]]
    targets = learns[~is_also(data)[learns]]
    if len(targets) < LEAST or not len(others):
        return Weighing(1.0, {})
    some = np.sort(seeds(seed, "others").permutation(others)[:OTHERS])
    each = len(others) / len(some)  # each stands for so many
    at = np.concatenate([targets, some])
    held = folds_of(targets_of(data)[targets], labelled(data), FOLDS, seed)
    beside = np.arange(len(targets), len(at))
    folds = [(np.concatenate([fit, beside]), out) for fit, out in held]
    rows, seen = data.take(at), features.parts[-1].take(at)
    losses = {}
    for weight in WEIGHTS:
        factors = np.concatenate([np.ones(len(targets)), np.full(len(some), weight * each)])
        counts = factors if rows.weight is None else factors * rows.weight
        losses[weight] = _loss(seen, replace(rows, weight=counts), folds, seed)
    return Weighing(min(losses, key=lambda weight: losses[weight]), losses)


def weighted(data: Dataset, weighing: Weighing) -> Dataset:
    """Return the data with the weight put on; rows that count nothing are left out."""
    others = is_also(data)
    if weighing.weight == 0:
        return data.take(~others)
    own = np.ones(len(data)) if data.weight is None else data.weight
    return replace(data, weight=np.where(others, own * weighing.weight, own))


def _loss(features: Features, data: Dataset, folds: list[Fold], seed: int) -> float:
    """Return the least loss of the held-out rows over the penalties."""
    task, targets = labelled(data), targets_of(data)
    fit = fit_tags if task.kind is Kind.TAGS else fit_linear
    found: LinearFit = fit(features, targets, task, weight=data.weight, folds=folds, seed=seed)
    return min(tried.loss for tried in found.path)


def _in(data: Dataset, *parts: str) -> NDArray[np.bool_]:
    return np.zeros(len(data), dtype=bool) if data.split is None else np.isin(data.split, parts)
