"""Ragged: rows that differ in length, as an array of arrays; and back to one array."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Rows that differ in length: a list of arrays, or an array of them.
Ragged: TypeAlias = Sequence[Any] | NDArray[Any]


def ragged(rows: Sequence[Any]) -> NDArray[Any]:
    """Return an array of shape (n,) that holds an array a row: it is indexed as any other.

    >>> ragged([np.array([1, 2]), np.array([3])])[[1]]
    array([array([3])], dtype=object)
    """
    values = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        values[i] = row
    return values


def is_ragged(values: Any) -> bool:
    """Return whether an array holds an array a row."""
    return isinstance(values, np.ndarray) and values.dtype == object


def lengths(rows: Ragged) -> NDArray[np.int64]:
    """Return how many pieces each row has, shape (n,)."""
    return np.array([len(row) for row in rows], dtype=np.int64)


def flat(rows: Ragged) -> NDArray[Any]:
    """Return the pieces of all rows as one array, shape (pieces, …).

    >>> flat(ragged([np.array([1, 2]), np.array([3])]))
    array([1, 2, 3])
    """
    return np.concatenate(list(rows)) if len(rows) else np.zeros(0)


def like(values: NDArray[Any], rows: Ragged) -> NDArray[Any]:
    """Return flat pieces cut into rows that are as long as those of `rows`.

    >>> like(np.array([5, 6, 7]), [[1, 2], [3]]).tolist()
    [array([5, 6]), array([7])]
    """
    return ragged(np.split(values, np.cumsum(lengths(rows))[:-1])) if len(rows) else ragged([])


def content(values: NDArray[Any]) -> bytes:
    """Return what is in an array, row lengths and all: equal content, equal bytes.

    >>> content(ragged([np.array([1]), np.array([2])])) == content(ragged([np.array([1, 2])]))
    False
    """
    if not is_ragged(values):
        return values.tobytes()
    return lengths(values).tobytes() + b"".join(np.asarray(row).tobytes() for row in values)


def are_finite(values: Ragged) -> NDArray[np.bool_]:
    """Return which rows hold finite numbers only, shape (n,).

    >>> are_finite(ragged([np.array([1.0]), np.array([np.nan, 1.0])])).tolist()
    [True, False]
    """
    return np.array([bool(np.isfinite(row).all()) for row in values], dtype=bool)


def padded(rows: Ragged, fill: Any) -> NDArray[Any]:
    """Return rows as one array of shape (n, longest, …), filled up at the right.

    >>> padded([np.array([1, 2]), np.array([3])], -1)
    array([[ 1,  2],
           [ 3, -1]])
    """
    longest = max((len(row) for row in rows), default=0)
    first = np.asarray(rows[0])
    values = np.full((len(rows), longest, *first.shape[1:]), fill, dtype=first.dtype)
    for i, row in enumerate(rows):
        values[i, : len(row)] = row
    return values
