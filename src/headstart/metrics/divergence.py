"""Divergence: whether two samples come from one law, how far apart they are, which rows differ."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.machine import seeds

#: The share of its mean diagonal that is added to a kernel: ridge regression of standard rows.
RIDGE = 1.0

#: The same where rows are told by the known ones: as good as all they have in common.
SMALL_RIDGE = 0.1

#: A column whose deviation is below this share of its mean holds one value, rounded.
ROUNDING = 1e-9

#: New rows that are explained at once.
BLOCK = 4096

#: Fewer scores than these say nothing of a tail.
N_TAIL = 10


@dataclass(frozen=True)
class TwoSample:
    """How well a classifier tells two samples apart on rows it has not seen.

    Parameters
    ----------
    auc
        The chance that it ranks a row of the second sample above one of the first; ½ by guessing.
    p
        How often guessing would do as well.
    n_a, n_b
        Rows of each sample.
    """

    auc: float
    p: float
    n_a: int
    n_b: int

    @property
    def distance(self) -> float:
        """The proxy A-distance that the AUC stands for, from 0 (one law) to 2 (apart)."""
        return max(0.0, proxy_a_distance(1 - self.auc))


def proxy_a_distance(error: float) -> float:
    """Return 2 (1 − 2ε): 0 where a classifier of two domains can but guess, 2 where it never errs.

    Parameters
    ----------
    error
        ε, the share of unseen rows whose domain it gets wrong.

    References
    ----------
    Ben-David et al., Analysis of representations for domain adaptation, 2006, §4.

    Examples
    --------
    >>> proxy_a_distance(0.5), proxy_a_distance(0.125), proxy_a_distance(0.0)
    (0.0, 1.5, 2.0)
    """
    return 2 * (1 - 2 * error)


def areas(scores: ArrayLike, sides: ArrayLike) -> NDArray[np.float64]:
    """Return the area under the ROC curve of each column: the Mann–Whitney statistic, as a share.

    Parameters
    ----------
    scores
        Shape (n, c); ties count a half.
    sides
        Shape (n, c): 1 where the row is of the second sample, else 0. Both must occur.

    Examples
    --------
    >>> areas([[0.1], [0.4], [0.4], [0.9]], [[0], [1], [0], [1]])  # 3½ of 4 pairs
    array([0.875])
    """
    values, second = np.asarray(scores), np.asarray(sides, dtype=np.float64)  # (n, c)
    ranks = np.stack([_ranks(column) for column in values.T], axis=1)
    n_b = second.sum(axis=0)
    n_a = len(ranks) - n_b
    return np.asarray(((ranks * second).sum(axis=0) - n_b * (n_b + 1) / 2) / (n_a * n_b))


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return ranks from 1 up, the mean rank where values are equal; shape (n,)."""
    # `scipy.stats.rankdata` is the same; its import would take longer than many a prediction.
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    return (below + np.searchsorted(ordered, values, side="right") + 1) / 2


def frechet(mean: ArrayLike, std: ArrayLike, rows: ArrayLike) -> float:
    """Return how far rows lie from a reference, in units of the reference's own spread.

    It is the Fréchet (2-Wasserstein) distance between Gaussians whose coordinates are independent,
    √(Σ (μ − μ')² + Σ (σ − σ')²), over √(Σ σ²) of the reference: 0 for rows like it, 1 where
    they are off by as much as rows of the reference differ from one another.

    Parameters
    ----------
    mean, std
        Of the reference, shape (d,).
    rows
        Shape (n, d).

    References
    ----------
    Dowson & Landau, The Fréchet distance between multivariate normal distributions, 1982.

    Examples
    --------
    >>> frechet([0.0, 0.0], [3.0, 4.0], [[-3.0, -4.0], [3.0, 4.0]])
    0.0
    >>> frechet([0.0, 0.0], [3.0, 4.0], [[5.0, -4.0], [11.0, 4.0]])  # eight off, of a spread of 5
    1.6
    """
    mu, sigma = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    values = np.asarray(rows, dtype=np.float64)
    off = np.square(values.mean(axis=0) - mu).sum() + np.square(values.std(axis=0) - sigma).sum()
    return float(np.sqrt(off / max(float(np.square(sigma).sum()), 1e-300)))


