"""Design: the rows of a convex problem, scaled, and turned so that solving is quick.

Features are standardized, then turned onto the principal axes of the rows. Along those axes a
convex problem of a linear head is nearly diagonal, and where there are fewer rows than features
it has only as many unknowns as rows; for a penalty on the sum of squares this changes nothing in
the solution. Few rows are turned once and held; many stay on disk and are read in chunks.
"""

import functools
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.features.features import Features
from headstart.machine import n_threads

T = TypeVar("T")

#: Rows a chunk: what a chunk makes stays in the processor's cache.
CHUNK = 2048
#: Above this many bytes in float32 the rows are read from where they are at every pass.
HELD_BYTES = 256 * 2**20
#: Up to this many values the rows are held in float64.
EXACT_VALUES = 1_000_000
#: Values closer than this share of their column's mean are one value, as far as it can tell.
RESOLUTION = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-12}
#: The principal axes are sought among at most so many features, or rows; their cost is cubic.
AXES = 2048
#: How many rows the axes are estimated from where the rows are not held.
AXES_ROWS = 20_000

#: A unit of a network whose spread is below this share of the median one's says nothing.
DEAD = 1e-4

#: A network's columns count as if so many more rows had shown the spread they have on average: that
#: of a column is not to be read off a few rows, and a wrong one blows the column up.
PRIOR_ROWS = 300

#: The key of features that are the rows themselves, whose columns may have any scale.
IDENTITY = "identity"


