"""Weigh: how much rows of another domain count beside those a model is for.

Rows of the target domain are held out in turn; heads on frozen features, fitted on the rest with
the others beside it under each weight, are judged on them. The weight of least loss is kept, for
the head and for fine-tuning alike: frozen features make it cheap.

What is fitted here is thrown away, so no more is done than the choice needs. Penalties are tried
where the others count nothing, which is a fit of the target domain alone, and under one weight;
under another the same prior on the weights of the head is the penalty as much larger as the rows
count less. Of many rows some are looked at, each of which counts for several, so that either domain
counts as much as all its rows. What was found is kept.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from headstart.data.also import is_also
from headstart.data.dataset import TEST, VALIDATION, Dataset
from headstart.data.pictures import row_hash
from headstart.data.ragged import content, lengths
from headstart.data.sampling import folds as folds_of
from headstart.data.sampling import sample
from headstart.features.features import Features
from headstart.heads.choose import PENALTIES, Fold, Job, among, choose, groups_of
from headstart.heads.linear import convex
from headstart.heads.tags import PATH, word_folds, words_of
from headstart.jobs import Facts, run
from headstart.machine import one_thread, versions
from headstart.steps.train import labelled, targets_of
from headstart.store.store import open_store
from headstart.task import Kind

#: What a row of the other domain may count; 0: it is left out.
WEIGHTS = (0.0, 0.03, 0.1, 0.3, 1.0)
#: The weight under which rows of both are scaled and penalties are tried.
MIDDLE = 0.1
#: With fewer different rows of the target domain none is held out, and all rows count the same.
LEAST = 8
#: How often rows are held out.
FOLDS = 3
#: Rows that the choice looks at, of the target domain and of the other; words, of either.
TARGETS, OTHERS, WORDS = 1_000, 600, 20_000
#: The way the choice is made; another number forgets what was kept.
VERSION = 3


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

    A killed choice goes on with the weights that are left; the same choice again fits nothing.

    Parameters
    ----------
    features, data
        The rows and what the frozen trunk says of them, in the same order; validation and test
        rows are not looked at, nor those that count nothing.
    """
    learns = np.flatnonzero(~_in(data, VALIDATION, TEST) & data.counted())
    others = learns[is_also(data)[learns]]
    targets = learns[~is_also(data)[learns]]
    if len(targets) < LEAST or not len(others):
        return Weighing(1.0, {})
    looked = _some(data, targets, TARGETS, seed), _some(data, others, OTHERS, seed)
    at = np.concatenate(looked)
    rows, seen = data.take(at), features.parts[-1].take(at)
    if len(np.unique(groups_of(seen)[: len(looked[0])])) < LEAST:
        return Weighing(1.0, {})
    stand_for = [len(targets) / len(looked[0]), len(others) / len(looked[1])]
    counts = np.repeat(stand_for, [len(looked[0]), len(looked[1])])
    rows = replace(rows, weight=counts if rows.weight is None else counts * rows.weight)
    losses = _losses(_trial(seen, rows, seed), _key(seen, rows, seed))
    return Weighing(min(losses, key=lambda weight: losses[weight]), losses)


def weighted(data: Dataset, weighing: Weighing) -> Dataset:
    """Return the data with the weight put on; rows that count nothing are left out."""
    others = is_also(data)
    if weighing.weight == 0:
        return data.take(~others)
    own = np.ones(len(data)) if data.weight is None else data.weight
    return replace(data, weight=np.where(others, own * weighing.weight, own))


def _in(data: Dataset, *parts: str) -> NDArray[np.bool_]:
    return np.zeros(len(data), dtype=bool) if data.split is None else np.isin(data.split, parts)


