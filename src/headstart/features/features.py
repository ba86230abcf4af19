"""Features: a handle on arrays at a boundary."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.data.dataset import Skipped
from headstart.data.ragged import ragged


@dataclass(frozen=True, eq=False)
class Features:
    """What a trunk says of the rows, on disk or in memory; never copied as a whole unless asked.

    Parameters
    ----------
    shards
        Arrays (usually memory maps) of shape (rows, …) each, or (pieces, …) where rows are ragged.
    where
        Shape (n, 2): the shard of a row, and its place in the shard.
    offsets
        Where rows are ragged, an array of shape (rows + 1,) a shard: row i of the shard is
        `shard[offsets[i]:offsets[i + 1]]`. Otherwise None.
    boundary
        How many stages of the source lie below these values.
    key
        What they are the features of: trunk, boundary, pooling, preprocess, view, precision.
    kept
        The indices of the data's rows that could be read; shape (n,).
    skipped
        The rows that could not.
    n_computed
        How many rows went through the trunk to make this handle.
    more
        Other features of the same rows, whose columns stand beside these: other boundaries.
    """

    shards: Sequence[NDArray[np.floating]]
    where: NDArray[np.signedinteger[Any]]
    boundary: int
    key: str
    kept: NDArray[np.int64]
    offsets: Sequence[NDArray[np.int64]] | None = None
    skipped: tuple[Skipped, ...] = ()
    n_computed: int = 0
    more: tuple["Features", ...] = ()

    @classmethod
    def of(
        cls, array: NDArray[np.floating], *, boundary: int = 0, key: str = "memory"
    ) -> "Features":
        """Return a handle on one array of shape (n, …) that is in memory already.

        >>> Features.of(np.ones((3, 2))).shape
        (2,)
        """
        at = np.arange(len(array), dtype=np.int64)
        return cls((array,), np.stack([np.zeros_like(at), at], axis=1), boundary, key, kept=at)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.where)

    @property
    def is_ragged(self) -> bool:
        """Whether rows differ in their first length, as texts do below the pooling."""
        return self.offsets is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row; of one piece of it where rows are ragged."""
        own = self.shards[0].shape[1:] if self.shards else ()
        if not self.more or not own:
            return own
        return (*own[:-1], own[-1] + sum(one.shape[-1] for one in self.more))

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """What rows are read as: float32, or float64 where it might not hold their numbers.

        A trunk's features are float32 at most; vectors that came as float64 stay so, because
        their columns may be far from zero (1.7e9 + 0…59) until they are standardized.
        """
        kinds = {shard.dtype for one in (self, *self.more) for shard in one.shards}
        is_held = np.result_type(np.float32, *kinds) == np.float32
        return np.dtype(np.float32 if is_held else np.float64)

    def batch(self, index: ArrayLike | slice) -> NDArray[Any]:
        """Return the rows at `index` (integers or a slice), of `dtype` and shape (b, …).

        >>> Features.of(np.array([[1.0], [2.0], [3.0]])).batch([2, 0]).ravel()
        array([3., 1.])
        """
        if self.is_ragged:
            raise ValueError("rows are ragged: read them with `pieces`, or pool them first")
        where = self.where[_as_index(index)]
        rows = np.empty((len(where), *self.shape), dtype=self.dtype)
        own = rows[..., : self.shards[0].shape[-1]] if self.more else rows
        for shard in np.unique(where[:, 0]):
            here = where[:, 0] == shard
            own[here] = _rows(self.shards[shard], where[here, 1])
        at = own.shape[-1] if self.more else 0
        for one in self.more:
            rows[..., at : at + one.shape[-1]] = one.batch(index)
            at += one.shape[-1]
        return rows

    def pieces(self, index: ArrayLike | slice) -> list[NDArray[Any]]:
        """Return the rows at `index` one by one, each of shape (pieces, …) if ragged."""
        if self.offsets is None:
            return list(self.batch(index))
        own = [self._piece(shard, at) for shard, at in self.where[_as_index(index)]]
        if not self.more:
            return own
        others = [one.pieces(index) for one in self.more]
        return [np.concatenate(parts, axis=-1) for parts in zip(own, *others, strict=True)]

    def _piece(self, shard: int, at: int) -> NDArray[Any]:
        assert self.offsets is not None
        start, stop = self.offsets[shard][at : at + 2]
        return np.asarray(self.shards[shard][start:stop], dtype=self.dtype)

    def chunks(self, size: int) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield (the slice of rows, their values of shape (≤ size, …)), in order."""
        for start in range(0, len(self), size):
            at = slice(start, min(start + size, len(self)))
            yield at, self.batch(at)

    def array(self) -> NDArray[Any]:
        """Return all rows in memory, shape (n, …), or ragged (`headstart.data.ragged`).

        Prefer `chunks` where there may be many.
        """
        return ragged(self.pieces(slice(None))) if self.is_ragged else self.batch(slice(None))

    def take(self, index: ArrayLike) -> "Features":
        """Return a handle on the rows at `index` (integers, or a mask of shape (n,)).

        >>> Features.of(np.array([[1.0], [2.0]])).take([1]).array()
        array([[2.]])
        """
        at = _as_index(index)
        more = tuple(one.take(index) for one in self.more)
        return dataclasses.replace(self, where=self.where[at], kept=self.kept[at], more=more)

    def beside(self, *others: "Features") -> "Features":
        """Return a handle whose rows have the columns of these and of others, side by side.

        Raises
        ------
        ValueError
            Where others are of other rows: `take` those that all have.

        Examples
        --------
        >>> Features.of(np.zeros((1, 2))).beside(Features.of(np.ones((1, 1)))).array()
        array([[0., 0., 1.]])
        """
        if not all(np.array_equal(one.kept, self.kept) for one in others):
            raise ValueError("features of other rows cannot stand beside these: take common ones")
        key = "+".join(one.key for one in (self, *others))
        return dataclasses.replace(self, more=(*self.more, *others), key=key)

    @property
    def parts(self) -> tuple["Features", ...]:
        """What stands side by side in these, one handle each."""
        return (dataclasses.replace(self, more=()), *self.more)

    def flat(self) -> "Features":
        """Return a handle whose rows are the pieces of these ragged rows; nothing is copied."""
        if self.offsets is None:
            return self
        sizes = self.sizes()
        first = self._starts()
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        where = np.stack(
            [np.repeat(self.where[:, 0], sizes), np.repeat(first, sizes) + within], axis=1
        )
        return dataclasses.replace(
            self,
            where=where,
            kept=np.repeat(self.kept, sizes),
            offsets=None,
            more=tuple(one.flat() for one in self.more),
        )

    def sizes(self) -> NDArray[np.int64]:
        """Return how many pieces each ragged row has; shape (n,)."""
        assert self.offsets is not None
        ends = [self.offsets[shard][at + 1] for shard, at in self.where]
        return np.array(ends, dtype=np.int64) - self._starts()

    def _starts(self) -> NDArray[np.int64]:
        assert self.offsets is not None
        return np.array([self.offsets[shard][at] for shard, at in self.where], dtype=np.int64)


def _as_index(index: ArrayLike | slice) -> NDArray[np.int64] | slice:
    if isinstance(index, slice):
        return index
    at = np.asarray(index)
    return np.flatnonzero(at) if at.dtype == bool else at.astype(np.int64)


def _rows(shard: NDArray[np.floating], at: NDArray[np.int64]) -> NDArray[np.floating]:
    # Rows in a run are read as one slice: a memory map is then walked, not gathered.
    if len(at) and np.array_equal(at, np.arange(at[0], at[0] + len(at))):
        return shard[at[0] : at[0] + len(at)]
    return shard[at]
