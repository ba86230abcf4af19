"""Intervals and tests of pairs, against textbook numbers and by simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

from headstart.metrics.interval import (
    Interval,
    mcnemar_mid_p,
    one_standard_error,
    paired_interval,
    wilson,
)


def test_an_interval_reads_as_a_sentence():
    assert str(Interval(-0.041, -0.025, -0.010)) == "-0.025 [-0.041, -0.010]"


def test_one_standard_error_of_one_difference_is_zero():
    assert one_standard_error([0.5]) == 0
    assert one_standard_error([0.0, 2.0, 4.0]) == pytest.approx(2 / np.sqrt(3))


@pytest.mark.parametrize(("right", "n"), [(0, 10), (3, 10), (10, 10), (144, 153)])
def test_wilson_agrees_with_scipy(right, n):
    theirs = binomtest(right, n).proportion_ci(method="wilson")
    ours = wilson(right, n)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert ours.low <= ours.mid <= ours.high


def test_mid_p_of_a_published_table():
    # Fagerland et al. 2013, Table 1 (airway hyper-responsiveness): 1 and 7 discordant pairs.
    assert mcnemar_mid_p(1, 7) == pytest.approx(0.0391, abs=5e-5)


def test_mid_p_lies_half_an_outcome_below_the_exact_test():
    exact = binomtest(4, 15, 0.5).pvalue
    assert mcnemar_mid_p(4, 11) == pytest.approx(exact - 1365 / 2**15)
    assert mcnemar_mid_p(11, 4) == mcnemar_mid_p(4, 11)


def test_mid_p_of_thousands_of_pairs_does_not_overflow():
    assert 0 < mcnemar_mid_p(2000, 3000) < 1e-30


def test_a_paired_interval_holds_the_truth_as_often_as_it_says():
    rng, held = np.random.default_rng(0), 0
    for _ in range(1000):
        kind = rng.choice(3, size=60, p=[0.8, 0.15, 0.05])  # same, only a right, only b right
        interval = paired_interval(kind != 2, kind != 1)
        held += interval.low <= 0.10 <= interval.high
    assert 930 <= held <= 975


def test_two_models_that_never_disagree_still_have_an_interval():
    interval = paired_interval([1] * 20, [1] * 20)
    assert interval.low < 0 == interval.mid < interval.high
