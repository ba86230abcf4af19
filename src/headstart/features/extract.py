"""Extract: run the frozen trunk over rows, once.

Rows stream, a stretch at a time: they are hashed, looked up, and only those missing are decoded
and run, in fixed batches of fixed shards, on all cores at once. Missing rows are taken in the order
of the data, so an extraction that was interrupted begins again where a shard would have begun, and
ends with the same bytes. What stays in memory of a row is where its features are.
"""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import Dataset
from headstart.errors import UsageError
from headstart.features.cache import Block, Cache, FeatureCache, MemoryCache, feature_key
from headstart.features.compile import Boundaries, is_ragged
from headstart.features.engine import Engine, Pieces, engine_for
from headstart.features.features import Features
from headstart.features.inputs import inputs_for
from headstart.features.reading import Contents, Reading, filled, grouped
from headstart.machine import allow_many_files, home
from headstart.progress import Progress, track
from headstart.sources.source import Source
from headstart.store.store import open_store
from headstart.task import Modality

#: Where sentences are read unless told otherwise: above the last block, below what pools.
TOP_OF_WORDS = (1.0,)
#: Rows a shard: what an interruption may cost, and what is held in memory before it is written.
SHARD_ROWS = 1024
#: The same for whole activations, which take a hundred times as much.
SHARD_ACTIVATIONS = 256
#: Rows whose hashes are held at once: whole shards of either kind.
STRETCH_ROWS = 16 * SHARD_ROWS


@overload
def extract(
    source: Source,
    data: Dataset,
    *,
    boundary: int | None = None,
    pooled: bool = True,
    cache: bool = True,
) -> Features: ...


@overload
def extract(
    source: Source,
    data: Dataset,
    *,
    boundary: int | None = None,
    pooled: bool = True,
    views: int,
    cache: bool = True,
) -> Features | tuple[Features, ...]: ...


def extract(
    source: Source,
    data: Dataset,
    *,
    boundary: int | None = None,
    pooled: bool = True,
    views: int = 1,
    cache: bool = True,
) -> Features | tuple[Features, ...]:
    """Return the features of every readable row; only what no cache holds is computed.

    Parameters
    ----------
    source
        The pretrained model.
    data
        The rows.
    boundary
        How many stages to run; None: all. Of sentences None is the boundary below the pooling.
    pooled
        Whether to return a vector a row (of sentences a vector a word, ragged), or its whole
        activation.
    views
        How many views of a picture: the picture itself, then augmented ones. More than one give
        one handle a view.
    cache
        False: nothing is looked up or kept on disk.

    Raises
    ------
    UsageError
        The source cannot be cut there.
    """
    at = None if boundary is None else (boundary,)
    handles = [_extract(source, data, at, pooled, view, cache)[0] for view in range(views)]
    return handles[0] if views == 1 else tuple(handles)


def extract_many(
    source: Source,
    data: Dataset,
    boundaries: Sequence[int],
    *,
    pooled: bool = True,
    cache: bool = True,
) -> dict[int, Features]:
    """Return the features at several boundaries, computed in one pass over the rows."""
    at = tuple(sorted(set(boundaries)))
    return dict(zip(at, _extract(source, data, at, pooled, 0, cache), strict=True))


def extract_beside(
    source: Source, data: Dataset, boundaries: Boundaries | None, *, cache: bool = True
) -> Features:
    """Return the features at several boundaries side by side, computed in one pass.

    Parameters
    ----------
    boundaries
        Numbers of stages, or shares of the blocks (`headstart.features.compile.resolved`); None:
        as in `extract`.
    """
    first, *others = _extract(source, data, boundaries, True, 0, cache)
    return first.beside(*others) if others else first


