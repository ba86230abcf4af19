"""Study: the rows that are learned from, the test rows, their sealed labels, and one fit."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.checks.overfitting import Said, overfitting
from headstart.data.dataset import (
    TEST,
    TRAIN,
    UNASSIGNED,
    VALIDATION,
    Dataset,
    limit_skipped,
)
from headstart.data.pictures import row_hash
from headstart.data.ragged import are_finite, content, flat, is_ragged, lengths, ragged
from headstart.data.sampling import sample, split
from headstart.data.tags import entities, types_of
from headstart.errors import DataError, Diverged
from headstart.evidence.arms import Arm, fitted, identity, outputs, source_of
from headstart.evidence.evidence import Outcome
from headstart.evidence.sealed import Sealed
from headstart.features.extract import extract
from headstart.features.features import Features
from headstart.io import read_safetensors, sha256_file, write_safetensors
from headstart.machine import home, n_threads, versions
from headstart.metrics.curve import Curve
from headstart.metrics.scores import best_cuts, cuts_of_others, is_imbalanced, scores
from headstart.ranking.ranking import Ranking
from headstart.sources.source import Source
from headstart.task import Kind, Task
from headstart.transfer.auto import AUTO, Start, start

#: The share of rows that are drawn to test on, where the data name none.
TEST_SHARE = 0.2
#: The share of the rest that is drawn to validate on, where the data name none.
VALIDATION_SHARE = 0.2
#: Rows a class that are learned from at the start of the data curve.
LEAST_A_CLASS = 2
#: Of what an outcome tells; older ones are computed again.
VERSION = 2


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
        at = train[sample(data.targets[train], self.task, min(n_rows, len(train)), seed)]
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
    prepared_s = max(taken_s, _prepared_s(model))
    limit = model.get_params(deep=False).get("max_skipped", 0.01)
    limit_skipped(features.skipped, len(data), limit)
    read = replace(data.take(features.kept), skipped=(*data.skipped, *features.skipped))
    notes: list[str] = []
    hashes = [row_hash(row) for row in read.rows]
    parted = _parted(read, hashes, notes)
    assert parted.split is not None and parted.targets is not None
    is_test = parted.split == TEST
    order = np.concatenate([np.flatnonzero(~is_test), np.flatnonzero(is_test)])
    pool, test = parted.take(~is_test), parted.take(is_test)
    kept = [hashes[i] for i in order[: len(pool)]]
    tested = [hashes[i] for i in order[len(pool) :]]
    begin = _begin(model, source, pool, notes, is_drawn=not _names_tests(read))
    if begin.source != source:
        features, prepared_s = _extracted(begin.source, read)
    validation = _share(pool, notes)
    subject = _digest(
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
        key=_digest(subject, VERSION, sorted(versions().items()), n_threads()),
        features=features.take(order),
        notes=(*notes, *_lacking(pool, seeds, best_effort)),
        ranking=begin.ranking,
        subject=subject,
        preparation_s=prepared_s,
    )


def _extracted(source: Source, data: Dataset) -> tuple[Features, float]:
    """Return the features at the top, and the seconds that they took."""
    began = time.perf_counter()
    return extract(source, data), time.perf_counter() - began


def _prepared_s(model: Any) -> float:
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


def _names_tests(data: Dataset) -> bool:
    """Return whether data name rows that can be tested on: test rows, or validation rows."""
    return data.split is not None and bool(np.isin(data.split, (TEST, VALIDATION)).any())


def _has_chosen(model: Any, data: Dataset) -> bool:
    """Say whether a fitted model stopped and chose by rows that are to be tested on."""
    names = () if data.split is None else data.split
    return _is_fitted(model) and VALIDATION in names and TEST not in names


def _parted(data: Dataset, hashes: Sequence[bytes], notes: list[str]) -> Dataset:
    """Take the validation rows to test on where the data name no others, or draw some.

    Validation rows are drawn anew by each seed, so that those of the data are free for this.
    """
    if data.split is not None and not (data.split == TEST).any():
        notes.append("The data name no test rows: their validation rows were used to test on.")
        data = data.with_split(np.where(data.split == VALIDATION, TEST, data.split))
    if data.split is None or not (data.split == TEST).any():
        notes.clear()
        notes.append(f"The data name no test rows: {TEST_SHARE:.0%} were drawn, once for all.")
    elif int((data.split == TEST).sum()) < 2:
        raise DataError("There is 1 test row.\nExpected at least two: no interval has one row.")
    else:
        return data
    return split(data, seed=0, validation=0.0, test=TEST_SHARE, hashes=hashes)


def _share(pool: Dataset, notes: list[str]) -> float:
    """Return the share that validates: that of the data, drawn anew by each seed."""
    n = 0 if pool.split is None else int((pool.split == VALIDATION).sum())
    if n:
        notes.append("Training and validation rows were put together and parted anew by each seed.")
    return min(0.5, n / len(pool)) if n else VALIDATION_SHARE


def _lacking(pool: Dataset, seeds: int, best_effort: bool) -> list[str]:
    """Refuse classes with too few rows, or say what that means."""
    assert pool.task is not None and pool.targets is not None
    needed = LEAST_A_CLASS + 1  # one more to validate on
    if pool.task.kind is Kind.REGRESSION:
        counts, names = np.array([len(pool)]), ["in all"]
    else:
        counts, names = _label_counts(pool.task, pool.targets)
    few = [f"{name!r} {n}" for name, n in zip(names, counts, strict=True) if n < needed]
    if not few:
        return []
    said = (
        f"Too few rows to learn from and to validate on, with {seeds} seeds: "
        f"{', '.join(few[:5])}{' …' if len(few) > 5 else ''}; needed are {needed} of each class"
    )
    if not best_effort or len(pool) < needed:
        raise DataError(
            f"{said}.\nAdd rows, leave such classes out, or prove what can be proved with "
            "--best-effort (best_effort=True)."
        )
    return [f"{said}: what was proved is less."]


def _label_counts(task: Task, targets: NDArray[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """Return how many rows have each label (of tags: how many entities of each type there are)."""
    if task.kind is Kind.TAGS:
        kinds = [one.kind - 1 for codes in targets for one in entities(codes)]
        types = types_of(task)
        return np.bincount(kinds, minlength=len(types)), list(types)
    if task.kind is Kind.MULTILABEL:
        return np.asarray(targets.sum(axis=0)), list(task.labels)
    return np.bincount(targets, minlength=task.n_outputs), list(task.labels)


def _digest(*parts: Any) -> str:
    total = hashlib.sha256()
    for part in parts:
        for one in part if isinstance(part, list) else [part]:
            total.update(one if isinstance(one, bytes) else repr(one).encode())
            total.update(b"\0")
    return total.hexdigest()[:24]


@dataclass(frozen=True, eq=False)
class Job:
    """One fit: an arm, a seed, and how many rows; None: all."""

    arm: Arm
    seed: int
    n_rows: int | None = None

    @property
    def key(self) -> str:
        """What names it within a study: equal keys, equal outcomes."""
        options = sorted(
            (name, repr(value)) for name, value in self.arm.estimator.get_params(deep=True).items()
        )
        kind = type(self.arm.estimator).__name__
        return _digest(kind, self.arm.name, options, self.seed, self.n_rows, *self.arm.weights)


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
        start = time.perf_counter()
        try:
            model = fitted(job.arm, rows, job.seed)
        except (Diverged, FloatingPointError) as error:
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
    """Add the curve, whether it ended by its stop rule, and what was done, where these are told."""
    plan = getattr(model, "plan_", None)
    before = _prepared_s(model)
    curve: Curve | None = getattr(model, "curve_", None)
    learning = max(0.0, done.seconds - before)
    if curve is None or not len(curve):
        curve = Curve(seen=(done.n_rows,), score=(done.score,), seconds=(learning,))
        stopped = True
    else:
        phase = getattr(plan, "phase", None)
        stopped = curve.has_converged(getattr(phase, "patience", 1))
    if not curve.seconds:
        spread = tuple(learning * seen / curve.seen[-1] for seen in curve.seen)
        curve = replace(curve, seconds=spread)
    said = {} if plan is None else {"plan": json.loads(json.dumps(plan.to_json(), default=str))}
    return replace(
        done,
        curve=curve,
        is_converged=stopped,
        preparation_s=before,
        facts=done.facts | said,
    )