def _some(data: Dataset, at: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Return those rows, or a sample of them in which classes keep their shares."""
    task, targets = labelled(data), targets_of(data)[at]
    if task.kind is Kind.TAGS:
        most = min(most, max(LEAST, int(WORDS / max(1, lengths(targets).mean()))))
    return at if len(at) <= most else at[sample(targets, task, most, seed)]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows as a convex problem, and folds of them."""

    job: Job
    folds: Sequence[Fold]

    def tried(self, penalties: Sequence[float]) -> Facts:
        """Return the penalty of least loss, and that loss."""
        with one_thread():
            choice = choose(self.job, penalties, self.folds)
        return {"penalty": choice.penalty, "loss": min(tried.loss for tried in choice.path)}


@dataclass(frozen=True, eq=False)
class _Trial:
    """Rows of both domains, and those of the target domain alone; the same are held out of both.

    Parameters
    ----------
    both
        Where each row counts as if the weight were 1.
    alone
        In scales of its own: what the others say, these rows do not know.
    beside
        Which rows of both are of the other domain, shape (n,).
    penalties
        From the strongest.
    """

    both: _Rows
    alone: _Rows
    beside: NDArray[np.bool_]
    penalties: Sequence[float]

    def middle(self, weight: float) -> Facts:
        """Return the penalty of least loss, and that loss."""
        return self._under(weight).tried(self.penalties)

    def loss(self, weight: float, penalty: float) -> Facts:
        """Return the loss under a weight, by the prior that a penalty is under the middle one.

        Under 0 the path is tried anew: many rows that mislead ask for the strongest penalty, and
        the target domain's, left alone, would be kept from saying anything.
        """
        if weight == 0:
            return self.alone.tried(self.penalties)
        there, here = (self._under(one).job.weight.sum() for one in (MIDDLE, weight))
        return self._under(weight).tried([float(penalty * there / here)])

    def _under(self, weight: float) -> _Rows:
        job = self.both.job
        return replace(self.both, job=replace(job, weight=_counts(job.weight, self.beside, weight)))


def _counts(
    counts: NDArray[np.float64], beside: NDArray[np.bool_], weight: float
) -> NDArray[np.float64]:
    return np.where(beside, weight * counts, counts)


def _trial(features: Features, data: Dataset, seed: int) -> _Trial:
    """Make the problem of weighted rows; the target domain's come first."""
    task, beside = labelled(data), is_also(data)
    assert data.weight is not None
    own = np.flatnonzero(~beside)
    held = folds_of(targets_of(data)[own], task, FOLDS, seed, groups_of(features)[own])
    middle = _counts(data.weight, beside, MIDDLE)
    both = _rows(features, data, middle, among(held, own, len(data)))
    alone = _rows(features.take(own), data.take(own), data.weight[own], held)
    if task.kind is Kind.TAGS:
        return _Trial(both, alone, np.repeat(beside, lengths(targets_of(data))), PATH)
    return _Trial(both, alone, beside, PENALTIES)


def _rows(
    features: Features, data: Dataset, scaled_by: NDArray[np.float64], folds: Sequence[Fold]
) -> _Rows:
    """Return rows (of sentences their words) as a convex problem, scaled as if they counted so."""
    task, targets, weight = data.task, np.asarray(data.targets), data.weight
    assert task is not None and weight is not None
    if task.kind is Kind.TAGS:
        sizes = lengths(targets)
        job = words_of(features, targets, task, scaled_by)
        return _Rows(replace(job, weight=np.repeat(weight, sizes)), word_folds(sizes, folds))
    job = convex(features, targets, task, scaled_by)[0]
    return _Rows(replace(job, weight=weight), folds)


def _losses(trial: _Trial, key: str) -> dict[float, float]:
    """Return the loss under each weight: kept as soon as it is found, computed where none is."""
    with open_store() as store:
        keep = partial(run, study=key, store=store, name="weighing rows beside")
        first = keep({f"{MIDDLE:g}": MIDDLE}, trial.middle)[f"{MIDDLE:g}"]
        jobs = {f"{weight:g}": weight for weight in WEIGHTS if weight != MIDDLE}
        found = keep(jobs, partial(trial.loss, penalty=first["penalty"]))
    found[f"{MIDDLE:g}"] = first
    return {weight: float(found[f"{weight:g}"]["loss"]) for weight in WEIGHTS}


def _key(features: Features, data: Dataset, seed: int) -> str:
    """Return what names a choice: all that it depends on."""
    assert data.weight is not None
    facts = [VERSION, features.key, repr(data.task), seed, sorted(versions().items())]
    total = hashlib.sha256(json.dumps(facts).encode())
    for row in data.rows:
        total.update(row_hash(row))
    for values in (targets_of(data), data.weight, is_also(data)):
        total.update(content(values))
    return f"weigh-{total.hexdigest()[:24]}"