def forward(
    source: Source,
    data: Dataset,
    *,
    boundaries: Boundaries | None = None,
    pooled: bool = True,
    engine: Engine | None = None,
) -> Features:
    """Return the features of new rows, in memory, rounded as cached ones are.

    Parameters
    ----------
    source
        The pretrained model.
    data
        The rows.
    boundaries, pooled
        As in `extract_beside` and `extract`.
    engine
        What runs the trunk; None: what is best here.
    """
    if source.modality is Modality.VECTOR:
        return _vectors(source, data)
    with Reading(source, data) as reading:
        engine = engine or _engine(source, data, boundaries, pooled, reading)
        first, *others = _Pass(source, reading, engine, pooled, MemoryCache()).handles()
    return first.beside(*others) if others else first


def _engine(
    source: Source, data: Dataset, boundaries: Boundaries | None, pooled: bool, reading: Reading
) -> Engine:
    if data.modality is Modality.WORDS:  # words are picked out of the whole activation
        boundaries, pooled = boundaries or TOP_OF_WORDS, False
    return engine_for(source, boundaries, pooled, data_sample=reading.sample)


def _extract(
    source: Source,
    data: Dataset,
    boundaries: Boundaries | None,
    pooled: bool,
    view: int,
    cache: bool,
) -> list[Features]:
    if source.modality is Modality.VECTOR:
        return [_vectors(source, data)]
    if boundaries is not None and min(boundaries) <= 0:
        raise UsageError(
            f"boundary={min(boundaries)} is the input itself; nothing lies below it.\n"
            "Expected at least 1 stage to run, or None for all."
        )
    view = view if source.modality is Modality.IMAGE else 0
    allow_many_files()
    with Reading(source, data, view) as reading, contextlib.closing(open_store()) as store:
        engine = _engine(source, data, boundaries, pooled, reading)
        kept: Cache = FeatureCache(store, home() / "features") if cache else MemoryCache()
        return _Pass(source, reading, engine, pooled, kept).handles()


def _vectors(source: Source, data: Dataset) -> Features:
    array = np.asarray(data.rows)
    inputs_for(source.preprocess).batch(list(array[:1]))  # refuses another number of columns
    return Features.of(array, key="identity")


@dataclass(frozen=True, eq=False)
class _Batch:
    """Rows that went through the trunk together: their indices, and a boundary their values."""

    rows: list[int]
    outputs: list[list[NDArray[np.float32]]]
    n_asked: int


