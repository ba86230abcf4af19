"""Are the intervals honest? Simulated studies whose truth is known, by the thousand.

A simulated study is a whole one: two transfer arms and four control arms, each scored on validation
rows of its own for each seed, the best of either side chosen on validation, and only those two read
on the same test rows with every seed. A seed that is lucky on validation is lucky on test too, so
choosing is not harmless, and is inside.

Scores are *numbers* (normal, so that the standard error of the gain is exactly 1 and every share of
it is set), or *right or wrong* (a normal behind each row, cut at 0), or macro-F1 of those.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from bench.measure import Row, Study
from headstart.metrics.crossed import (
    Estimate,
    estimate,
    estimate_paired,
    f1_gain,
    power,
)

Floats = NDArray[np.float64]
Rule = Callable[[Floats], Estimate]

SIZES = {"quick": {}, "full": {}}
N_STUDIES, N_ROWS, N_VALIDATION, N_TRANSFER, N_CONTROL = 1000, 200, 100, 2, 4
#: The bound that a true 5 % keeps below in 1,000 studies (mean and two deviations).
MOST_DECIDED = 0.064
#: How far apart arms lie behind right or wrong, where they are near each other.
NEAR = 0.1
#: The share of rows of the first class where F1 is the score.
LARGE_CLASS = 0.8


@dataclass(frozen=True)
class Regime:
    """Where randomness comes from.

    Parameters
    ----------
    name
        For people.
    rows, seeds, rest
        Shares of the variance of the mean gain; the rest is the interaction of row and seed.
    latent
        For right or wrong: shares of what is behind a row that come from how hard the row is for
        every arm, from arm and row, from arm and seed; all else is interaction.
    most_covered
        How often intervals may hold the truth.
    """

    name: str
    rows: float
    seeds: float
    rest: float
    latent: tuple[float, float, float]
    most_covered: float = 0.97


SEEDS = Regime("seeds dominate", 0.02, 0.96, 0.02, (0.3, 0.05, 0.2))
ROWS = Regime("rows dominate", 0.9, 0.05, 0.05, (0.3, 0.5, 0.0005), most_covered=0.985)
INTERACTION = Regime("interaction dominates", 0.05, 0.05, 0.9, (0.2, 0.02, 0.0005))
REGIMES = (SEEDS, ROWS, INTERACTION)
#: Where few seeds are misread the most: they matter, and the rows do too.
MOSTLY_SEEDS = Regime("seeds are 85 %", 0.15, 0.85, 0.0, (0.3, 0.05, 0.2))
KINDS = ("numbers", "right or wrong", "macro-F1")


@dataclass(frozen=True)
class Simulated:
    """Studies that are over: test scores of the two chosen arms, and what is true of them.

    Parameters
    ----------
    transfer, control
        Shape (studies, R, S): what each test row gives.
    means
        Shape (studies, 2): the true means of the chosen pair.
    truths
        Shape (studies, 2): their mean scores over all rows and seeds there could be.
    """

    transfer: Floats
    control: Floats
    means: Floats
    truths: Floats


def numbers(
    regime: Regime, means: Floats, n_seeds: int, rng: np.random.Generator, n_rows: int = N_ROWS
) -> Simulated:
    """Simulate studies of normal scores; the gain has a standard error of 1.

    Parameters
    ----------
    means
        Shape (studies, arms): the true score of each arm, transfer arms first.
    """
    row, seed = regime.rows * n_rows / 2, regime.seeds * n_seeds / 2
    rest = regime.rest * n_rows * n_seeds / 2
    of_seed = _normal(rng, seed, *means.shape, n_seeds)  # (studies, arms, S)
    noise = _normal(rng, (row + rest) / N_VALIDATION, *means.shape, n_seeds)
    pair = _chosen((means[..., None] + of_seed + noise).mean(axis=2))  # (studies, 2)
    fixed = _of(means, pair)[..., None] + _of(of_seed, pair)  # (studies, 2, S)
    scores = fixed[:, :, None, :] + _normal(rng, row, *pair.shape, n_rows, 1)
    scores += _normal(rng, rest, *pair.shape, n_rows, n_seeds)
    true = _of(means, pair)
    return Simulated(scores[:, 0], scores[:, 1], true, true)


def rights(
    regime: Regime, means: Floats, n_seeds: int, rng: np.random.Generator, n_rows: int = N_ROWS
) -> Simulated:
    """Simulate studies of right or wrong; an arm of mean m is right at Φ(m) of all rows."""
    hard, row, seed = regime.latent
    rest = 1 - hard - row - seed
    of_seed = means[..., None] + _normal(rng, seed, *means.shape, n_seeds)
    seen = rng.binomial(N_VALIDATION, ndtr(of_seed / np.sqrt(1 - seed)))
    pair = _chosen(seen.mean(axis=2))
    behind = _normal(rng, hard, len(means), 1, n_rows, 1) + _normal(
        rng, row, *pair.shape, n_rows, 1
    )
    behind = behind + _normal(rng, rest, *pair.shape, n_rows, n_seeds)
    right = (behind + _of(of_seed, pair)[:, :, None, :] > 0).astype(np.float64)
    true = _of(means, pair)
    return Simulated(right[:, 0], right[:, 1], true, ndtr(true))


def equal(n: int = N_STUDIES) -> Floats:
    """Return true means of arms that are all the same: A against A."""
    return np.zeros((n, N_TRANSFER + N_CONTROL))


def mixed(spread: float, rng: np.random.Generator, n: int = N_STUDIES) -> Floats:
    """Return true means of arms that lie near each other."""
    return rng.normal(scale=spread, size=(n, N_TRANSFER + N_CONTROL))


def better(gain: float, n: int = N_STUDIES) -> Floats:
    """Return true means with one best arm on either side, so far off that it is always chosen."""
    means = np.full((n, N_TRANSFER + N_CONTROL), -100.0)
    means[:, 0], means[:, N_TRANSFER] = gain, 0.0
    return means


def estimates(found: Simulated, rule: Rule = estimate) -> list[Estimate]:
    """Return the gain each study found."""
    return [rule(a - b) for a, b in zip(found.transfer, found.control, strict=True)]


def decided(found: list[Estimate]) -> tuple[float, float]:
    """Return the shares of studies that say positive and that say negative."""
    intervals = [one.interval() for one in found]
    positive = np.mean([interval.low > 0 for interval in intervals])
    return float(positive), float(np.mean([interval.high < 0 for interval in intervals]))


def covered(found: list[Estimate], truth: Floats) -> float:
    """Return the share of studies whose interval holds the truth."""
    intervals = [one.interval() for one in found]
    held = [i.low <= true <= i.high for i, true in zip(intervals, truth, strict=True)]
    return float(np.mean(held))


def rows_alone(values: Floats) -> Estimate:
    """Return what is often done instead: the spread over rows, as if the seeds were fixed."""
    row = values.mean(axis=1)
    return Estimate(float(row.mean()), float(row.std(ddof=1) / np.sqrt(len(row))), 1e6)


def f1_estimates(found: Simulated) -> list[Estimate]:
    """Return the jackknifed gain in macro-F1 of each study; a wrong row is the other class."""
    n_rows = found.transfer.shape[1]
    targets = (np.arange(n_rows) >= LARGE_CLASS * n_rows).astype(int)
    said = [
        np.where(right.swapaxes(1, 2) > 0, targets, 1 - targets)
        for right in (found.transfer, found.control)
    ]
    return [f1_gain(targets, list(t), list(c)) for t, c in zip(*said, strict=True)]


def f1_truth(regime: Regime, mean: Floats) -> Floats:
    """Return the mean macro-F1 over seeds of an arm, on as many rows as there could be."""
    seed = regime.latent[2]
    at, weight = np.polynomial.hermite_e.hermegauss(41)
    right = ndtr((mean[..., None] + np.sqrt(seed) * at) / np.sqrt(1 - seed))
    total = 0.0
    for share in (LARGE_CLASS, 1 - LARGE_CLASS):
        hits = share * right
        total = total + 2 * hits / (share + hits + (1 - share) * (1 - right))
    return (total / 2 * weight).sum(axis=-1) / weight.sum()


def study(repeats: int) -> Study:
    """Run 1,000 studies of each kind, `repeats` times over."""
    tables = [_measured(np.random.default_rng([2026, repeat])) for repeat in range(repeats)]
    rows = tuple(
        replace(lines[0], values=tuple(line.values[0] for line in lines))
        for lines in zip(*tables, strict=True)
    )
    return Study(
        f"{N_STUDIES:,} simulated studies a line and repeat: {N_ROWS} test rows, "
        f"{N_TRANSFER} transfer and {N_CONTROL} control arms chosen on {N_VALIDATION} rows a seed.",
        rows,
        notes=(
            "A/A: six equal arms, 5 seeds; the share that says positive or negative; "
            "arms given: one arm a side, so that there is nothing to choose",
            "covers: six arms about a standard error apart, 5 seeds; from 93 % to 97 %, "
            "98.5 % where rows dominate",
            "finds: one arm a side is clearly best, so that the true gain is what is said; "
            "`off` is how far from the noncentral t, at most two Monte-Carlo errors of one repeat",
            "two seeds: a verdict says that they hardly show how far seeds differ",
            "A/A and covers have the choice of arms by validation inside each study",
        ),
    )


def _measured(rng: np.random.Generator) -> list[Row]:
    lines: list[Row] = []
    for regime in REGIMES:
        for kind in KINDS:
            lines += _honesty(regime, kind, rng)
        same = numbers(regime, equal(), 5, rng)
        alone = sum(decided(estimates(same, rows_alone)))
        lines.append(_line(f"{regime.name}, A/A by rows alone, not used", alone))
    for n_seeds in (2, 3, 5):
        same = numbers(MOSTLY_SEEDS, better(0.0), n_seeds, rng)
        share = sum(decided(estimates(same)))
        lines.append(_line(f"{MOSTLY_SEEDS.name}, {n_seeds} seeds: A/A, arms given", share))
    for n_seeds in (5, 10):
        lines += _finds(2.0, n_seeds, rng)
        lines += _finds(Estimate(0, 1, n_seeds - 1).smallest_gain(), n_seeds, rng)
    return lines


#: Kind of scores → the gain each study found, as the product has it.
JUDGES = {
    "numbers": estimates,
    "right or wrong": lambda found: estimates(found, estimate_paired),
    "macro-F1": f1_estimates,
}


def _honesty(regime: Regime, kind: str, rng: np.random.Generator) -> list[Row]:
    simulate = numbers if kind == "numbers" else rights
    judge = JUDGES[kind]
    near = simulate(regime, mixed(1.0 if kind == "numbers" else NEAR, rng), 5, rng)
    truth = f1_truth(regime, near.means) if kind == "macro-F1" else near.truths
    share = covered(judge(near), truth[:, 0] - truth[:, 1])
    same, given = (judge(simulate(regime, m, 5, rng)) for m in (equal(), better(0.0)))
    name = f"{regime.name}, {kind}"
    return [
        _line(f"{name}: A/A", sum(decided(same)), at_most=MOST_DECIDED),
        _line(f"{name}: A/A, arms given", sum(decided(given)), at_most=MOST_DECIDED),
        _line(f"{name}: covers", share, at_least=0.93),
        _line(f"{name}: covers, not too often", share, at_most=regime.most_covered),
    ]


def _finds(gain: float, n_seeds: int, rng: np.random.Generator) -> list[Row]:
    expected = power(gain, n_seeds - 1)
    share = decided(estimates(numbers(SEEDS, better(gain), n_seeds, rng)))[0]
    error = float(np.sqrt(expected * (1 - expected) / N_STUDIES))
    name = f"{SEEDS.name}, {n_seeds} seeds, a gain of {gain:.2g} errors"
    return [
        _line(f"{name}: finds (t: {expected:.3f})", share),
        _line(f"{name}: off", abs(share - expected), at_most=round(2 * error, 4)),
    ]


def _line(what: str, value: float, **target: float) -> Row:
    return Row(what, (value,), "", **target)


def _normal(rng: np.random.Generator, variance: float, *shape: int) -> Floats:
    return rng.standard_normal(shape) * np.sqrt(variance)


def _chosen(validation: Floats) -> NDArray[np.int64]:
    # The best of the transfer arms and the best of the control arms, (studies, 2).
    best = validation[:, :N_TRANSFER].argmax(axis=1), validation[:, N_TRANSFER:].argmax(axis=1)
    return np.stack([best[0], best[1] + N_TRANSFER], axis=1)


def _of(values: Floats, pair: NDArray[np.int64]) -> Floats:
    return values[np.arange(len(values))[:, None], pair]
