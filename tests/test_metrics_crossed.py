"""Gains on rows crossed with seeds: by hand, against other ways to compute them, by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from bench import study_statistics as simulation
from headstart.metrics.crossed import (
    Estimate,
    crossed,
    estimate,
    estimate_paired,
    f1_gain,
    jackknife,
    jackknifed,
    macro_f1_left_out,
    multilabel_macro_f1_left_out,
    over_seeds,
    power,
    pseudovalues,
    r2_left_out,
)
from headstart.metrics.scores import macro_f1, multilabel_macro_f1, r2

N_STUDIES = 300


def table(rows: int, seeds: int) -> np.ndarray:
    return np.random.default_rng(rows).normal(size=(rows, seeds))


def test_mean_squares_are_those_of_the_two_way_table():
    # Rows are worth −1, 0, 1 and seeds ±1/2 around 1.5; two rows have 1/2 more or less of both.
    plain = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]])
    found = estimate(plain + np.array([[0.5, -0.5], [0.0, 0.0], [-0.5, 0.5]]))
    # MS_rows = 2·(1 + 0 + 1)/2 = 2, MS_seeds = 3·(1/4 + 1/4)/1 = 3/2, MS_residual = 4/4/2 = 1/2.
    assert (found.mid, found.error**2) == pytest.approx((1.5, (2 + 1.5 - 0.5) / 6))
    assert found.df == pytest.approx(3**2 / (2**2 / 2 + 1.5**2 / 1 + 0.5**2 / 2))


def test_the_variance_is_not_below_that_of_rows_alone():
    values = np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 2.0], [2.0, 3.0]])  # both seeds have mean 1.5
    found = estimate(values)
    rows = values.mean(axis=1)
    assert found.error == pytest.approx(rows.std(ddof=1) / 2)
    assert found.df == 3


def test_degrees_of_freedom_are_never_fewer_than_of_the_fewer_of_rows_and_seeds():
    values = table(30, 5) + 9 * np.arange(5.0)
    assert 4 <= estimate(values).df < 5
    two = np.array([[0.0, 1.0, 2.0, 3.0, 9.0], [25.0, 29.0, 21.0, 20.0, 23.0]])
    assert 1 <= estimate(two).df < 1.5  # two rows that differ say little, with how many seeds


def test_what_rows_and_seeds_do_not_explain_is_noise_too():
    """Each seed has half of the rows right, and each row half of the seeds: nothing is sure."""
    found = estimate([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    assert found.error == pytest.approx(np.sqrt(2 / 3 / 8))
    assert found.interval().low < 0


def test_a_single_seed_leaves_the_rows():
    values = table(30, 1)
    theirs = stats.ttest_1samp(values[:, 0], 0).confidence_interval()
    assert (crossed(values).low, crossed(values).high) == pytest.approx(tuple(theirs))


def test_a_number_a_seed_has_the_interval_of_student():
    values = table(7, 1)[:, 0]
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    ours = over_seeds(values, level=0.9)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs))


def test_one_number_says_nothing_about_how_far_it_can_be_trusted():
    assert tuple(crossed([[0.5]])) == (-math.inf, 0.5, math.inf)
    assert estimate([[0.5]]).smallest_gain() == math.inf


def test_arms_that_never_differ_differ_by_nothing():
    assert tuple(crossed(np.zeros((5, 3)))) == (0, 0, 0)
    assert estimate(np.zeros((5, 3))).smallest_gain() == math.inf  # not 0: nothing was tried


def test_a_diverged_arm_decides_nothing():
    values = table(5, 3)
    values[2, 1] = np.nan
    interval = crossed(values)
    assert not interval.low > 0 and not interval.high < 0


def test_seeds_that_all_gave_the_same_tell_no_spread():
    assert tuple(over_seeds([0.017, 0.017])) == (-math.inf, 0.017, math.inf)


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_arms_that_hardly_disagreed_are_judged_as_if_two_rows_had_told_them_apart(n_seeds):
    two = np.zeros((50, n_seeds))
    two[:2] = [[1], [-1]]
    least = estimate(two).error
    for few in (np.zeros_like(two), np.where(two > 0, 1, 0)):
        assert estimate_paired(few).error == pytest.approx(least)
        assert estimate_paired(few).mid == few.mean()
    more = np.where(np.arange(50) < 6, 1, 0)[:, None] * np.ones(n_seeds)
    assert estimate_paired(more) == estimate(more)


def test_a_wider_level_gives_a_wider_interval():
    narrow, wide = crossed(table(9, 4), level=0.5), crossed(table(9, 4), level=0.99)
    assert wide.low < narrow.low < narrow.mid < narrow.high < wide.high


def test_power_agrees_with_the_noncentral_t():
    edge = stats.t.ppf(0.975, 4)
    theirs = stats.nct.sf(edge, 4, 2) + stats.nct.cdf(-edge, 4, 2)
    assert power(2, df=4) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("df", [1, 2, 4, 9, 200.5])
def test_the_smallest_gain_is_found_four_times_in_five(df):
    errors = Estimate(0.0, 1.0, df).smallest_gain(power=0.8)
    assert stats.nct.sf(stats.t.ppf(0.975, df), df, errors) == pytest.approx(0.8, abs=1e-6)


def test_the_jackknife_of_a_mean_is_the_crossed_interval():
    values = table(12, 4)
    theirs = jackknife(lambda rows, seeds: values[np.ix_(rows, seeds)].mean(), 12, 4)
    assert tuple(theirs) == pytest.approx(tuple(crossed(values)))


def test_the_jackknife_over_rows_alone_is_the_usual_one():
    targets, said = labels(40)
    without = macro_f1_left_out(targets, said)
    found = jackknifed([macro_f1(targets, said)], without[:, None])
    usual = 39 / 40 * ((without - without.mean()) ** 2).sum()  # (n − 1)/n Σ (θ₋ᵢ − θ̄)²
    assert (found.mid, found.error**2) == pytest.approx((macro_f1(targets, said), usual))


def test_the_jackknife_counts_calls_as_it_says():
    calls = []
    jackknife(lambda rows, seeds: calls.append((len(rows), len(seeds))) or 0.5, 5, 3)
    assert calls == [(5, 1)] * 3 + [(4, 1)] * 15


def test_f1_left_out_is_f1_of_the_other_rows():
    for n in (2, 3, 8, 40):
        targets, said = labels(n)
        slow = [macro_f1(np.delete(targets, i), np.delete(said, i)) for i in range(n)]
        assert macro_f1_left_out(targets, said) == pytest.approx(slow)


def test_r2_left_out_is_r2_of_the_other_rows():
    rng = np.random.default_rng(0)
    targets, said = rng.normal(size=(2, 9))
    slow = [r2(np.delete(targets, i), np.delete(said, i)) for i in range(9)]
    assert r2_left_out(targets, said) == pytest.approx(slow)
    assert r2_left_out([1.0, 1.0, 5.0], [1.0, 1.0, 4.0]).tolist() == [0.875, 0.875, 1.0]


def test_f1_left_out_of_several_labels_is_f1_of_the_other_rows():
    rng = np.random.default_rng(0)
    targets, said = rng.integers(2, size=(2, 9, 3))
    slow = [multilabel_macro_f1(np.delete(targets, i, 0), np.delete(said, i, 0)) for i in range(9)]
    assert multilabel_macro_f1_left_out(targets, said) == pytest.approx(slow)


def test_pseudovalues_of_f1_add_up_to_f1_without_its_bias():
    targets, said = labels(40)
    whole, without = macro_f1(targets, said), macro_f1_left_out(targets, said)
    values = pseudovalues([whole], without[:, None])
    assert values.mean() == pytest.approx(40 * whole - 39 * without.mean())


def test_the_gain_in_f1_is_the_jackknife_of_both_arms():
    targets, first = labels(40)
    said = [np.roll(first, 1), first, np.where(first == 1, 0, first)]
    others = [np.zeros(40, dtype=int), said[2], said[0]]

    def score(rows, seeds):
        pairs = [(targets[rows], said[s][rows], others[s][rows]) for s in seeds]
        return np.mean([macro_f1(t, a) - macro_f1(t, b) for t, a, b in pairs])

    assert tuple(f1_gain(targets, said, others).interval()) == pytest.approx(
        tuple(jackknife(score, 40, 3))
    )


def test_the_gain_in_f1_of_several_labels():
    rng = np.random.default_rng(0)
    targets, said, other = rng.integers(2, size=(3, 12, 3))
    expected = multilabel_macro_f1(targets, said) - multilabel_macro_f1(targets, other)
    assert f1_gain(targets, [said, other], [other, other]).mid == pytest.approx(expected / 2)


def labels(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    targets = rng.choice(4, size=n, p=[0.6, 0.2, 0.15, 0.05])
    return targets, np.where(rng.random(n) < 0.7, targets, rng.integers(4, size=n))


# Whole studies, with arms chosen on validation inside; 1,000 of each kind are in `bench`.


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def studies(regime, means):
    return simulation.numbers(regime, means, n_seeds=5, rng=rng(), n_rows=60)


@pytest.mark.parametrize("regime", simulation.REGIMES, ids=lambda regime: regime.name)
def test_equal_arms_are_seldom_told_apart(regime):
    found = studies(regime, simulation.equal(N_STUDIES))
    assert sum(simulation.decided(simulation.estimates(found))) <= 0.05 + 3 * 0.0126


@pytest.mark.parametrize("regime", simulation.REGIMES, ids=lambda regime: regime.name)
def test_intervals_hold_the_truth_of_the_chosen_arms(regime):
    found = studies(regime, simulation.mixed(1.0, rng(), N_STUDIES))
    truth = found.truths[:, 0] - found.truths[:, 1]
    assert 0.95 - 3 * 0.0126 <= simulation.covered(simulation.estimates(found), truth) <= 0.995


@pytest.mark.parametrize("regime", simulation.REGIMES, ids=lambda regime: regime.name)
def test_jackknifed_f1_holds_the_truth_of_the_chosen_arms(regime):
    means = simulation.mixed(simulation.NEAR, rng(), N_STUDIES)
    found = simulation.rights(regime, means, n_seeds=5, rng=rng(), n_rows=100)
    truth = np.subtract(*simulation.f1_truth(regime, found.means).T)
    held = simulation.covered(simulation.f1_estimates(found), truth)
    assert 0.95 - 3 * 0.0126 <= held <= 0.995


def test_the_simulation_tells_a_bad_interval_from_a_good_one():
    found = studies(simulation.SEEDS, simulation.equal(N_STUDIES))
    alone = simulation.estimates(found, simulation.rows_alone)
    assert sum(simulation.decided(alone)) > 0.4


@pytest.mark.parametrize(("n_seeds", "expected"), [(5, 0.336), (10, 0.431)])
def test_a_gain_of_two_errors_is_found_as_often_as_the_noncentral_t_says(n_seeds, expected):
    means = simulation.better(2.0, N_STUDIES)
    found = simulation.numbers(simulation.SEEDS, means, n_seeds, rng(), n_rows=60)
    positive = simulation.decided(simulation.estimates(found))[0]
    assert positive == pytest.approx(expected, abs=3 * math.sqrt(expected * (1 - expected) / 300))


def test_simulated_errors_are_one_and_simulated_truths_are_true():
    for regime in simulation.REGIMES:
        found = studies(regime, simulation.better(0.0, 2000))
        gains = (found.transfer - found.control).mean(axis=(1, 2))
        assert gains.std() == pytest.approx(1, abs=0.06)
    right = simulation.rights(simulation.SEEDS, simulation.better(0.5, 2000), 5, rng(), 60)
    assert right.transfer.mean() == pytest.approx(right.truths[0, 0], abs=0.02)
