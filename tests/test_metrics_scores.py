"""Scores agree with scikit-learn, and say what they say by hand."""

import numpy as np
import pytest
from sklearn import metrics

from headstart.metrics import scores as ours
from headstart.task import Kind, Task

RNG = np.random.default_rng(0)
CLASSES = RNG.integers(0, 4, 200)
PROBABILITIES = RNG.dirichlet(np.ones(4), 200)
LABELS = (RNG.random((200, 3)) < [0.5, 0.2, 0.05]).astype(np.int8)
CHANCES = RNG.random((200, 3)).round(1)  # rounded: many equal scores
NUMBERS, GUESSES = RNG.normal(size=200), RNG.normal(size=200)


def test_classes_agree_with_sklearn():
    said = PROBABILITIES.argmax(axis=1)
    assert ours.accuracy(CLASSES, said) == metrics.accuracy_score(CLASSES, said)
    assert ours.macro_f1(CLASSES, said) == pytest.approx(
        metrics.f1_score(CLASSES, said, average="macro")
    )
    assert ours.log_loss(CLASSES, PROBABILITIES) == pytest.approx(
        metrics.log_loss(CLASSES, PROBABILITIES)
    )


def test_labels_agree_with_sklearn():
    assert ours.multilabel_macro_f1(LABELS, CHANCES > 0.5) == pytest.approx(
        metrics.f1_score(LABELS, CHANCES > 0.5, average="macro")
    )
    assert ours.mean_average_precision(LABELS, CHANCES) == pytest.approx(
        metrics.average_precision_score(LABELS, CHANCES, average="macro")
    )


def test_numbers_agree_with_sklearn():
    assert ours.r2(NUMBERS, GUESSES) == pytest.approx(metrics.r2_score(NUMBERS, GUESSES))
    assert ours.mae(NUMBERS, GUESSES) == pytest.approx(
        metrics.mean_absolute_error(NUMBERS, GUESSES)
    )
    assert (ours.r2([1.0, 1.0], [1.0, 1.0]), ours.r2([1.0, 1.0], [1.0, 2.0])) == (1.0, 0.0)


def test_macro_f1_counts_a_class_that_is_only_predicted():
    assert ours.macro_f1([0, 0], [0, 7]) == pytest.approx((2 / 3 + 0) / 2)


def test_the_primary_score_follows_the_imbalance():
    task = Task(Kind.MULTICLASS, ("a", "b"))
    outputs = [[0.9, 0.1]] * 8
    assert next(iter(ours.scores(task, [0] * 6 + [1] * 2, outputs))) == "accuracy"
    assert next(iter(ours.scores(task, [0] * 7 + [1] * 1, outputs))) == "macro_f1"


def test_a_sure_mistake_costs_a_finite_log_loss():
    assert 700 < ours.log_loss([1], [[1.0, 0.0]]) < 710


@pytest.mark.parametrize("hint", [0.0, 0.5])
def test_a_threshold_has_the_highest_f1_of_all_that_say_it_at_most_twice_as_often(hint):
    truth = LABELS[:, 1]
    chances = CHANCES[:, 1] + hint * truth
    said = [chances >= cut for cut in np.unique(chances)]
    every = [metrics.f1_score(truth, one) for one in said if one.sum() <= 2 * truth.sum()]
    found = metrics.f1_score(truth, chances >= ours.best_threshold(truth, chances))
    assert found == max(every)
    assert ours.best_threshold([0, 0], [0.1, 0.9]) == 0.5


def test_a_rare_label_that_nothing_tells_is_not_said_of_every_row():
    rng = np.random.default_rng(0)
    truth = (rng.random(400) < 0.02).astype(int)
    for seed in range(20):
        noise = np.random.default_rng(seed).random(400)
        assert (noise >= ours.best_threshold(truth, noise)).mean() <= 0.05
    assert ours.best_threshold(truth, np.full(400, 0.02)) == 0.5


def test_thresholds_decide_which_labels_are_said():
    task = Task(Kind.MULTILABEL, ("a",))
    truth, outputs = [[1], [0]], [[0.3], [0.2]]
    assert ours.scores(task, truth, outputs)["macro_f1"] == 0
    assert ours.scores(task, truth, outputs, thresholds=[0.25])["macro_f1"] == 1


def test_row_scores_are_a_mean_over_rows():
    outputs = np.eye(4)[RNG.integers(0, 4, 200)]
    task = Task(Kind.MULTICLASS, ("a", "b", "c", "d"))
    rows = ours.row_scores(task, CLASSES, outputs)
    assert rows.mean() == pytest.approx(ours.accuracy(CLASSES, outputs.argmax(axis=1)))
    rare = np.where(CLASSES == 3, np.where(np.arange(200) % 4 == 0, 3, 0), CLASSES)
    assert ours.row_scores(task, rare, outputs).mean() == pytest.approx(
        metrics.balanced_accuracy_score(rare, outputs.argmax(axis=1))
    )
    rows = ours.row_scores(Task(Kind.REGRESSION), NUMBERS, GUESSES[:, None])
    assert rows.mean() == pytest.approx(metrics.r2_score(NUMBERS, GUESSES))
    rows = ours.row_scores(Task(Kind.MULTILABEL, ("a", "b", "c")), LABELS, CHANCES)
    assert rows.mean() == pytest.approx(
        metrics.f1_score(LABELS, CHANCES >= 0.5, average="samples", zero_division=1.0)
    )


def test_row_scores_of_some_rows_are_on_the_scale_of_all():
    outputs = np.eye(4)[RNG.integers(0, 4, 200)]
    task = Task(Kind.MULTICLASS, ("a", "b", "c", "d"))
    rare = np.where(CLASSES == 3, np.where(np.arange(200) % 4 == 0, 3, 0), CLASSES)
    some = np.flatnonzero(rare < 2)
    for of, truth, said in ((task, rare, outputs),
                            (Task(Kind.REGRESSION), NUMBERS, GUESSES[:, None])):  # fmt: skip
        whole = ours.row_scores(of, truth, said)
        at = some[some < len(truth)]
        np.testing.assert_allclose(ours.row_scores(of, truth[at], said[at], among=truth), whole[at])
        assert not np.allclose(ours.row_scores(of, truth[at], said[at]), whole[at])


def test_calibration_error_is_zero_when_confidence_is_met():
    truth = [0, 0, 0, 1]  # right 3 times of 4
    assert ours.expected_calibration_error(truth, [[0.75, 0.25]] * 4) == 0
    assert ours.expected_calibration_error(truth, [[1.0, 0.0]] * 4) == 0.25