@dataclass(frozen=True)
class Scaler:
    """What standardizes features: (x − mean) · inverse, each of shape (d,)."""

    mean: NDArray[np.float64]
    inverse: NDArray[np.float64]

    def apply(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the standardized rows, in their own precision.

        >>> Scaler(np.array([1.0]), np.array([0.5])).apply(np.array([[3.0]]))
        array([[1.]])
        """
        scaled = rows - self.mean.astype(rows.dtype)
        scaled *= self.inverse.astype(rows.dtype)
        return scaled

    def fold(
        self, weight: NDArray[np.floating], bias: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weight (k, d) and bias (k,) that say of raw features the same as of scaled ones.

        >>> Scaler(np.array([1.0]), np.array([0.5])).fold(np.array([[2.0]]), np.array([3.0]))
        (array([[1.]]), array([2.]))
        """
        raw = weight.astype(np.float64) * self.inverse
        return raw, bias - raw @ self.mean


def level_and_spread(
    numbers: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the mean of numbers to be learned and their standard deviation; 1 where all are equal.

    Parameters
    ----------
    numbers, weight
        Shape (n,): each, and how much it counts.

    Examples
    --------
    >>> level_and_spread(np.array([3.0, 7.0, 1e6]), np.array([1.0, 1.0, 0.0]))
    (5.0, 2.0)
    >>> level_and_spread(np.array([0.1, 0.1, 0.1]), np.ones(3))
    (0.1, 1.0)
    """
    if not (total := weight.sum()):
        return 0.0, 1.0
    first = numbers[0]
    level = first + weight @ (numbers - first) / total  # of equal numbers it is theirs, exactly
    spread = np.sqrt(weight @ (numbers - level) ** 2 / total)
    return float(level), float(spread) or 1.0


def scaler_of(features: Features, weight: NDArray[np.float64]) -> Scaler:
    """Return what gives every feature mean 0 and variance 1; a constant one becomes 0.

    The variances of a network's features are drawn towards their mean, as by `PRIOR_ROWS` more
    rows: in full where there are a handful of rows, hardly where there are thousands. Columns of
    the user's own are of any scale, and taken as they are.

    Parameters
    ----------
    weight
        How much each row counts, shape (n,).

    Raises
    ------
    DataError
        Where a value is not finite; it names the rows.

    References
    ----------
    Chan, Golub & LeVeque, Algorithms for computing the sample variance, 1983, eq. 2.1.

    Examples
    --------
    >>> rows = Features.of(np.array([[1.0, 7.0], [5.0, 7.0]]), key=IDENTITY)
    >>> scaler = scaler_of(rows, np.ones(2))
    >>> scaler.mean.tolist(), scaler.inverse.tolist()
    ([3.0, 7.0], [0.5, 0.0])
    """
    d, total = features.shape[0], 0.0
    mean, spread = np.zeros(d), np.zeros(d)
    for at, rows in features.chunks(CHUNK):
        counts = weight[at]
        if not (here := counts.sum()):
            continue
        middle = (counts @ rows) / here
        _check_finite(middle, rows, at)
        shift = middle - mean
        total += here
        mean += shift * (here / total)
        spread += counts @ np.square(rows - middle) + shift**2 * (here * (total - here) / total)
    deviation = np.sqrt(spread / total)
    varies = deviation > RESOLUTION[features.dtype] * np.abs(mean)
    if features.key != IDENTITY:
        # A dead unit of a network still trembles; blown up to variance 1 its weight would be
        # millions, and the first step of fine-tuning would shake the head to pieces.
        varies &= deviation > DEAD * np.median(deviation)
        deviation = np.sqrt(_drawn_together(spread / total, varies, features, weight))
    return Scaler(mean, np.divide(1.0, deviation, out=np.zeros(d), where=varies))


def _drawn_together(
    variance: NDArray[np.float64],
    varies: NDArray[np.bool_],
    features: Features,
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return variances nearer to the mean one of their boundary, the fewer the rows."""
    n = weight.sum()
    drawn, start = variance.copy(), 0
    for part in features.parts:
        at = slice(start, start := start + part.shape[0])
        if varies[at].any():
            mean = variance[at][varies[at]].mean()
            drawn[at] = (n * variance[at] + PRIOR_ROWS * mean) / (n + PRIOR_ROWS)
    return drawn


def _check_finite(middle: NDArray[np.float64], rows: NDArray[np.floating], at: slice) -> None:
    if np.isfinite(middle).all():
        return
    bad = at.start + np.flatnonzero(~np.isfinite(rows).all(axis=1))
    raise DataError(
        f"{len(bad)} rows have features that are not finite, the first being number {bad[0]}.\n"
        "Expected finite numbers: leave these rows out, or fill in what is missing."
    )


class Rows(Protocol):
    """The rows of one problem, with unknowns `weight` of shape (k, r)."""

    @property
    def variance(self) -> NDArray[np.float64]:
        """The variance along each unknown's axis, shape (r,); it may be an estimate."""
        ...

    def __len__(self) -> int: ...

    def take(self, index: NDArray[np.int64]) -> "Rows":
        """Return some of the rows, with the same unknowns."""
        ...

    def chunk(self, at: slice) -> NDArray[Any]:
        """Return the values of a slice of the rows; several threads may ask at once."""
        ...

    def inward(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what to multiply a chunk's values by, for unknowns of shape (k, r)."""
        ...

    def outward(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient for the unknowns, given the one for `inward`'s result."""
        ...

    def standard(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weight (k, d) of standardized features, for unknowns of shape (k, r)."""
        ...


@dataclass(frozen=True)
class Held:
    """Rows held in memory, turned onto their principal axes already.

    Parameters
    ----------
    values
        Shape (n, r).
    axes
        Shape (d, r), orthonormal columns; None where the rows were not turned.
    variance
        Shape (r,).
    """

    values: NDArray[Any]
    axes: NDArray[np.float64] | None
    variance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: NDArray[np.int64]) -> "Held":
        """Return some of the rows, copied."""
        return Held(self.values[index], self.axes, self.variance)

    def chunk(self, at: slice) -> NDArray[Any]:
        """Return a view of the values."""
        return self.values[at]

    def inward(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the unknowns: the rows are turned already."""
        return weight

    def outward(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient: the rows are turned already."""
        return gradient

    def standard(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn the unknowns back."""
        return weight if self.axes is None else weight @ self.axes.T


@dataclass(frozen=True)
class Streamed:
    """Rows read from where they are at every pass; the unknowns are turned, not the rows.

    Parameters
    ----------
    features
        Where they are.
    scaler
        What standardizes a chunk.
    axes, variance
        As in `Held`, estimated from some of the rows.
    """

    features: Features
    scaler: Scaler
    axes: NDArray[np.float64] | None
    variance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.features)

    def take(self, index: NDArray[np.int64]) -> "Streamed":
        """Return some of the rows; nothing is copied."""
        return Streamed(self.features.take(index), self.scaler, self.axes, self.variance)

    def chunk(self, at: slice) -> NDArray[Any]:
        """Return standardized float32 values; float64 ones are cast once they are near zero."""
        return self.scaler.apply(self.features.batch(at)).astype(np.float32, copy=False)

    def inward(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn the unknowns back: the rows are not turned."""
        return weight if self.axes is None else weight @ self.axes.T

    def outward(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn the gradient."""
        return gradient if self.axes is None else gradient @ self.axes

    def standard(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn the unknowns back."""
        return self.inward(weight)


def design(features: Features, scaler: Scaler, held_bytes: int = HELD_BYTES) -> Rows:
    """Return the rows as a convex problem sees them: held where they are few, else streamed."""
    n, d = len(features), features.shape[0]
    if n * d * 4 <= held_bytes:
        values = _values(features, scaler, np.float64 if n * d <= EXACT_VALUES else np.float32)
        axes, variance = _axes(values)
        turned = values if axes is None else values @ axes.astype(values.dtype)
        return Held(turned, axes, variance)
    some = features.take(np.linspace(0, n - 1, min(n, AXES_ROWS)).astype(np.int64))
    return Streamed(features, scaler, *_axes(_values(some, scaler, np.float32), whole=False))


def _values(features: Features, scaler: Scaler, dtype: Any) -> NDArray[Any]:
    values = np.empty((len(features), features.shape[0]), dtype=dtype)
    for at, rows in features.chunks(CHUNK):
        # Standardized in the finer precision of the two, then cast.
        values[at] = scaler.apply(rows.astype(np.result_type(rows, dtype), copy=False))
    return values


def _axes(
    values: NDArray[Any], *, whole: bool = True
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
    """Return the principal axes (d, r) of standardized values, and the variance along each.

    Parameters
    ----------
    whole
        Whether these are all the rows: axes along which they do not vary are then left out.
    """
    n, d = values.shape
    if min(n, d) > AXES or (not whole and d > AXES):
        return None, np.ones(d)
    if n < d and whole:
        squares, left = np.linalg.eigh(_gram(values.T))  # the rows' own products are fewer
        some = squares > 1e-10 * max(squares[-1], 1e-30)
        turned = values.T.astype(np.float64) @ left[:, some]
        return turned / np.sqrt(squares[some]), squares[some] / n
    squares, axes = np.linalg.eigh(_gram(values))
    return axes, np.maximum(squares, 0) / n


def _gram(values: NDArray[Any]) -> NDArray[np.float64]:
    # In float64: the small squares matter, and float32 would drown them in the large ones.
    def square(at: slice) -> tuple[Any, ...]:
        rows = values[at].astype(np.float64)
        return (rows.T @ rows,)

    return np.asarray(summed(square, len(values))[0])


def summed(work: Callable[[slice], tuple[Any, ...]], n: int) -> tuple[Any, ...]:
    """Return the sums, in float64, of what the work on each chunk of `n` rows returns.

    >>> summed(lambda at: (at.stop - at.start, np.ones(2)), 5000)
    (np.float64(5000.0), array([3., 3.]))
    """
    parts = in_order(work, n)
    totals = [np.array(value, dtype=np.float64) for value in next(parts)]
    for part in parts:
        for total, value in zip(totals, part, strict=True):
            np.add(total, value, out=total)
    return tuple(total[()] for total in totals)  # [()]: a number where there are no axes


def in_order(work: Callable[[slice], T], n: int) -> Iterator[T]:
    """Yield the work done on each chunk of `n` rows, in their order, several at a time.

    The chunks and the order of the results do not depend on the number of threads, so neither do
    the last bits of a sum over them, as long as each chunk's work runs in one thread.

    >>> list(in_order(lambda at: at.stop - at.start, 5000))
    [2048, 2048, 904]
    """
    slices = deque(slice(i, min(i + CHUNK, n)) for i in range(0, n, CHUNK))
    if len(slices) < 2 or n_threads() == 1:
        yield from map(work, slices)
        return
    pool, ahead = _pool(n_threads()), deque[Future[T]]()
    while slices or ahead:
        while slices and len(ahead) <= n_threads():  # no more results wait than can be held
            ahead.append(pool.submit(work, slices.popleft()))
        yield ahead.popleft().result()


@functools.cache
def _pool(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n, thread_name_prefix="headstart-head")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # no thread of it is left in a child
