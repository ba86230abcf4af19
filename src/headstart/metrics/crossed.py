"""Gains on rows crossed with seeds: every seed scores the same test rows, so both must be new."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.metrics.interval import Interval
from headstart.metrics.scores import macro_f1, multilabel_macro_f1

Floats = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error, and the degrees of freedom behind that error.

    Parameters
    ----------
    mid
        The estimate.
    error
        Its standard error; infinite if nothing says how large it is.
    df
        Degrees of freedom of Student's law.

    Examples
    --------
    >>> print(Estimate(0.1, error=0.02, df=4).interval())  # 2.776 errors to each side
    +0.100 [+0.044, +0.156]
    """

    mid: float
    error: float
    df: float

    def interval(self, level: float = 0.95) -> Interval:
        """Return the Student interval."""
        half = _student(self.df, level) * self.error
        return Interval(self.mid - half, self.mid, self.mid + half)

    def smallest_gain(self, power: float = 0.8, level: float = 0.95) -> float:
        """Return the smallest true gain found, that is with an interval above 0, so often.

        It is a property of the study, not of what it found.

        References
        ----------
        Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2.

        Examples
        --------
        >>> found = Estimate(0.1, error=1.0, df=1e6)
        >>> round(found.smallest_gain(), 2)  # a normal law: 1.96 + 0.84 errors
        2.8
        >>> round(Estimate(0.1, error=1.0, df=4).smallest_gain(), 1)  # four degrees of freedom
        3.8
        """
        from scipy.special import nctdtrinc

        if not 0 < self.error < math.inf:  # fits that never differ do not show what would be found
            return math.inf
        return float(nctdtrinc(self.df, 1 - power, _student(self.df, level)) * self.error)


def power(errors: float, df: float, level: float = 0.95) -> float:
    """Return how often a true gain of so many standard errors is told from 0, on either side.

    References
    ----------
    Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2.

    Examples
    --------
    >>> round(power(2, df=4), 2), round(power(2, df=9), 2), round(power(0, df=9), 2)
    (0.34, 0.43, 0.05)
    """
    from scipy.special import nctdtr

    edge = _student(df, level)
    return float(1 - nctdtr(df, errors, edge) + nctdtr(df, errors, -edge))


def estimate(values: ArrayLike) -> Estimate:
    """Return the mean over rows and seeds, as far as it holds for new rows and new seeds.

    With R rows and S seeds, each seed on the same rows,

        variance = (MS_rows + MS_seeds − MS_residual) / (R·S)

    but not below MS_rows / (R·S) nor MS_residual / (R·S): where neither rows nor seeds matter, all
    three mean squares tell the same. And Satterthwaite's degrees of freedom of the mean squares it
    is made of, at least the fewer of R − 1 and S − 1.

    Parameters
    ----------
    values
        Shape (R, S): what each row gives to the difference of two models, for each seed. A single
        seed says nothing about other seeds, and then only rows count; so the other way round.

    References
    ----------
    Satterthwaite, An approximate distribution of estimates of variance components, 1946.
    https://doi.org/10.2307/3002019
    Dorfman, Berbaum & Metz, Receiver operating characteristic rating analysis: generalization to
    the population of readers and patients with the jackknife method, 1992.

    Examples
    --------
    Two rows, two seeds, mean 2: rows are worth ±1 and seeds ±1/2, so the mean squares are 4 and 1
    and nothing is left over; the variance is (4 + 1 − 0) / 4, with 5² / (4² + 1²) degrees.

    >>> found = estimate([[0.5, 1.5], [2.5, 3.5]])
    >>> found.mid, round(found.error**2, 4), round(found.df, 4)
    (2.0, 1.25, 1.4706)
    """
    table = np.asarray(values, dtype=np.float64)
    n_rows, n_seeds = table.shape
    if table.size < 2:
        return Estimate(float(table.mean()), math.inf, 1.0)
    rows, seeds, residual = _mean_squares(table)
    free = max(1, n_rows - 1), max(1, n_seeds - 1)
    whole, least, df = rows + seeds - residual, max(rows, residual), float(free[0])
    if whole > least:
        parts = rows**2 / free[0] + seeds**2 / free[1] + residual**2 / (free[0] * free[1])
        df = max(whole**2 / parts, min(free))
    error = math.sqrt(max(whole, least) / table.size)
    is_rounding = error < 1e-12 * float(np.abs(table).max())
    return Estimate(float(table.mean()), 0.0 if is_rounding else error, df)


