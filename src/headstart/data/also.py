"""Also: labelled rows of another domain beside those a model is for.

The rows of the target domain and the others become one dataset, whose `domain` tells them apart.
The others only ever teach: they are neither validated nor tested on.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import TEST, TRAIN, UNASSIGNED, Dataset
from headstart.data.ragged import is_ragged, ragged
from headstart.data.tags import tag_task, types_of
from headstart.errors import DataError
from headstart.task import Kind, Modality, Task

#: What `Dataset.domain` says of the rows a model is for, and of the others.
TARGET, ALSO = "target", "also"


def beside(target: Dataset, also: Dataset) -> Dataset:
    """Return the rows of both, the target's first, under the labels of both.

    Raises
    ------
    DataError
        Where one is of another kind, or has no labels.

    Examples
    --------
    >>> from headstart.data.dataset import from_arrays
    >>> both = beside(from_arrays(["un", "deux"], ["a", "b"]), from_arrays(["one"], ["c"]))
    >>> both.task.labels, both.targets.tolist(), both.domain.tolist()
    (('a', 'b', 'c'), [0, 1, 2], ['target', 'target', 'also'])
    """
    task = _joined(target, also)
    targets = [_renumbered(data, task) for data in (target, also)]
    parts = np.full(len(target), UNASSIGNED) if target.split is None else target.split
    names = [data.name(i) for data in (target, also) for i in range(len(data))]
    rows: Any = (*target.rows, *also.rows)
    rows = np.stack(rows) if target.modality is Modality.VECTOR else rows
    return Dataset(
        target.modality,
        rows,
        task,
        np.concatenate(targets),
        np.concatenate([parts, np.full(len(also), TRAIN)]).astype("<U10"),
        names,
        domain=np.array([TARGET] * len(target) + [ALSO] * len(also)),
        skipped=(*target.skipped, *also.skipped),
        notes=(*target.notes, *also.notes, *_differing(target, also)),
        columns=target.columns,
    )


def is_also(data: Dataset) -> NDArray[np.bool_]:
    """Return which rows are of the other domain, shape (n,)."""
    return np.zeros(len(data), dtype=bool) if data.domain is None else data.domain == ALSO


def without_also(data: Dataset) -> Dataset:
    """Return the rows of the target domain alone."""
    return dataclasses.replace(data.take(~is_also(data)), domain=None)


def only_also(data: Dataset) -> Dataset:
    """Return what may be learned from where the target's labels may not, and the test rows.

    >>> from headstart.data.dataset import from_arrays
    >>> both = beside(from_arrays(["un", "deux"], ["a", "b"]), from_arrays(["one"], ["a"]))
    >>> only_also(both).rows
    ('one',)
    """
    rows = is_also(data)
    tested = np.zeros(len(data), dtype=bool) if data.split is None else data.split == TEST
    kept = data.take(rows | tested)
    split = None if kept.split is None else np.where(kept.split == TEST, TEST, UNASSIGNED)
    has_tests = split is not None and (split == TEST).any()
    return dataclasses.replace(kept, domain=None, split=split if has_tests else None)


def with_tests(data: Dataset, tests: Dataset) -> Dataset:
    """Return data with other rows to test on; its own test rows are learned from no more.

    >>> from headstart.data.dataset import from_arrays
    >>> rows = from_arrays(["one", "two"], ["a", "b"])
    >>> with_tests(rows, from_arrays(["un"], ["a"])).split.tolist()
    ['', '', 'test']
    """
    own = data if data.split is None else data.take(data.split != TEST)
    both = beside(own, tests)
    assert both.split is not None
    split = np.where(is_also(both), TEST, both.split)
    domain = np.where(np.append(is_also(own), np.zeros(len(tests), dtype=bool)), ALSO, TARGET)
    return dataclasses.replace(both, split=split, domain=None if own.domain is None else domain)


def _joined(target: Dataset, also: Dataset) -> Task:
    """Return the task of both."""
    a, b = target.task, also.task
    if a is None or b is None:
        raise DataError("Rows without labels cannot be learned from.\nExpected labels in both.")
    if (a.kind, target.modality) != (b.kind, also.modality):
        raise DataError(
            f"The rows beside are {also.modality} rows of {b.kind}, those of the data "
            f"{target.modality} rows of {a.kind}.\nExpected the same kind of rows and labels."
        )
    if a.kind is Kind.TAGS:
        return tag_task({*types_of(a), *types_of(b)}, a.target)
    labels = a.labels + tuple(label for label in b.labels if label not in a.labels)
    return dataclasses.replace(a, labels=labels)


def _renumbered(data: Dataset, task: Task) -> NDArray[Any]:
    """Return the targets under the numbers that the labels have in another task."""
    assert data.task is not None and data.targets is not None
    at = np.array([task.labels.index(label) for label in data.task.labels], dtype=np.int64)
    if task.kind is Kind.REGRESSION:
        return data.targets
    if task.kind is Kind.MULTILABEL:
        values = np.zeros((len(data), len(task.labels)), dtype=np.int8)
        values[:, at] = data.targets
        return values
    if is_ragged(data.targets):
        return ragged([at[codes] for codes in data.targets])
    return at[data.targets]


def _differing(target: Dataset, also: Dataset) -> tuple[str, ...]:
    """Say which labels only one side has."""
    assert target.task is not None and also.task is not None
    ours, theirs = set(target.task.labels), set(also.task.labels)
    lacking = sorted(ours ^ theirs)
    if not lacking:
        return ()
    shown = ", ".join(map(repr, lacking[:6])) + (" …" if len(lacking) > 6 else "")
    return (f"Labels of one side only: {shown}.",)
