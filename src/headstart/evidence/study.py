"""Study: the rows that are learned from, the test rows, and their sealed labels."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from headstart.data.dataset import (
    TEST,
    TRAIN,
    UNASSIGNED,
    VALIDATION,
    Dataset,
    Skipped,
    limit_skipped,
)
from headstart.data.pictures import row_hash
from headstart.data.ragged import content
from headstart.data.sampling import sample, split
from headstart.errors import DataError
from headstart.evidence.arms import identity, source_of
from headstart.evidence.parting import (
    LEAST_A_CLASS,
    lacking,
    names_tests,
    parted,
    validation_share,
)
from headstart.evidence.sealed import Sealed
from headstart.features.extract import extract
from headstart.features.features import Features
from headstart.machine import n_threads, versions
from headstart.metrics.scores import is_imbalanced
from headstart.ranking.ranking import Ranking
from headstart.sources.source import Source
from headstart.task import Kind, Task
from headstart.transfer.auto import AUTO, Start, start

#: Of what an outcome tells; older ones are computed again.
VERSION = 5


@dataclass(frozen=True, eq=False)
class Study:
    """What a study is about.

    Parameters
    ----------
    source
        What is transferred from.
    pool
        Labelled rows to train and validate on, without a split.
    hashes
        What tells those rows apart; equal ones stay on one side of every split.
    test
        The test rows, without labels.
    sealed
        Their labels.
    validation
        The share of the pool that validates.
    key
        Names all that outcomes depend on beside the job: rows, labels of the pool, the source's
        weights, versions. Equal keys, equal outcomes.
    features
        Of pool and test rows, in this order, from the frozen trunk.
    notes
        What a person should know.
    ranking
        How the source was chosen; None where it was named.
    subject
        Names rows, labels of the pool and source alone: equal subjects, the same question, whoever
        computes the answer.
    preparation_s
        Seconds that the trunk's export and its pass over the rows took, here or in the model's own
        fit: what a user waits for once.
    skipped
        The rows that could not be used, and why. The pool has none of them: they are counted by
        now, and of the part that an arm learns from they would be a larger share.
    """

    source: Source
    pool: Dataset
    hashes: Sequence[bytes]
    test: Dataset
    sealed: Sealed
    validation: float
    key: str
    features: Features
    notes: tuple[str, ...] = ()
    ranking: Ranking | None = None
    subject: str = ""
    preparation_s: float = 0.0
    skipped: tuple[Skipped, ...] = ()

    @property
    def task(self) -> Task:
        """What is predicted."""
        assert self.pool.task is not None
        return self.pool.task

    @property
    def score(self) -> str:
        """The name of the primary score."""
        if self.task.kind is Kind.MULTICLASS and not is_imbalanced(np.asarray(self.pool.targets)):
            return "accuracy"
        return {Kind.REGRESSION: "r2", Kind.TAGS: "entity_f1"}.get(self.task.kind, "macro_f1")

    @property
    def least(self) -> int:
        """Rows at the start of the data curve."""
        return LEAST_A_CLASS * max(2, self.task.n_outputs)

    def rows(self, seed: int, n_rows: int | None = None) -> Dataset:
        """Return training and validation rows of a seed; only `n_rows` of the former if given."""
        data = split(self.pool, seed=seed, validation=self.validation, hashes=self.hashes)
        if n_rows is None:
            return data
        assert data.split is not None and data.targets is not None
        train = np.flatnonzero(data.split == TRAIN)
        n = min(n_rows, len(train))
        at = train[sample(data.targets[train], self.task, n, seed, LEAST_A_CLASS)]
        return data.take(np.sort(np.concatenate([at, np.flatnonzero(data.split == VALIDATION)])))

    def every_hash(self) -> list[bytes]:
        """Return what tells rows apart, of pool and test rows."""
        return [*self.hashes, *map(row_hash, self.test.rows)]

    def n_train(self) -> int:
        """Return how many rows an arm learns from."""
        return len(self.rows(0).training())


def prepare(model: Any, data: Dataset, seeds: int, best_effort: bool = False) -> Study:
    """Return the study of a model on data: unreadable rows left out, test labels sealed.

    Raises
    ------
    DataError
        Without labels, or where rows are too few for the seeds.
    """
    if data.task is None or data.targets is None:
        raise DataError(
            "The rows have no labels, so nothing can be proved.\n"
            "Expected a folder a class, or a label column (`--label`)."
        )
    source = source_of(model, data)
    features, taken_s = _extracted(source, data)
    prepared_s = max(taken_s, preparation_of(model))
    limit = model.get_params(deep=False).get("max_skipped", 0.01)
    limit_skipped(features.skipped, len(data), limit)
    skipped = (*data.skipped, *features.skipped)
    read = replace(data.take(features.kept), skipped=())
    notes: list[str] = []
    hashes = [row_hash(row) for row in read.rows]
    whole = parted(read, hashes, notes)
    assert whole.split is not None and whole.targets is not None
    is_test = whole.split == TEST
    order = np.concatenate([np.flatnonzero(~is_test), np.flatnonzero(is_test)])
    pool, test = whole.take(~is_test), whole.take(is_test)
    kept = [hashes[i] for i in order[: len(pool)]]
    tested = [hashes[i] for i in order[len(pool) :]]
    begin = _begin(model, source, pool, notes, is_drawn=not names_tests(read))
    if begin.source != source:
        features, prepared_s = _extracted(begin.source, read)
    validation = validation_share(pool, notes)
    subject = digest(
        "study",
        [
            *kept,
            *tested,
            content(np.asarray(pool.targets)),
            b"" if pool.weight is None else content(pool.weight),
            data.task,
            validation,
            *identity(begin.source),
        ],
    )
    return Study(
        source=begin.source,
        pool=pool.with_split(np.full(len(pool), UNASSIGNED)),
        hashes=kept,
        test=replace(test, task=None, targets=None),
        sealed=Sealed(np.asarray(test.targets), tested, int(_has_chosen(model, read))),
        validation=validation,
        key=digest(subject, VERSION, sorted(versions().items()), n_threads()),
        features=replace(features.take(order), skipped=()),
        notes=(*notes, *lacking(pool, seeds, best_effort)),
        ranking=begin.ranking,
        subject=subject,
        preparation_s=prepared_s,
        skipped=skipped,
    )


def _extracted(source: Source, data: Dataset) -> tuple[Features, float]:
    """Return the features at the top, and the seconds that they took."""
    began = time.perf_counter()
    return extract(source, data), time.perf_counter() - began


def preparation_of(model: Any) -> float:
    """Return the seconds that a fitted model's own fit took to export and run the trunk."""
    taken = getattr(getattr(model, "plan_", None), "taken_s", {})
    return float(taken.get("extract", 0.0))


