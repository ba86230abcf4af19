"""Intervals: how far a number can be trusted, and whether two models differ."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

#: The quantile of the normal law that leaves 2.5 % above it.
Z95 = 1.959963984540054
#: And the one that leaves 5 %.
Z90 = 1.6448536269514722


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval.

    >>> print(Interval(0.151, 0.184, 0.217))
    +0.184 [+0.151, +0.217]
    >>> f"{Interval(0.151, 0.184, 0.217):.1%}"
    '18.4% [15.1%, 21.7%]'
    """

    low: float
    mid: float
    high: float

    def __str__(self) -> str:
        return format(self, "+.3f")

    def __format__(self, spec: str) -> str:
        low, mid, high = (format(value, spec or "+.3f") for value in self)
        return f"{mid} [{low}, {high}]"

    def __iter__(self) -> Iterator[float]:
        return iter((self.low, self.mid, self.high))


def one_standard_error(differences: ArrayLike) -> float:
    """Return the standard error of the mean of paired differences; 0 for fewer than two.

    A simpler model is kept while it is within this of the better one (Breiman et al. 1984, §3.4.3).

    >>> one_standard_error([1.0, 3.0])  # deviation √2, over √2
    1.0
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return 0.0
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def surely_above(differences: ArrayLike) -> float:
    """Return what the mean of paired differences surely exceeds: 95 %, one-sided.

    One difference of the largest size is added on each side before the usual formula, as
    `paired_interval` does: three rows won of 92 and none lost are luck one time in eight.

    References
    ----------
    Bonett & Price 2012, as in `paired_interval`.

    Examples
    --------
    >>> [round(surely_above([1.0] * won + [0.0] * (92 - won)), 3) for won in (3, 9)]
    [-0.007, 0.04]
    """
    values = np.asarray(differences, dtype=np.float64)
    largest = np.abs(values).max(initial=0.0)
    wider = np.append(values, [largest, -largest])
    return float(wider.mean()) - Z90 * one_standard_error(wider)


def is_clear(gain: float, noise: float) -> bool:
    """Say whether a gain is more than its noise, and not equal to it but for rounding.

    One row won gains 1/n, and has a standard error of 1/n: it is never clear, whatever n is.

    >>> is_clear(1 / 50, one_standard_error([1.0] + [0.0] * 49)), is_clear(0.2, 0.1)
    (False, True)
    """
    return gain > noise and not math.isclose(gain, noise, rel_tol=1e-9)


def wilson(right: float, n: int) -> Interval:
    """Return the score interval of a share: `right` of `n`.

    Parameters
    ----------
    right
        How many; a mean over fits need not be whole.
    n
        Of how many.

    References
    ----------
    Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    Examples
    --------
    >>> print(f"{wilson(144, 153):.3f}")
    0.941 [0.892, 0.969]
    """
    share, z = right / n, Z95 / math.sqrt(n)
    center = (share + z * z / 2) / (1 + z * z)
    half = z * math.sqrt(share * (1 - share) + z * z / 4) / (1 + z * z)
    # At 0 and n of n an end is the share itself; rounding must not put it on the wrong side.
    return Interval(max(0.0, min(share, center - half)), share, min(1.0, max(share, center + half)))


def balanced(right: ArrayLike, classes: ArrayLike) -> Interval:
    """Return balanced accuracy, the mean over classes of the share of right rows.

    The interval of each class is Wilson's; they are put together by their distances from the
    shares (MOVER), so that the ends lie between 0 and 1.

    Parameters
    ----------
    right
        Shape (n,): whether a row is right.
    classes
        Shape (n,): the class of each row.

    References
    ----------
    Zou & Donner, Construction of confidence limits about effect measures: a general approach,
    2008. https://doi.org/10.1002/sim.3095

    Examples
    --------
    >>> print(f"{balanced([1] * 190 + [1] * 9 + [0], [0] * 190 + [1] * 10):.3f}")
    0.950 [0.798, 0.991]
    """
    hits, kinds = np.asarray(right, dtype=bool), np.asarray(classes)
    each = [wilson(int(hits[kinds == one].sum()), int((kinds == one).sum()))
            for one in np.unique(kinds)]  # fmt: skip
    low, mid, high = np.array([list(one) for one in each]).T
    below, above = (math.sqrt(float(np.square(end - mid).sum())) / len(each) for end in (low, high))
    mean = float(mid.mean())
    return Interval(max(0.0, mean - below), mean, min(1.0, mean + above))


def difference(a: Interval, b: Interval) -> Interval:
    """Return the interval of a − b, of two independent estimates, from their own (MOVER).

    >>> print(difference(Interval(0.8, 0.9, 0.95), Interval(0.5, 0.6, 0.7)))
    +0.300 [+0.159, +0.412]
    """
    mid = a.mid - b.mid
    below = math.hypot(a.mid - a.low, b.high - b.mid)
    above = math.hypot(a.high - a.mid, b.mid - b.low)
    return Interval(mid - below, mid, mid + above)


def mcnemar_mid_p(only_a: int, only_b: int) -> float:
    """Return the exact mid-p of McNemar's test that two models are right equally often.

    It looks at the rows where just one of them is right, and ignores the randomness of training.

    Parameters
    ----------
    only_a, only_b
        How many rows only the one model has right, and only the other.

    References
    ----------
    Fagerland, Lydersen & Laake, The McNemar test for binary matched-pairs data: mid-p and
    asymptotic are better than exact conditional, 2013. https://doi.org/10.1186/1471-2288-13-91

    Examples
    --------
    >>> mcnemar_mid_p(0, 3)  # both tails of 3 fair coins, the observed outcome counted half
    0.125
    >>> mcnemar_mid_p(1, 1), mcnemar_mid_p(0, 0)
    (0.75, 1.0)
    """
    n, least = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    below, observed = 0, 1  # ways to choose fewer than `least` of n, and exactly so many
    for i in range(least):
        below, observed = below + observed, observed * (n - i) // (i + 1)
    if only_a == only_b:
        return 1 - observed / 2 ** (n + 1)
    return (2 * below + observed) / 2**n


def paired_interval(a_correct: ArrayLike, b_correct: ArrayLike) -> Interval:
    """Return accuracy of `a` minus accuracy of `b` on the same rows, with its interval.

    One row is added to each kind of disagreement before the usual formula, which keeps the
    interval honest for few rows and for two models that never disagree.

    Parameters
    ----------
    a_correct, b_correct
        Shape (n,): whether each model has the row right.

    References
    ----------
    Bonett & Price, Adjusted Wald confidence interval for a difference of binomial proportions
    based on paired data, 2012, eq. 4. https://doi.org/10.3102/1076998611411915

    Examples
    --------
    >>> a, b = [1] * 95 + [0] * 5, [1] * 85 + [0] * 10 + [1] * 5  # 10 rows to a, 5 to b
    >>> print(paired_interval(a, b))
    +0.050 [-0.030, +0.128]
    """
    a, b = np.asarray(a_correct, dtype=bool), np.asarray(b_correct, dtype=bool)
    n = len(a)
    to_a, to_b = ((a & ~b).sum() + 1) / (n + 2), ((b & ~a).sum() + 1) / (n + 2)
    center = float(to_a - to_b)
    half = Z95 * math.sqrt((to_a + to_b - center**2) / (n + 2))
    mid = float(a.mean() - b.mean())
    return Interval(max(-1.0, center - half), mid, min(1.0, center + half))