def classifier_test(
    a: ArrayLike, b: ArrayLike, *, folds: int = 5, permutations: int = 199, seed: int = 0
) -> TwoSample:
    """Return whether a classifier can tell two samples apart, and how often guessing would.

    A ridge classifier is cross-fitted: each row is judged by one that has not seen it. What it
    says is linear in the sides of the other rows, so every permutation is refitted, exactly, by
    one product of matrices. p = (1 + permutations at least as good) / (1 + permutations), which
    falls below any level no more often than that level where both samples have one law.

    Rows of equal content share a fold, and change sides together where none stands on both: twins
    that a split kept together are no sign of a shift.

    Parameters
    ----------
    a, b
        Features of shape (n, d) and (m, d).
    folds
        Of the cross-fitting.
    permutations
        How many; p is at least 1 / (1 + permutations).
    seed
        Of folds and permutations.

    References
    ----------
    Lopez-Paz & Oquab, Revisiting classifier two-sample tests, 2017.
    https://arxiv.org/abs/1610.06545
    Phipson & Smyth, Permutation p-values should never be zero, 2010.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(80, 3))
    >>> near, far = classifier_test(rows[:40], rows[40:]), classifier_test(rows[:40], rows[40:] + 2)
    >>> near.p > 0.05, far.p, far.auc > 0.95
    (True, 0.005, True)
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    rows = np.concatenate([first, second])  # (n + m, d)
    side = np.repeat([0.0, 1.0], [len(first), len(second)])
    rng, group = seeds(seed, "two samples"), _groups(rows)
    says = _cross_fitted(_kernel(rows), rng.permutation(group.max() + 1)[group] % folds)
    sides = _dealt(side, group, permutations, rng)  # (n + m, 1 + permutations)
    found = areas(says @ sides, sides)
    p = (1 + np.count_nonzero(found[1:] >= found[0] - 1e-12)) / (1 + permutations)
    return TwoSample(float(found[0]), float(p), len(first), len(second))


def _groups(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of each row's content; shape (n,)."""
    number: dict[bytes, int] = {}
    return np.array([number.setdefault(row.tobytes(), len(number)) for row in rows])


