"""Judging: a gain is ours minus theirs, counts rows and seeds, and goes no further than it can."""

import dataclasses
import math

import numpy as np
import pytest

from headstart.data.dataset import Dataset
from headstart.data.ragged import ragged
from headstart.evidence.judge import Bench, judged
from headstart.metrics.chain import legal_paths
from headstart.metrics.crossed import estimate_paired, jackknife
from headstart.metrics.entities import counts, f1
from headstart.metrics.interval import wilson
from headstart.metrics.scores import macro_f1, multilabel_macro_f1, r2
from headstart.task import Kind, Modality, Task

N_ROWS, SEEDS = 40, range(3)


def classes(rng, share):
    """Return the truth of three classes, and what is said of them with so many rows wrong."""
    truth = np.arange(N_ROWS) % 3
    said = np.where(rng.random(N_ROWS) < share, (truth + 1) % 3, truth)
    return truth, np.eye(3, dtype=np.float32)[said]


def several(rng, share):
    truth = (np.arange(N_ROWS)[:, None] % np.array([2, 3, 4]) == 0).astype(np.int8)
    return truth, np.where(rng.random(truth.shape) < share, 1 - truth, truth).astype(np.float32)


def numbers(rng, share):
    truth = np.linspace(-1, 1, N_ROWS)
    return truth, (truth + share * rng.normal(size=N_ROWS)).astype(np.float32)[:, None]


