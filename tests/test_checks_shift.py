"""Shift: silent where nothing shifted, heard where something did."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from headstart.checks.shift import Reference, between_splits, compared
from headstart.data.dataset import Dataset
from headstart.features.features import Features
from headstart.metrics.divergence import classifier_test, conformal_p, false_discovery
from headstart.task import Modality

#: 97 % of draws of 100 studies with a true 5 % stay at or below this many.
N_STUDIES, N_ALLOWED = 100, 9

# Shuffled: in their own order later digits are by other hands, which is a shift indeed.
DIGITS = np.random.default_rng(0).permutation(load_digits().data.astype(np.float32))


def normal(rng, n):
    return rng.normal(size=(n, 40)).astype(np.float32)


def heavy(rng, n):
    return rng.standard_t(3, size=(n, 12)).astype(np.float32)


def clustered(rng, n):
    centers = np.random.default_rng(1).normal(size=(8, 40)) * 3
    return (centers[rng.integers(8, size=n)] + rng.normal(size=(n, 40))).astype(np.float32)


def digits(rng, n):
    return DIGITS[rng.choice(len(DIGITS), size=n, replace=False)]


def sparse(rng, n):
    return (rng.uniform(size=(n, 40)) < 0.05) * rng.exponential(size=(n, 40)).astype(np.float32)


LAWS = [normal, heavy, clustered, digits, sparse]


def in_splits(*sizes):
    names = ("train", "validation", "test")
    return np.repeat([name for name, _ in zip(names, sizes, strict=False)], sizes)


def studied(rows, split):
    return between_splits(Dataset(Modality.VECTOR, rows, split=split), Features.of(rows))


@pytest.mark.parametrize("law", LAWS)
def test_splits_drawn_at_random_are_called_shifted_in_at_most_one_of_twenty(law):
    rng = np.random.default_rng(0)
    split = in_splits(40, 15, 25)
    alarms = sum(bool(studied(law(rng, 80), split)) for _ in range(N_STUDIES))
    assert alarms <= N_ALLOWED


@pytest.mark.parametrize("law", LAWS)
def test_new_rows_of_the_same_law_raise_an_alarm_in_at_most_one_of_twenty(law):
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(N_STUDIES):
        rows = law(rng, 110)
        reference = Reference.of(Features.of(rows[:80]))
        alarms += bool(reference.judge(Features.of(rows[80:])).findings(str))
    assert alarms <= N_ALLOWED


def test_the_p_value_is_uniform_where_nothing_shifted():
    rng = np.random.default_rng(2)
    p = [classifier_test(*np.split(normal(rng, 60), [30]), permutations=39).p for _ in range(200)]
    assert 0.40 < np.mean(p) < 0.62
    assert np.mean(np.array(p) <= 0.25) == pytest.approx(0.25, abs=0.1)


def test_twins_that_a_split_kept_together_are_no_shift():
    rng, alarms = np.random.default_rng(3), 0
    for _ in range(100):
        rows = np.repeat(normal(rng, 50), 2, axis=0)  # each row has a twin on its own side
        alarms += classifier_test(rows[:60], rows[60:]).p <= 0.05
    assert alarms <= 10


@pytest.mark.parametrize(("law", "by"), [(normal, 0.5), (heavy, 1.0), (clustered, 0.8)])
def test_moved_test_rows_are_found(law, by):
    rng = np.random.default_rng(4)
    rows, split = law(rng, 200), in_splits(100, 40, 60)
    rows[split == "test"] += by
    (found,) = studied(rows, split)
    assert (found.kind, found.n) == ("shift", 60)
    assert found.facts["auc"] > 0.6
    assert "test rows" in found.what


def test_a_plain_shift_is_a_warning():
    rng = np.random.default_rng(5)
    rows, split = normal(rng, 200), in_splits(100, 40, 60)
    rows[split == "test"] += 2
    (found,) = studied(rows, split)
    assert found.severity == "warning"
    assert found.facts["auc"] == pytest.approx(1, abs=0.01)
    assert found.facts["proxy_a_distance"] == pytest.approx(2, abs=0.05)


def test_rows_too_few_to_tell_are_not_judged():
    assert studied(normal(np.random.default_rng(0), 20), in_splits(14, 0, 6)) == []
    assert studied(normal(np.random.default_rng(0), 5), None) == []
    assert Reference.of(Features.of(np.ones((3, 4)))) is None


def test_rows_all_equal_are_of_one_kind():
    assert studied(np.ones((60, 5), dtype=np.float32), in_splits(30, 10, 20)) == []


def test_at_most_500_rows_a_side_are_compared():
    rows = np.random.default_rng(0).normal(size=(1200, 3)).astype(np.float32)
    found = compared(Features.of(rows), np.arange(300), np.arange(300, 1200))
    assert (found.n_a, found.n_b) == (300, 500)


def test_new_rows_of_another_kind_are_flagged_each():
    known, new = DIGITS[:400], 16 - DIGITS[400:440]  # black on white
    shift = Reference.of(Features.of(known)).judge(Features.of(new))
    assert shift.together.p <= 0.01
    assert shift.unlike.mean() > 0.9
    together, single = shift.findings(lambda i: f"new {i}")
    assert (together.kind, together.severity, together.n) == ("shift", "warning", 40)
    assert (single.kind, single.n, len(single.rows)) == ("unlike", shift.unlike.sum(), 20)


def test_a_single_strange_row_among_many_is_flagged():
    known, new = DIGITS[:1000], DIGITS[1000:1050].copy()
    new[7] = np.random.default_rng(0).uniform(0, 16, size=64)  # noise
    shift = Reference.of(Features.of(known)).judge(Features.of(new))
    assert np.flatnonzero(shift.unlike).tolist() == [7]


def test_one_row_alone_is_judged():
    reference = Reference.of(Features.of(DIGITS[:400]))
    strange = reference.judge(Features.of(16 - DIGITS[500:501]))
    usual = reference.judge(Features.of(DIGITS[500:501]))
    assert strange.together is None
    assert (strange.unlike.tolist(), usual.unlike.tolist()) == ([True], [False])
    assert reference.judge(Features.of(DIGITS[:0])).findings(str) == []


def test_a_reference_is_small_and_comes_back_the_same():
    rows = np.random.default_rng(0).normal(size=(1200, 1280)).astype(np.float16)
    reference = Reference.of(Features.of(rows))
    again = Reference.from_state(reference.state())
    assert sum(array.nbytes for array in reference.state().values()) < 2.5e6
    assert len(reference.scores) == 1200
    assert np.array_equal(
        again.judge(Features.of(rows[:9])).p, reference.judge(Features.of(rows[:9])).p
    )
    assert Reference.from_state({"weight": rows}) is None


def test_columns_of_any_unit_count_the_same():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(300, 3)) * [1e-6, 1.0, 1e6]
    new = np.array([[0.0, 0.0, 0.0], [1e-5, 0.0, 0.0], [0.0, 0.0, 1e7]])
    shift = Reference.of(Features.of(known)).judge(Features.of(new))
    assert shift.unlike.tolist() == [False, True, True]


def test_rows_that_stand_twice_are_not_taken_for_what_is_usual():
    rng, alarms = np.random.default_rng(6), 0
    for _ in range(50):
        rows = normal(rng, 90)
        reference = Reference.of(Features.of(np.repeat(rows[:60], 2, axis=0)))
        assert len(reference.vectors) == 60
        alarms += bool(reference.judge(Features.of(rows[60:])).findings(str))
    assert alarms <= 6


def test_p_falls_beyond_the_last_known_score_but_never_below_a_rank_within():
    known = np.linspace(1, 2, 200)
    p = conformal_p(known, [1.0, 1.995, 2.0, 3.0, 10.0])
    assert p[0] == 1
    assert p[2] == pytest.approx(2 / 201)
    assert p[2] > p[3] > p[4] > 0


def test_false_discoveries_are_few_where_nothing_is_true():
    rng = np.random.default_rng(0)
    some = [false_discovery(rng.uniform(size=50), 0.05).any() for _ in range(1000)]
    assert np.mean(some) <= 0.064
    assert false_discovery([], 0.05).tolist() == []