def _begin(model: Any, source: Source, pool: Dataset, notes: list[str], *, is_drawn: bool) -> Start:
    """Return what the study transfers from; "auto" is ranked on the pool, never on test rows.

    A fit of data that name no test rows ranked on all of them. Where the study draws its own, it
    ranks again without, and says so if another source comes out.
    """
    is_fitted = _is_fitted(model)
    if model.source != AUTO or (is_fitted and not is_drawn):
        return Start(source, getattr(getattr(model, "plan_", None), "ranking", None))
    begin = start(AUTO, pool, 0)
    if is_fitted and begin.source.uri != source.uri:
        notes.append(
            f"Ranked without the test rows, {begin.source.uri} comes first: the study is about it. "
            f"The model was fitted from {source.uri}, ranked on all rows."
        )
    return begin


def _is_fitted(model: Any) -> bool:
    return getattr(model, "source_", None) is not None


def _has_chosen(model: Any, data: Dataset) -> bool:
    """Say whether a fitted model stopped and chose by rows that are to be tested on."""
    names = () if data.split is None else data.split
    return _is_fitted(model) and VALIDATION in names and TEST not in names


def digest(*parts: Any) -> str:
    """Return a name of parts, each a text, bytes, or a list of these."""
    total = hashlib.sha256()
    for part in parts:
        for one in part if isinstance(part, list) else [part]:
            total.update(one if isinstance(one, bytes) else repr(one).encode())
            total.update(b"\0")
    return total.hexdigest()[:24]