def tags(rng, share):
    truth = [np.array([1, 2, 0, 1]), np.array([0, 1])] * (N_ROWS // 2)
    said = [np.where(rng.random(len(row)) < share, 0, row) for row in truth]
    return ragged(truth), ragged([(0.1 + 0.8 * np.eye(3)[row]).astype(np.float32) for row in said])


#: A score that is no mean over rows → its task, what is said with so much wrong, and the score.
SCORES = {
    "macro_f1": (Task(Kind.MULTICLASS, ("a", "b", "c")), classes,
                 lambda truth, said: macro_f1(truth, said.argmax(axis=1))),
    "several labels": (Task(Kind.MULTILABEL, ("a", "b", "c")), several,
                       lambda truth, said: multilabel_macro_f1(truth, said >= 0.5)),
    "r2": (Task(Kind.REGRESSION), numbers, lambda truth, said: r2(truth, said[:, 0])),
    "entity_f1": (Task(Kind.TAGS, ("O", "B-X", "I-X")), tags,
                  lambda truth, said: f1(counts(truth, legal_paths(said)))),
}  # fmt: skip


@pytest.mark.parametrize("name", SCORES)
def test_a_gain_is_ours_minus_theirs_and_counts_rows_and_seeds(name):
    task, say, score = SCORES[name]
    sides = {share: [say(np.random.default_rng(seed), share) for seed in SEEDS]
             for share in (0.1, 0.5)}  # fmt: skip
    truth = sides[0.1][0][0]
    ours, theirs = ([said for _, said in sides[share]] for share in (0.1, 0.5))
    bench = Bench(task, name if name in ("r2", "entity_f1") else "macro_f1", truth, truth)
    found = bench.gain([(one, None) for one in ours], [(one, None) for one in theirs])
    back = bench.gain([(one, None) for one in theirs], [(one, None) for one in ours])

    def gain(rows, seeds):
        return np.mean([
            score(truth[rows], ours[seed][rows]) - score(truth[rows], theirs[seed][rows])
            for seed in seeds
        ])  # fmt: skip

    wanted = jackknife(gain, len(truth), len(SEEDS))
    assert found.mid == pytest.approx(gain(np.arange(len(truth)), SEEDS)) and found.mid > 0.1
    assert tuple(found.interval()) == pytest.approx(tuple(wanted))
    assert back.mid == pytest.approx(-found.mid) and back.error == pytest.approx(found.error)


def test_seeds_that_disagree_widen_what_rows_alone_would_say():
    truth, rng = np.arange(100) % 2, np.random.default_rng(0)
    right = [[rng.permutation(100) < n for n in shares] for shares in ((50, 60, 70), (60, 60, 60))]
    ours, theirs = ([said_with(one, truth) for one in each] for each in right)
    table = np.stack(right[0], axis=1) * 1.0 - np.stack(right[1], axis=1)
    found = accuracy_bench(truth).gain(ours, theirs)
    assert found == estimate_paired(table) and found.mid == pytest.approx(0)
    rows_alone = estimate_paired(table.mean(axis=1, keepdims=True))
    assert found.error > 1.2 * rows_alone.error
    assert found.interval().high > 1.5 * rows_alone.interval().high


def accuracy_bench(truth):
    return Bench(Task(Kind.MULTICLASS, ("a", "b")), "accuracy", truth, truth)


def said_with(right, truth):
    """Return what a fit said that has these rows right."""
    return np.eye(2, dtype=np.float32)[np.where(right, truth, 1 - truth)], None


def test_numbers_that_are_all_one_decide_nothing():
    """R² of test targets that do not vary is no share of anything."""
    bench = Bench(Task(Kind.REGRESSION), "r2", np.ones(8), np.arange(8.0))
    said = [(np.full((8, 1), 1.0 + off), None) for off in (0.5, 0.25)]
    assert bench.gain(said[:1], said[1:]).mid == 0
    equal = np.full(3, 0.1)  # whose mean is not quite 0.1
    assert r2(equal, np.full(3, 0.2)) == 0 and r2(equal, equal) == 1


def test_the_interval_of_r2_is_that_of_a_ratio():
    """With targets of a long tail the same rows that cost most make the variance: both count."""
    rng, covered, widths = np.random.default_rng(0), 0, []
    noise, n_rows, n_seeds = 0.8, 60, 3
    truth_at_large = 1 - noise**2 / np.exp(rng.normal(size=200_000)).var()
    for _ in range(200):
        truth = np.exp(rng.normal(size=n_rows))
        bench = Bench(Task(Kind.REGRESSION), "r2", truth, truth)
        said = [(truth[:, None] + rng.normal(0, noise, (n_rows, 1)), None) for _ in range(n_seeds)]
        found = bench.interval(said)
        covered += found.low <= truth_at_large <= found.high
        widths.append(found.high - found.low)
    assert covered >= 160
    assert np.median(widths) < 0.6  # 1.1 with the variance taken as given


def test_rows_that_are_all_right_do_not_make_an_arm_infallible():
    truth = np.arange(30) % 2
    found = accuracy_bench(truth).interval([said_with(True, truth)] * 3)
    assert found.mid == found.high == 1
    assert found.low == pytest.approx(wilson(30, 30).low)  # .886
    f1 = dataclasses.replace(accuracy_bench(truth), score="macro_f1")
    assert f1.interval([said_with(True, truth)] * 3).low == pytest.approx(wilson(30, 30).low)


def test_two_rows_decide_nothing():
    truth = np.array([0, 1])
    ours, theirs = ([said_with(is_right, truth)] * 3 for is_right in (True, False))
    found = accuracy_bench(truth).gain(ours, theirs)
    assert found.mid == 1 and found.interval().low < 0


def test_arms_that_never_differ_are_not_known_to_be_equal():
    truth = np.arange(40) % 2
    bench = accuracy_bench(truth)
    same = bench.gain(*[[said_with(True, truth)] * 3] * 2).interval()
    assert same.mid == 0 and 0.05 < same.high < 0.2
    f1 = dataclasses.replace(bench, score="macro_f1")
    assert f1.gain(*[[said_with(True, truth)] * 3] * 2).error == math.inf


def test_no_gain_goes_further_than_a_gain_can():
    few = accuracy_bench(np.arange(4) % 2)
    found = few.gain(*([said_with(right, few.truth)] * 2 for right in ([1, 1, 1, 0], [0, 0, 1, 0])))
    assert found.interval().high > 1 and few.bounded(found).high == 1
    assert few.smallest_gain(found) == math.inf  # 0.5 is what was found; more than 1 is needed
    numbers = Bench(Task(Kind.REGRESSION), "r2", few.truth, few.truth)
    assert numbers.bounded(found) == found.interval()


def test_how_sure_of_several_labels_is_that_of_the_least_sure_one():
    task, truth = Task(Kind.MULTILABEL, ("a", "b")), np.array([[1, 0], [1, 1]])
    said = np.array([[0.9, 0.2], [0.6, 0.1]], dtype=np.float32), (0.5, 0.15)
    rows = Dataset(Modality.TEXT, ("x", "y"))
    found = judged(Bench(task, "macro_f1", truth, truth), "probe", said, rows)
    assert found.said == ([1, 1], [1, 0])
    assert found.sure == pytest.approx((0.2, 0.6))
