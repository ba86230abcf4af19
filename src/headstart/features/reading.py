"""Reading: raw rows hashed and decoded on all cores, ahead of the trunk."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import Dataset, Row, Skipped
from headstart.data.pictures import known_hash, row_hash
from headstart.errors import UnreadableRow
from headstart.features.inputs import inputs_for
from headstart.features.trials import N_CHECKED
from headstart.machine import n_threads
from headstart.sources.location import mark
from headstart.sources.source import Source

#: Rows decoded while the trunk is being compiled, which keeps one core busy only.
N_AHEAD = 512
#: Rows that may be tried to find some for the check of a new graph.
N_TRIED = 32

#: Rows that one thread hashes or tokenizes before it asks for more, and tasks that wait at once.
N_A_TASK, N_TASKS = 32, 256

#: A hash, and what stands for it where a row cannot be read.
HASH = np.dtype("V16")
NO_HASH = bytes(HASH.itemsize)

Arrays = dict[str, NDArray[Any]]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Contents:
    """What the rows hold; equal rows hold one content.

    Parameters
    ----------
    hashes
        The hash of each content, ascending; shape (m,).
    first
        The first row that holds it; shape (m,).
    which
        Which content a row holds, -1 where it cannot be read; shape (n,).
    """

    hashes: NDArray[np.void]
    first: NDArray[np.int64]
    which: NDArray[np.int64]

    @classmethod
    def of(cls, hashes: NDArray[np.void]) -> "Contents":
        """Return the contents of rows with these hashes, shape (n,).

        >>> rows = np.array([b"b" * 16, b"a" * 16, b"b" * 16, NO_HASH], dtype=HASH)
        >>> found = Contents.of(rows)
        >>> found.first.tolist(), found.which.tolist()
        ([1, 0], [1, 0, 1, -1])
        """
        read = np.flatnonzero(hashes != np.void(NO_HASH))
        distinct, first, inverse = np.unique(hashes[read], return_index=True, return_inverse=True)
        which = np.full(len(hashes), -1)
        which[read] = inverse
        return cls(distinct, read[first], which)


class Reading:
    """The rows of a dataset as a source reads them, and the threads that do it.

    Decoding and hashing let go of Python's lock, so that threads fill the cores. A file is read for
    its hash, and again to be decoded: a row whose file is another one then is left out, or the
    features of one picture would be kept under the name of another.

    Parameters
    ----------
    source
        Whose input they are to be.
    data
        The raw rows.
    view
        Which augmented view of a picture; 0: the picture itself.
    """

    def __init__(self, source: Source, data: Dataset, view: int = 0) -> None:
        self.data = data
        self.view = view
        self.inputs = inputs_for(source.preprocess, data.modality)
        self.pool = ThreadPoolExecutor(n_threads(), thread_name_prefix="headstart")
        self.skipped: dict[int, Skipped] = {}
        self.ahead: dict[int, Future[Any]] = {}
        #: What the file of a row was before it was first read; 0 where there is none, or not yet.
        self.marks = np.zeros(len(data), dtype=np.int64)
        self._marking = threading.Lock()
        self.hashes = np.full(len(data), np.void(NO_HASH), dtype=HASH)

    def __enter__(self) -> "Reading":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop at once: what has not begun is given up."""
        self.pool.shutdown(wait=True, cancel_futures=True)

    def contents(self, rows: Sequence[int]) -> Contents:
        """Return what some rows hold."""
        return Contents.of(np.fromiter(self._each(self._hash, rows), HASH, count=len(rows)))

    def _each(self, ask: Callable[[int], T], rows: Sequence[int]) -> Iterator[T]:
        def answers(part: Sequence[int]) -> list[T]:
            return [ask(i) for i in part]

        # Many rows a task, and not all tasks at once: a million of them would take gigabytes.
        for some in grouped(rows, N_A_TASK * N_TASKS):
            yield from itertools.chain.from_iterable(
                self.pool.map(answers, grouped(some, N_A_TASK))
            )

    def _hash(self, i: int) -> bytes:
        try:
            found = row_hash(self._row(i))
        except UnreadableRow as error:
            self.skip(i, error.reason)
            return NO_HASH
        self.hashes[i] = np.void(found)
        return found

    def _row(self, i: int) -> Row:
        """Return a row that is about to be read."""
        row = self.data.rows[i]
        if isinstance(row, Path) and not self.marks[i]:
            now = _mark(row)
            with self._marking:  # of two threads the first one counts
                self.marks[i] = self.marks[i] or now
        return row

    def read(self, i: int) -> Any:
        """Return a row ready to be batched; None, and a note of why, if it cannot be read."""
        waiting = self.ahead.pop(i, None)
        value = self._read(i) if waiting is None else waiting.result()
        return value if value is None or not self._was_touched(i) else self._read_again(i)

    def _was_touched(self, i: int) -> bool:
        """Say whether the file of a row does not look as it did when it was first read."""
        row = self.data.rows[i]
        return isinstance(row, Path) and _mark(row) != int(self.marks[i])

    def _read_again(self, i: int) -> Any:
        """Return a row as it is now, if that is what was hashed: a link or a `chmod` harms none."""
        value = self._read(i)
        if value is None or self.hashes[i].tobytes() in (NO_HASH, known_hash(self._row(i))):
            return value
        self.skip(i, "it was changed while it was read")
        return None

    def _read(self, i: int) -> Any:
        row = self._row(i)
        try:
            return self.inputs.row(row, self.view, row_hash(row) if self.view else b"")
        except UnreadableRow as error:
            self.skip(i, error.reason)
            return None

    def readable(self) -> NDArray[np.bool_]:
        """Return which rows can be decoded, shape (n,); nothing decoded is kept."""
        n = len(self.data)
        return np.fromiter(self._each(lambda i: self._read(i) is not None, range(n)), bool, count=n)

    def skip(self, i: int, reason: str) -> None:
        """Note that a row is left out."""
        self.skipped[i] = Skipped(self.data.name(i), reason)

    def sample(self) -> Arrays | None:
        """Return the first readable rows as a batch, and begin to decode those after them."""
        found: list[Any] = []
        for i in range(min(len(self.data), N_TRIED)):
            if len(found) < N_CHECKED and (row := self._read(i)) is not None:
                found.append(row)
        ahead = range(min(len(self.data), N_AHEAD))
        self.ahead.update({i: self.pool.submit(self._read, i) for i in ahead})
        windows = [window for row in found for window in self.inputs.windows(row)[:N_CHECKED]]
        return self.inputs.batch(windows) if found else None

    def read_all(self, rows: Sequence[int]) -> dict[int, Any]:
        """Return those of the rows that can be read."""
        values = self._each(self.read, rows)
        return {i: row for i, row in zip(rows, values, strict=True) if row is not None}


def _mark(path: Path) -> int:
    """Return a number for what changes when a file does; 0 of one that cannot be looked at."""
    try:
        return hash(mark(path))
    except (OSError, ValueError):  # who reads it says why
        return 0


def grouped(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield rows in groups of a size; the last one may be smaller.

    >>> list(grouped(range(5), 2))
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return (rows[start : start + size] for start in range(0, len(rows), size))


def filled(lengths: Sequence[int], rows: int, tokens: int) -> Iterator[slice]:
    """Yield which texts, one after another, go together: as many as so many tokens hold.

    Parameters
    ----------
    lengths
        Of the texts.
    rows, tokens
        The most of a group, padding to its longest text counted; one text may be longer.

    Examples
    --------
    >>> list(filled([2, 3, 3, 9], rows=4, tokens=8))
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """
    start, longest = 0, 0
    for i, length in enumerate(lengths):
        longest = max(longest, length)
        if i > start and (i - start == rows or (i - start + 1) * longest > tokens):
            yield slice(start, i)
            start, longest = i, length
    if lengths:
        yield slice(start, len(lengths))