def estimate_paired(differences: ArrayLike) -> Estimate:
    """Return the gain in accuracy over rows and seeds, as `estimate` does.

    Two models that hardly disagreed on these rows may do so on others: the error is at least that
    of two rows on which they do, one for each.

    Parameters
    ----------
    differences
        Shape (R, S): for each row and seed 1 where only the first model is right, −1 where only the
        second one is, else 0.

    Examples
    --------
    >>> print(estimate_paired([[1], [1]]).interval())  # two rows tell little
    +1.000 [-11.706, +13.706]
    >>> print(estimate_paired([[0]] * 100).interval())  # nor are a hundred all that there are
    +0.000 [-0.028, +0.028]
    """
    found, n = estimate(differences), len(np.asarray(differences))
    least = math.sqrt(2 / (n * max(1, n - 1)))
    return replace(found, error=max(found.error, least))


def crossed(values: ArrayLike, level: float = 0.95) -> Interval:
    """Return the mean of paired differences with its interval for new rows and new seeds.

    Parameters
    ----------
    values
        Shape (R, S), as in `estimate`.
    level
        How often the interval holds the truth.

    Examples
    --------
    >>> print(crossed([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]))  # variance (2 + 3/2 − 0) / 6
    +1.500 [-0.988, +3.988]
    """
    return estimate(values).interval(level)


def over_seeds(values: ArrayLike, level: float = 0.95) -> Interval:
    """Return the mean of one number a seed with its Student interval; rows are taken as given.

    Seeds that all gave the same number do not show how far others would be from it: the interval
    has no end.

    Parameters
    ----------
    values
        Shape (S,): a slope, an area, a logarithm of a time, measured with each seed.
    level
        How often the interval holds the truth.

    References
    ----------
    Student, The probable error of a mean, 1908.

    Examples
    --------
    >>> print(over_seeds([1.0, 3.0]))  # error 1, one degree of freedom: 12.7 to each side
    +2.000 [-10.706, +14.706]
    """
    found = estimate(np.asarray(values, dtype=np.float64)[None, :])
    return (found if found.error else replace(found, error=math.inf)).interval(level)


def jackknife(
    score: Callable[[Index, Index], float], n_rows: int, n_seeds: int, level: float = 0.95
) -> Interval:
    """Return a score that is no mean over rows with its interval for new rows and new seeds.

    The score is computed again without each row, for each seed: `n_rows · n_seeds` calls, each
    with one seed. For F1 `f1_gain` finds the same at once.

    Parameters
    ----------
    score
        From the indices of some rows and of some seeds to the gain on them, a mean over seeds.
    n_rows, n_seeds
        How many there are.
    level
        How often the interval holds the truth.

    References
    ----------
    Dorfman, Berbaum & Metz 1992, as in `estimate`.

    Examples
    --------
    >>> table = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]])
    >>> print(jackknife(lambda rows, seeds: table[np.ix_(rows, seeds)].mean(), 3, 2))
    +1.500 [-0.988, +3.988]
    """
    rows = np.arange(n_rows)
    seeds = [np.array([seed]) for seed in range(n_seeds)]
    whole = np.array([score(rows, seed) for seed in seeds])  # (S,)
    without = [[score(np.delete(rows, row), seed) for seed in seeds] for row in rows]
    return jackknifed(whole, without).interval(level)


def jackknifed(whole: ArrayLike, without: ArrayLike) -> Estimate:
    """Return the mean score over seeds, as far as it holds for new rows and new seeds.

    Parameters
    ----------
    whole
        Shape (S,): the gain of each seed on all rows.
    without
        Shape (R, S): the gain of each seed with one row left out.

    Examples
    --------
    >>> table = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]])
    >>> without = [np.delete(table, row, axis=0).mean(axis=0) for row in range(3)]
    >>> jackknifed(table.mean(axis=0), without) == estimate(table)
    True
    """
    found = estimate(pseudovalues(whole, without))
    return Estimate(float(np.mean(np.asarray(whole))), found.error, found.df)


def pseudovalues(whole: ArrayLike, without: ArrayLike) -> Floats:
    """Return what each row gives to a score, shape (R, S): R·score − (R − 1)·score without it.

    For a mean over rows they are the rows' own values.

    Parameters
    ----------
    whole, without
        As in `jackknifed`.

    References
    ----------
    Tukey, Bias and confidence in not-quite large samples, 1958.

    Examples
    --------
    >>> pseudovalues([2.0], [[2.5], [2.0], [1.5]]).ravel()  # means of 1, 2, 3 without each
    array([1., 2., 3.])
    """
    left = np.asarray(without, dtype=np.float64)  # (R, S)
    n = len(left)
    return np.asarray(n * np.asarray(whole, dtype=np.float64) - (n - 1) * left)


def f1_gain(
    targets: ArrayLike, transfer: Sequence[ArrayLike], control: Sequence[ArrayLike]
) -> Estimate:
    """Return macro-F1 of one arm minus that of another, by the jackknife, over all seeds.

    Parameters
    ----------
    targets
        Shape (n,), the index of the class, or (n, k) for several labels, 0 or 1.
    transfer, control
        What each arm said with each seed, of the shape of the targets.

    Examples
    --------
    >>> found = f1_gain([0, 0, 1, 1], [[0, 0, 1, 1]], [[0, 0, 0, 1]])  # 1 − (4/5 + 2/3) / 2
    >>> round(found.mid, 4)
    0.2667
    """
    truth = np.asarray(targets)
    ours, theirs = _f1_by_seed(truth, transfer), _f1_by_seed(truth, control)
    return jackknifed(ours[0] - theirs[0], ours[1] - theirs[1])


