"""Also: labelled rows of another domain beside those a model is for.

The rows of the target domain and the others become one dataset, whose `domain` tells them apart.
The others only ever teach: they are neither validated nor tested on.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import TEST, TRAIN, UNASSIGNED, Dataset, in_order
from headstart.data.pictures import known_hash
from headstart.data.ragged import is_ragged, ragged
from headstart.data.tags import tag_task, types_of
from headstart.errors import DataError
from headstart.task import Kind, Modality, Task

#: What `Dataset.domain` says of the rows a model is for, and of the others.
TARGET, ALSO = "target", "also"


def beside(target: Dataset, also: Dataset) -> Dataset:
    """Return the rows of both, the target's first, under the labels of both.

    Rows that the target has too are left out of the others: they would teach what is to be judged.

    Raises
    ------
    DataError
        Where one is of another kind, has other columns, or has no labels.

    Examples
    --------
    >>> from headstart.data.dataset import from_arrays
    >>> both = beside(from_arrays(["un", "deux"], ["a", "b"]), from_arrays(["one"], ["c"]))
    >>> both.task.labels, both.targets.tolist(), both.domain.tolist()
    (('a', 'b', 'c'), [0, 1, 2], ['target', 'target', 'also'])
    """
    task = _joined(target, also)
    n_given, also = len(also), unlike(in_order(also, target.columns), contents(target))
    targets = [_renumbered(data, task) for data in (target, also)]
    parts = np.full(len(target), UNASSIGNED) if target.split is None else target.split
    names = [data.name(i) for data in (target, also) for i in range(len(data))]
    return Dataset(
        target.modality,
        _rows(target, also),
        task,
        np.concatenate(targets),
        np.concatenate([parts, np.full(len(also), TRAIN)]).astype("<U10"),
        names,
        domain=np.array([TARGET] * len(target) + [ALSO] * len(also)),
        weight=_weights(target, also),
        skipped=(*target.skipped, *also.skipped),
        notes=(
            *target.notes,
            *also.notes,
            *_differing(target, also),
            *_left_out(n_given - len(also), "rows beside that the data have too"),
        ),
        columns=target.columns,
        label_type=target.label_type if target.label_type == also.label_type else "",
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

    Nor is what the rows to test on have too.

    Raises
    ------
    DataError
        As `beside`, or where that leaves nothing to learn from.

    Examples
    --------
    >>> from headstart.data.dataset import from_arrays
    >>> rows = from_arrays(["one", "two"], ["a", "b"])
    >>> with_tests(rows, from_arrays(["un"], ["a"])).split.tolist()
    ['', '', 'test']
    """
    given = data if data.split is None else data.take(data.split != TEST)
    _joined(given, tests)  # refused before a row is compared
    own = unlike(given, contents(in_order(tests, given.columns)))
    if not len(own):
        raise DataError(
            f"All {len(given)} rows of the data are rows to test on too.\n"
            "Expected other rows to test on: what was learned by heart proves nothing."
        )
    notes = _left_out(len(given) - len(own), "rows of the data that are rows to test on too")
    both = beside(dataclasses.replace(own, notes=(*own.notes, *notes)), tests)
    assert both.split is not None
    split = np.where(is_also(both), TEST, both.split)
    domain = np.where(np.append(is_also(own), np.zeros(len(tests), dtype=bool)), ALSO, TARGET)
    return dataclasses.replace(both, split=split, domain=None if own.domain is None else domain)


def contents(data: Dataset) -> set[bytes]:
    """Return what names the content of the rows; those that cannot be read have none."""
    return {name for name in map(known_hash, data.rows) if name is not None}


def unlike(data: Dataset, known: Iterable[bytes]) -> Dataset:
    """Return the rows whose content is not known; one that cannot be read is named later.

    >>> from headstart.data.dataset import from_arrays
    >>> unlike(from_arrays(["un", "one"]), contents(from_arrays(["un"]))).rows
    ('one',)
    """
    had = set(known)
    return data.take([i for i, row in enumerate(data.rows) if known_hash(row) not in had])


def _left_out(n: int, what: str) -> tuple[str, ...]:
    return (f"{n:,} {what} are left out.",) if n else ()


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
    _check_columns(target, also)
    if a.kind is Kind.TAGS:
        return tag_task({*types_of(a), *types_of(b)}, a.target)
    labels = a.labels + tuple(label for label in b.labels if label not in a.labels)
    return dataclasses.replace(a, labels=labels)


def _check_columns(target: Dataset, also: Dataset) -> None:
    """Refuse vectors of other numbers."""
    if target.modality is not Modality.VECTOR:
        return
    ours, theirs = target.columns, also.columns
    widths = [np.shape(data.rows)[1] for data in (target, also)]
    if widths[0] != widths[1] or (ours and theirs and sorted(ours) != sorted(theirs)):
        raise DataError(
            f"The rows of both have other columns: {_named(ours, widths[0])} of the data, "
            f"{_named(theirs, widths[1])} beside.\nExpected the same columns, in any order."
        )


def _named(columns: tuple[str, ...], width: int) -> str:
    return ", ".join(map(repr, columns)) if columns else f"{width} without names"


def _rows(target: Dataset, also: Dataset) -> Any:
    if target.modality is not Modality.VECTOR:
        return (*target.rows, *also.rows)
    return np.concatenate([np.asarray(target.rows), np.asarray(also.rows)])


def _weights(target: Dataset, also: Dataset) -> NDArray[np.float64] | None:
    """Return what the rows of both count; None where neither says."""
    if target.weight is None and also.weight is None:
        return None
    parts = (target, also)
    return np.concatenate([np.ones(len(d)) if d.weight is None else d.weight for d in parts])


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
    """Say which labels, or types of entities, only one side has."""
    assert target.task is not None and also.task is not None
    is_tagged = target.task.kind is Kind.TAGS
    names = [types_of(task) if is_tagged else task.labels for task in (target.task, also.task)]
    lacking = sorted(set(names[0]) ^ set(names[1]))
    if not lacking:
        return ()
    shown = ", ".join(map(repr, lacking[:6])) + (" …" if len(lacking) > 6 else "")
    return (f"{'Types of entities' if is_tagged else 'Labels'} of one side only: {shown}.",)
