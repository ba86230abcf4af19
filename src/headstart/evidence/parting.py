"""Parting: which rows of a study are tested on, and whether those left suffice to prove by."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.also import without_also
from headstart.data.dataset import TEST, VALIDATION, Dataset
from headstart.data.pictures import known_hash
from headstart.data.sampling import split
from headstart.data.tags import entities, types_of
from headstart.errors import DataError
from headstart.task import Kind, Task

#: The share of rows that are drawn to test on, where the data name none.
TEST_SHARE = 0.2
#: The share of the rest that is drawn to validate on, where the data name none.
VALIDATION_SHARE = 0.2
#: Rows a class that are learned from at the start of the data curve.
LEAST_A_CLASS = 2


def check_rows(data: Dataset, seeds: int) -> None:
    """Refuse labelled rows that are too few to prove by, before anything is fitted to them.

    Pictures are not decoded: where some turn out to be unreadable, a study of the rest may decide
    otherwise.

    Parameters
    ----------
    data
        The rows, those of another domain among them.
    seeds
        How many times the proof would fit every arm.

    Raises
    ------
    DataError
        As `headstart.prove` would.
    """
    data, hashes = without_also(data), list[bytes]()
    if not names_tests(data):  # some will be drawn, equal ones together
        found = [known_hash(row) for row in data.rows]
        hashes = [one for one in found if one is not None]
        data = data.take(np.array([one is not None for one in found], dtype=bool))
    whole = parted(data, hashes, [])
    assert whole.split is not None
    lacking(whole.take(whole.split != TEST), seeds, best_effort=False)


def names_tests(data: Dataset) -> bool:
    """Return whether data name rows that can be tested on: test rows, or validation rows."""
    return data.split is not None and bool(np.isin(data.split, (TEST, VALIDATION)).any())


def parted(data: Dataset, hashes: Sequence[bytes], notes: list[str]) -> Dataset:
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
    drawn = split(data, seed=0, validation=0.0, test=TEST_SHARE, hashes=hashes)
    assert drawn.split is not None
    if int((drawn.split == TEST).sum()) < 2:
        raise DataError(
            f"Of {len(data)} rows {TEST_SHARE:.0%} is no two, and no interval has one row.\n"
            "Add labelled rows, or name at least two to test on."
        )
    return drawn


def validation_share(pool: Dataset, notes: list[str]) -> float:
    """Return the share that validates: that of the data, drawn anew by each seed."""
    n = 0 if pool.split is None else int((pool.split == VALIDATION).sum())
    if n:
        notes.append("Training and validation rows were put together and parted anew by each seed.")
    return min(0.5, n / len(pool)) if n else VALIDATION_SHARE


def lacking(pool: Dataset, seeds: int, best_effort: bool) -> list[str]:
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
            f"{said}.\nAdd rows, leave such classes out, or prove what can be proved: "
            "`headstart prove --best-effort` (best_effort=True)."
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