def macro_f1_left_out(targets: ArrayLike, predicted: ArrayLike) -> Floats:
    """Return macro-F1 with each row left out, shape (n,); in one pass.

    Parameters
    ----------
    targets, predicted
        Shape (n,), the index of the class.

    Examples
    --------
    >>> macro_f1_left_out([0, 1, 1], [0, 1, 0])  # only class 1; F1 0 and 0; 1 and 1
    array([0.33333333, 0.33333333, 1.        ])
    """
    truth, said = np.asarray(targets), np.asarray(predicted)
    k = int(max(truth.max(), said.max())) + 1
    hits = np.bincount(truth[truth == said], minlength=k)
    either = np.bincount(truth, minlength=k) + np.bincount(said, minlength=k)
    right = truth == said
    f1, n_classes = _f1(hits, either), np.count_nonzero(either)
    # A row that is right takes a hit and both its counts from one class, else one count from two.
    left = either[truth] - 1 - right, either[said] - 1 - right
    new = _f1(hits[truth] - right, left[0]), _f1(hits[said], left[1])
    change = new[0] - f1[truth] + np.where(right, 0.0, new[1] - f1[said])
    gone = (left[0] == 0).astype(int) + (~right & (left[1] == 0))
    return np.asarray((f1.sum() + change) / np.maximum(n_classes - gone, 1))


def r2_left_out(targets: ArrayLike, predicted: ArrayLike) -> Floats:
    """Return R² with each row left out, shape (n,); in one pass.

    Parameters
    ----------
    targets, predicted
        Shape (n,).

    Examples
    --------
    >>> r2_left_out([1.0, 2.0, 3.0, 6.0], [1.0, 2.0, 4.0, 6.0]).round(4)  # 23/26, 35/38, 1, 1/2
    array([0.8846, 0.9211, 1.    , 0.5   ])
    """
    truth, said = np.asarray(targets, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    n, away, missed = len(truth), truth - truth.mean(), (truth - said) ** 2
    left = missed.sum() - missed
    whole = (away**2).sum() - away**2 * n / (n - 1)
    varies = whole > max(1e-12 * (away**2).sum(), 1e-24 * (truth**2).sum())
    return np.where(varies, 1 - left / np.where(varies, whole, 1.0), left == 0)


def multilabel_macro_f1_left_out(targets: ArrayLike, predicted: ArrayLike) -> Floats:
    """Return the mean over labels of F1 with each row left out, shape (n,).

    Parameters
    ----------
    targets, predicted
        Shape (n, k), 0 or 1.

    Examples
    --------
    >>> multilabel_macro_f1_left_out([[1, 0], [1, 1]], [[1, 0], [0, 1]])  # 0 and 1; 1 and 0
    array([0.5, 0.5])
    """
    truth, said = np.asarray(targets, dtype=bool), np.asarray(predicted, dtype=bool)
    hits, either = truth & said, truth.astype(int) + said  # (n, k)
    return np.asarray(_f1(hits.sum(axis=0) - hits, either.sum(axis=0) - either).mean(axis=1))


def _f1_by_seed(truth: NDArray[np.int64], said: Sequence[ArrayLike]) -> tuple[Floats, Floats]:
    # Of each seed on all rows, (S,), and with each row left out, (R, S).
    if truth.ndim == 1:
        whole, left_out = macro_f1, macro_f1_left_out
    else:
        whole, left_out = multilabel_macro_f1, multilabel_macro_f1_left_out
    without = [left_out(truth, one) for one in said]
    return np.array([whole(truth, one) for one in said]), np.stack(without, axis=1)


def _f1(hits: NDArray[np.int64], either: NDArray[np.int64]) -> Floats:
    return np.asarray(2 * hits / np.maximum(either, 1))


def _mean_squares(table: Floats) -> tuple[float, float, float]:
    # Of rows, of seeds, and of what the two together leave over; 0 where there is only one.
    n_rows, n_seeds = table.shape
    centered = table - table.mean()
    row, seed = centered.mean(axis=1), centered.mean(axis=0)  # (R,), (S,)
    left = centered - row[:, None] - seed
    free_rows, free_seeds = max(1, n_rows - 1), max(1, n_seeds - 1)
    return (
        float(n_seeds * (row**2).sum() / free_rows),
        float(n_rows * (seed**2).sum() / free_seeds),
        float((left**2).sum() / (free_rows * free_seeds)),
    )


def _student(df: float, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, (1 + level) / 2))
