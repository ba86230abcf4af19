"""Neighbors: which rows are most alike, a block at a time; memory never grows with rows squared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Queries compared with a chunk of keys at once.
BLOCK = 2048


@dataclass(frozen=True, eq=False)
class Nearest:
    """The most similar key of each query.

    Parameters
    ----------
    at
        Its index, shape (q,); −1 where no key was allowed.
    similarity
        Shape (q,); −inf where no key was allowed.
    """

    at: NDArray[np.int64]
    similarity: NDArray[np.float32]


def unit(rows: ArrayLike, center: ArrayLike = 0.0) -> NDArray[np.float32]:
    """Return rows less their center, each of length one; a row at the center stays zero.

    The product of two such rows is their cosine. Centered ones spread over the whole sphere, also
    where a network gives all rows one common direction (Mu & Viswanath 2018,
    https://arxiv.org/abs/1702.01417).

    >>> unit([[3.0, 4.0], [1.0, 1.0]], center=[1.0, 1.0]).round(3).tolist()
    [[0.5550000071525574, 0.8320000171661377], [0.0, 0.0]]
    """
    moved = np.asarray(rows, dtype=np.float32) - np.asarray(center, dtype=np.float32)  # (n, d)
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(moved / np.where(length > 0, length, 1), dtype=np.float32)


def nearest_elsewhere(
    queries: NDArray[np.float32],
    chunks: Iterable[tuple[slice, NDArray[np.float32]]],
    groups: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> list[Nearest]:
    """Return, for each grouping, the most similar key that is of another group than the query.

    Keys are read once, in chunks; what is held beside them is a block of queries by a chunk.

    Parameters
    ----------
    queries
        Rows of length one, shape (q, d).
    chunks
        (Where they stand, keys of length one of shape (m, d)), in any order.
    groups
        A grouping is the group of each query, shape (q,), and of each key, shape (n,).

    Examples
    --------
    >>> rows = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], dtype=np.float32)
    >>> splits = np.array([0, 1, 1])
    >>> found = nearest_elsewhere(rows, [(slice(0, 3), rows)], [(splits, splits)])[0]
    >>> found.at, found.similarity.round(1).tolist()
    (array([1, 0, 0]), [0.800000011920929, 0.800000011920929, 0.0])
    """
    found = [_none(len(queries)) for _ in groups]
    for where, keys in chunks:
        for start in range(0, len(queries), BLOCK):
            here = slice(start, start + BLOCK)
            close = queries[here] @ keys.T  # (block, m)
            for best, (asked, others) in zip(found, groups, strict=True):
                is_same = asked[here, None] == others[None, where]
                _keep_better(best, here, np.where(is_same, -np.inf, close), where.start)
    return found


def _none(n: int) -> Nearest:
    return Nearest(np.full(n, -1, dtype=np.int64), np.full(n, -np.inf, dtype=np.float32))


def _keep_better(best: Nearest, here: slice, close: NDArray[np.float32], start: int) -> None:
    top = close.argmax(axis=1)
    value = close[np.arange(len(close)), top]
    wins = value > best.similarity[here]
    best.at[here] = np.where(wins, top + start, best.at[here])
    best.similarity[here] = np.where(wins, value, best.similarity[here])