def _dealt(
    side: NDArray[np.float64], group: NDArray[np.int64], n: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the sides, then `n` deals of them to whole groups where none stands on both sides.

    The shape is (rows, 1 + n).
    """
    own = side[np.unique(group, return_index=True)[1]]
    if not np.array_equal(own[group], side):  # a group stands on both
        own, group = side, np.arange(len(side))
    deals = rng.permuted(np.broadcast_to(own, (n, len(own))), axis=1)
    return np.concatenate([side[:, None], deals.T[group]], axis=1)


def _kernel(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the products of standardized rows, of mean diagonal 1; shape (n, n)."""
    center = rows.mean(axis=0)
    moved = (rows - center) / _spread(rows, center)
    products = moved @ moved.T
    return np.asarray(products / (np.trace(products) / len(rows) or 1.0))


def _spread(rows: NDArray[np.float64], center: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the deviation of each column, 1 where it is one value but for rounding."""
    spread = rows.std(axis=0)
    return np.where(spread > ROUNDING * np.abs(center), spread, 1)


def _cross_fitted(kernel: NDArray[np.float64], fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the matrix that turns the sides of all rows into what is said of each unseen."""
    says = np.zeros_like(kernel)  # (n, n); zero where a row would tell of itself
    for judged in np.unique(fold):
        out, fit = np.flatnonzero(fold == judged), np.flatnonzero(fold != judged)
        if len(fit):
            ridged = kernel[np.ix_(fit, fit)] + RIDGE * np.eye(len(fit))
            weight = np.linalg.solve(ridged, kernel[np.ix_(fit, out)]).T  # (out, fit)
            says[np.ix_(out, fit)] = weight - weight.mean(axis=1, keepdims=True)
    return says


def novelty(known: ArrayLike, new: ArrayLike) -> NDArray[np.float64]:
    """Return how much of each new row a mixture of known rows leaves unexplained; shape (m,).

    It is the variance of a Gaussian process with a linear kernel, given the known rows, in columns
    of mean 0 and variance 1: k(x, x) − k(x, K) (K K' + r)⁻¹ k(K, x). With more columns than rows it
    grows off the plane of the known rows, with fewer it is a Mahalanobis distance in disguise.

    Parameters
    ----------
    known, new
        Shape (n, d) and (m, d).

    References
    ----------
    Rasmussen & Williams, Gaussian processes for machine learning, 2006, eq. 2.26.

    Examples
    --------
    >>> known = [[-1.0, 0.0], [1.0, 0.0], [0.0, 0.1], [0.0, -0.1]]
    >>> novelty(known, [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).round(1)
    array([0. , 0.1, 9.5])
    """
    rows, others = np.asarray(known, dtype=np.float64), np.asarray(new)
    center = rows.mean(axis=0)
    spread = _spread(rows, center)
    rows = (rows - center) / spread  # (n, d)
    products = rows @ rows.T
    ridge = SMALL_RIDGE * (np.trace(products) / len(rows) or 1.0)
    inverse = np.linalg.inv(products + ridge * np.eye(len(rows)))
    found = np.zeros(len(others))
    for at in range(0, len(others), BLOCK):
        block = (others[at : at + BLOCK] - center) / spread  # (b, d)
        likeness = block @ rows.T  # (b, n)
        explained = np.einsum("bn,bn->b", likeness @ inverse, likeness)
        found[at : at + BLOCK] = (block**2).sum(axis=1) - explained
    return np.maximum(found, 0)


def cross_novelty(known: ArrayLike, folds: int = 5) -> NDArray[np.float64]:
    """Return the `novelty` of each known row to those of the other folds; shape (n,).

    >>> cross_novelty([[-1.0], [1.0], [-1.0], [1.0], [5.0]]).argmax()
    np.int64(4)
    """
    rows = np.asarray(known, dtype=np.float64)
    fold, found = np.arange(len(rows)) % folds, np.zeros(len(rows))
    for judged in range(min(folds, len(rows))):
        found[fold == judged] = novelty(rows[fold != judged], rows[fold == judged])
    return found


def conformal_p(known: ArrayLike, new: ArrayLike) -> NDArray[np.float64]:
    """Return how often a row of the known law would score as high as each new one; shape (m,).

    Up to the highest known score it is the rank: (1 + known scores at least as high) / (1 + n),
    which holds for any law. Above it, where ranks cannot tell more, the tail is taken to fall as
    a power of the score, with Hill's exponent made slower by two of its standard errors.

    Parameters
    ----------
    known
        Scores (above 0) of rows that were left out when the score was made, shape (n,).
    new
        Shape (m,).

    References
    ----------
    Bates, Candès, Lei, Romano & Sesia, Testing for outliers with conformal p-values, 2023.
    https://arxiv.org/abs/2104.08279
    Hill, A simple general approach to inference about the tail of a distribution, 1975.

    Examples
    --------
    >>> conformal_p([1.0, 2.0, 3.0], [0.0, 2.5, 3.0])
    array([1. , 0.5, 0.5])
    """
    tiny = np.finfo(np.float64).tiny
    ordered = np.log(np.maximum(np.sort(np.asarray(known, dtype=np.float64)), tiny))
    scores = np.log(np.maximum(np.asarray(new, dtype=np.float64), tiny))
    n = len(ordered)
    at_least = n - np.searchsorted(ordered, scores, side="left")
    beyond = np.maximum(0, scores - ordered[-1]) / _tail(ordered)
    return np.asarray((1 + at_least) / (1 + n) * np.exp(-beyond))


def _tail(ordered: NDArray[np.float64]) -> float:
    """Return the mean excess of the highest tenth of log scores, two standard errors up."""
    n_top = len(ordered) // 10
    if n_top < N_TAIL:
        return float("inf")
    excess = float((ordered[-n_top:] - ordered[-n_top - 1]).mean())
    return excess * (1 + 2 / n_top**0.5) if excess > 0 else float("inf")


def false_discovery(p: ArrayLike, level: float) -> NDArray[np.bool_]:
    """Return which hypotheses to reject so that at most `level` of those are true, on average.

    Where all are true, any is rejected with a chance of at most `level`.

    References
    ----------
    Benjamini & Hochberg, Controlling the false discovery rate, 1995.

    Examples
    --------
    >>> false_discovery([0.01, 0.04, 0.03, 0.9], 0.05)  # limits .0125, .025, .0375, .05
    array([ True, False, False, False])
    >>> false_discovery([0.01, 0.02, 0.03, 0.9], 0.05)
    array([ True,  True,  True, False])
    """
    values = np.asarray(p, dtype=np.float64)
    ordered = np.sort(values)
    passes = np.flatnonzero(ordered <= level * np.arange(1, len(values) + 1) / max(1, len(values)))
    return values <= (ordered[passes[-1]] if len(passes) else -1.0)