@dataclass(frozen=True, eq=False)
class _Stretch:
    """Rows that are looked up together: what they hold, and a boundary where each content is.

    Places are of shape (contents, 2), a shard and a position in it, -1 where there is none yet.
    """

    rows: range
    contents: Contents
    places: list[NDArray[np.int64]]

    def missing(self) -> NDArray[np.int64]:
        """Return the rows to run: the first of equal ones, where some boundary lacks it."""
        lacks = np.any([places[:, 0] < 0 for places in self.places], axis=0)
        return self.rows.start + np.sort(self.contents.first[lacks])

    def which(self, row: Any) -> Any:
        """Return which content a row of it holds, or several, by their indices in the data."""
        return self.contents.which[row - self.rows.start]

    def placed(self, b: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows that a boundary has, shape (k,), and where they are, shape (k, 2)."""
        which = self.contents.which
        rows = np.flatnonzero(which >= 0)
        places = self.places[b][which[rows]]
        is_there = places[:, 0] >= 0
        return self.rows.start + rows[is_there], places[is_there]


class _Pass:
    """One pass over the rows that a cache lacks, for one or several boundaries."""

    def __init__(
        self, source: Source, reading: Reading, engine: Engine, pooled: bool, cache: Cache
    ) -> None:
        self.reading, self.engine, self.cache = reading, engine, cache
        tops = [None if at == engine.n_stages else at for at in engine.boundaries]
        self.pooled = pooled
        of_words = reading.data.modality is Modality.WORDS
        unit = "words" if of_words and pooled else pooled
        self.keys = [feature_key(source, at, unit, reading.view, engine.precision) for at in tops]
        whole = pooled and not of_words
        self.ragged = [is_ragged(source, at, engine.n_stages, whole) for at in engine.boundaries]
        self.is_text = source.modality is Modality.TEXT
        self.shard_rows = SHARD_ROWS if pooled else SHARD_ACTIVATIONS
        #: A boundary: shard of the cache → its number here, and (number, position) a row.
        self.shards: list[dict[int, int]] = [{} for _ in self.keys]
        n = len(reading.data)
        self.where = [np.full((n, 2), -1, dtype=np.int32) for _ in self.keys]

    def handles(self) -> list[Features]:
        """Run what is missing; return a handle a boundary."""
        n, n_computed = len(self.reading.data), 0
        with track("extracting features", n) as tracked:
            self.pieces = Pieces(self.engine, tracked)
            for start in range(0, n, STRETCH_ROWS):
                rows = range(start, min(start + STRETCH_ROWS, n))
                n_computed += self._take(rows, tracked)
        # A boundary may be kept of a row that fails above it: the handles are of the same rows.
        is_kept = np.all([where[:, 0] >= 0 for where in self.where], axis=0)
        return [self._handle(b, is_kept, n_computed) for b in range(len(self.keys))]

    def _take(self, rows: range, tracked: Progress) -> int:
        """Run what is missing of a stretch of rows, note where all are; return how many ran."""
        contents = self.reading.contents(rows)
        found = [self.cache.find(key, contents.hashes) for key in self.keys]
        stretch = _Stretch(rows, contents, found)
        missing = stretch.missing()
        tracked.advance(len(rows) - len(missing))
        n_computed = 0
        for futures in self._shards(missing):
            batches = [_told(future, tracked) for future in futures]
            n_computed += self._keep(batches, stretch)
        self._note(stretch)
        self._leave_out(stretch)
        return n_computed

    def _shards(self, missing: NDArray[np.int64]) -> Iterator[list[Future[_Batch]]]:
        """Yield the batches of shard after shard, with the next shard always under way."""
        starts = range(0, len(missing), self.shard_rows)
        shards = (self._submit(missing[at : at + self.shard_rows].tolist()) for at in starts)
        under_way = next(shards, [])
        while under_way:
            following = next(shards, [])
            yield under_way
            under_way = following

    def _submit(self, rows: Sequence[int]) -> list[Future[_Batch]]:
        if self.is_text:
            return self._submit_texts(rows)
        groups = grouped(rows, self.engine.batch)
        return [self.reading.pool.submit(self._read_and_run, group) for group in groups]

    def _submit_texts(self, rows: Sequence[int]) -> list[Future[_Batch]]:
        # Texts of like length go together, so that little of a batch is padding; the longest first,
        # so that no thread is left with them at the end.
        ids = self.reading.read_all(rows)
        order = sorted(ids, key=lambda i: (len(ids[i]), i))
        groups = [order[at] for at in self._batches([ids[i] for i in order])]
        submit = self.reading.pool.submit
        return [submit(self._run, at, [ids[i] for i in at], len(at)) for at in reversed(groups)]

    def _batches(self, windows: Sequence[Any]) -> Iterator[slice]:
        """Yield which rows go through the trunk together."""
        if self.is_text:
            return filled([len(ids) for ids in windows], self.engine.batch, self.engine.tokens)
        size = self.engine.batch
        return (slice(at, at + size) for at in range(0, len(windows), size))

    def _read_and_run(self, rows: Sequence[int]) -> _Batch:
        values = {i: value for i in rows if (value := self.reading.read(i)) is not None}
        return self._run(list(values), list(values.values()), len(rows))

    def _run(self, rows: Sequence[int], values: list[NDArray[Any]], n_asked: int) -> _Batch:
        if not rows:
            return _Batch([], [[] for _ in self.keys], n_asked)
        outputs = self._outputs(values)
        finite = [all(np.isfinite(one[i]).all() for one in outputs) for i in range(len(rows))]
        for i in np.flatnonzero(np.logical_not(finite)).tolist():
            self.reading.skip(rows[i], "the network gives a value that is not a finite number")
        kept = np.flatnonzero(finite).tolist()
        return _Batch(
            [rows[i] for i in kept], [[output[i] for i in kept] for output in outputs], n_asked
        )

    def _outputs(self, values: list[Any]) -> list[list[NDArray[np.float32]]]:
        """Return what the trunk says of each row, one list a boundary."""
        inputs = self.reading.inputs
        windows = [list(inputs.windows(value)) for value in values]
        flat = [window for of_row in windows for window in of_row]
        told: list[list[NDArray[np.float32]]] = [[] for _ in self.keys]
        for parts in (flat[at] for at in self._batches(flat)):
            for said, output, ragged in zip(
                told, self.pieces.run(inputs.batch(parts)), self.ragged, strict=True
            ):
                said += [row[: len(part)] if ragged else row for row, part in zip(
                    output, parts, strict=True)]  # fmt: skip
        ends = np.cumsum([0, *map(len, windows)])
        return [
            [inputs.joined(value, said[ends[i] : ends[i + 1]], self.pooled)
             for i, value in enumerate(values)]
            for said in told
        ]  # fmt: skip

    def _keep(self, batches: Sequence[_Batch], stretch: _Stretch) -> int:
        """Put a shard into the cache, a boundary the rows it lacks; return how many rows ran."""
        rows = np.array([i for batch in batches for i in batch.rows], dtype=np.int64)
        order = np.argsort(rows)
        contents = stretch.which(rows[order])
        for b, places in enumerate(stretch.places):
            values = [value for batch in batches for value in batch.outputs[b]]
            is_lacking = places[contents, 0] < 0
            if is_lacking.any():
                chosen = [values[at] for at in order[is_lacking]]
                block = Block.of(chosen if self.ragged[b] else np.stack(chosen))
                new = contents[is_lacking]
                hashes = stretch.contents.hashes[new]
                places[new, 0] = self.cache.add(self.keys[b], block, hashes)
                places[new, 1] = np.arange(len(new))
        return len(rows)

    def _note(self, stretch: _Stretch) -> None:
        """Note where the rows of a stretch are, a boundary."""
        for b, (numbers, where) in enumerate(zip(self.shards, self.where, strict=True)):
            rows, places = stretch.placed(b)
            shards, of = np.unique(places[:, 0], return_inverse=True)
            own = [numbers.setdefault(shard, len(numbers)) for shard in shards.tolist()]
            where[rows, 0] = np.array(own, dtype=np.int32)[of]
            where[rows, 1] = places[:, 1]

    def _leave_out(self, stretch: _Stretch) -> None:
        """Leave out the rows that are equal to one that could not be read."""
        skipped = self.reading.skipped
        reasons = {stretch.which(i): skipped[i].reason for i in stretch.rows if i in skipped}
        for i in stretch.rows if reasons else ():
            if i not in skipped and (reason := reasons.get(stretch.which(i))):
                self.reading.skip(i, reason)

    def _handle(self, b: int, is_kept: NDArray[np.bool_], n_computed: int) -> Features:
        where = self.where[b]
        blocks = [self.cache.open(shard) for shard in self.shards[b]]
        offsets = [block.offsets for block in blocks if block.offsets is not None]
        return Features(
            shards=[block.values for block in blocks],
            where=where if is_kept.all() else where[is_kept],
            boundary=self.engine.boundaries[b],
            key=self.keys[b],
            kept=np.flatnonzero(is_kept),
            offsets=offsets if self.ragged[b] else None,
            skipped=tuple(self.reading.skipped[i] for i in np.flatnonzero(~is_kept).tolist()),
            n_computed=n_computed,
        )


def _told(future: Future[_Batch], tracked: Progress) -> _Batch:
    batch = future.result()
    tracked.advance(batch.n_asked)
    return batch
