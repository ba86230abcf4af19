"""Imbalance: classes with too few rows to be learned, or to be judged."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.checks.finding import Finding, Severity, counted, quoted
from headstart.data.dataset import TEST, VALIDATION, Dataset
from headstart.metrics.scores import IMBALANCE
from headstart.task import Kind, Task

#: Training rows below which a class is called rare.
RARE = 5


def imbalance(data: Dataset) -> list[Finding]:
    """Return what is to be said of the sizes of the classes; nothing of numbers and tags."""
    if data.task is None or data.targets is None or data.task.kind in (Kind.REGRESSION, Kind.TAGS):
        return []
    learned = _counts(data.training(), data.task)
    parts = {part: _counts(data.only(part), data.task) for part in (VALIDATION, TEST)}
    return [
        *_uneven(data.task, learned),
        *_rare(data.task, learned),
        *(found for part, counts in parts.items() for found in _unjudged(data.task, part, counts)),
    ]


def _counts(data: Dataset, task: Task) -> NDArray[np.int64]:
    """Return how many rows have each label; shape (k,)."""
    targets: NDArray[Any] = np.asarray(data.targets)
    if task.kind is Kind.MULTILABEL:
        return np.asarray(targets.sum(axis=0), dtype=np.int64)
    return np.bincount(targets, minlength=len(task.labels))


def _uneven(task: Task, counts: NDArray[np.int64]) -> list[Finding]:
    present = counts[counts > 0]
    if task.kind is Kind.MULTILABEL or len(present) < 2:
        return []
    ratio = float(present.max() / present.min())
    if ratio <= IMBALANCE:
        return []
    least, most = (task.labels[int(np.flatnonzero(counts == n)[0])] for n in _ends(present))
    what = (
        f"The classes are uneven: {counted(int(present.max()), 'training row')} of {most!r}, "
        f"{present.min():,} of {least!r}, {ratio:.3g} to 1."
    )
    fix = "Macro-F1, where each class counts the same, is the primary score; add rows of the rare."
    severity: Severity = "warning" if ratio > 10 else "note"
    return [
        Finding("imbalance", severity, what, int(present.min()), fix=fix, facts={"ratio": ratio})
    ]


def _ends(counts: NDArray[np.int64]) -> tuple[int, int]:
    return int(counts.min()), int(counts.max())


def _rare(task: Task, counts: NDArray[np.int64]) -> list[Finding]:
    rare = np.flatnonzero(counts < RARE)
    if not len(rare):
        return []
    names = [task.labels[i] for i in rare[np.argsort(counts[rare], kind="stable")]]
    have = "has" if len(rare) == 1 else "have"
    what = f"{quoted(names)} {have} fewer than {RARE} training rows."
    fix = "What is said of them is close to a guess: add rows, or join them with another class."
    return [Finding("imbalance", "warning", what, int(counts[rare].sum()), fix=fix)]


def _unjudged(task: Task, part: str, counts: NDArray[np.int64]) -> list[Finding]:
    """Return the labels that a part of the data, where there is one, never judges."""
    missing = [task.labels[i] for i in np.flatnonzero(counts == 0)]
    if not missing or not counts.any():
        return []
    is_single = task.kind is Kind.MULTICLASS and len(missing) == len(task.labels) - 1
    what = f"No {part} row has the label {quoted(missing)}: its score says nothing of it."
    if is_single:
        only = task.labels[int(counts.argmax())]
        what = f"All {part} rows are of one class, {only!r}: guessing it always scores 1."
    fix = f"Add such rows to the {part} rows, or let Headstart draw the split."
    return [Finding("imbalance", "warning" if is_single else "note", what, fix=fix)]
