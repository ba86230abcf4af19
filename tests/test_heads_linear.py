"""The linear head is the optimum that scikit-learn finds, and its penalty is chosen honestly."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.preprocessing import StandardScaler

from headstart.data.sampling import folds
from headstart.errors import DataError
from headstart.features.features import Features
from headstart.heads import choose, design
from headstart.heads.calibrate import calibrated
from headstart.heads.choose import groups_of
from headstart.heads.head import head_from
from headstart.heads.linear import LinearHead, fit_linear
from headstart.metrics.scores import accuracy, log_loss
from headstart.task import Kind, Task

RNG = np.random.default_rng(0)
TWO, THREE = (Task(Kind.MULTICLASS, tuple("abc"[:k])) for k in (2, 3))
PAIR, NUMBER = Task(Kind.MULTILABEL, ("x", "y")), Task(Kind.REGRESSION)


def rows(n, d, k=3, scale=1.0):
    """Return classes, and features that say something of them, of unlike scales."""
    y = np.arange(n) % k
    middles = RNG.normal(size=(k, d)) * scale
    return ((RNG.normal(size=(n, d)) + middles[y]) * RNG.uniform(0.1, 10, d)).astype(np.float32), y


def sklearn_logits(X, y, inverse_penalty, weight=None):
    scaler = StandardScaler().fit(X.astype(np.float64), sample_weight=weight)
    model = LogisticRegression(C=inverse_penalty, tol=1e-10, max_iter=20_000)
    model.fit(scaler.transform(X.astype(np.float64)), y, sample_weight=weight)
    return model.decision_function(scaler.transform(X.astype(np.float64)))


def centered(logits):
    # Softmax does not see what is added to all logits of a row.
    return logits - logits.mean(axis=1, keepdims=True)


@pytest.mark.parametrize(("n", "d"), [(90, 5), (30, 200)])  # more rows, more features
@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_softmax_meets_sklearn(n, d, penalty):
    X, y = rows(n, d)
    head = fit_linear(Features.of(X, key="identity"), y, THREE, penalties=[penalty], folds=0).head
    theirs = sklearn_logits(X, y, 1 / (n * penalty))
    assert centered(head.logits(X)) == pytest.approx(centered(theirs), abs=2e-3)


def test_two_classes_meet_sklearn():
    X, y = rows(60, 8, k=2)
    head = fit_linear(Features.of(X, key="identity"), y, TWO, penalties=[0.1], folds=0).head
    theirs = sklearn_logits(X, y, 2 / (60 * 0.1))
    ours = head.logits(X)
    assert ours[:, 1] - ours[:, 0] == pytest.approx(theirs, abs=2e-3)


def test_several_labels_meet_sklearn_label_by_label():
    X, y = rows(80, 6)
    labels = np.stack([y == 0, y != 1], axis=1).astype(np.int8)
    head = fit_linear(Features.of(X, key="identity"), labels, PAIR, penalties=[0.05], folds=0).head
    for i in range(2):
        theirs = sklearn_logits(X, labels[:, i], 1 / (80 * 0.05))
        assert head.logits(X)[:, i] == pytest.approx(theirs, abs=2e-3)


@pytest.mark.parametrize(("n", "d"), [(90, 5), (30, 200)])
def test_numbers_meet_sklearn(n, d):
    X, _ = rows(n, d)
    y, weight = X[:, 0] + 1000 + RNG.normal(size=n), RNG.uniform(0.5, 2, n)
    head = fit_linear(
        Features.of(X, key="identity"), y, NUMBER, weight=weight, penalties=[0.1], folds=0
    ).head
    scaled = StandardScaler().fit(X.astype(float), sample_weight=weight).transform(X.astype(float))
    theirs = SklearnRidge(alpha=0.1 * weight.sum()).fit(scaled, y, sample_weight=weight)
    assert head.outputs(X)[:, 0] == pytest.approx(theirs.predict(scaled), abs=2e-3)


def test_a_weight_counts_as_so_many_rows():
    X, y = rows(40, 4)
    weight = RNG.integers(0, 4, 40)
    options = {"penalties": [0.1], "folds": 0}
    weighted = fit_linear(Features.of(X), y, THREE, weight=weight, **options)
    index = np.repeat(np.arange(40), weight)
    repeated = fit_linear(Features.of(X[index]), y[index], THREE, **options)
    assert weighted.head.outputs(X) == pytest.approx(repeated.head.outputs(X), abs=1e-4)


@pytest.mark.parametrize("task", [THREE, PAIR, NUMBER], ids=lambda task: str(task.kind))
@pytest.mark.parametrize(("n", "d"), [(120, 8), (40, 90)])
def test_rows_read_in_chunks_give_the_same_head(monkeypatch, task, n, d):
    X, y = rows(n, d, scale=0.3)  # not all told apart: which penalty is best is then plain
    targets = {THREE: y, PAIR: np.stack([y == 0, y != 1], axis=1), NUMBER: X[:, 0] + y}[task]
    held = fit_linear(Features.of(X), targets, task)
    monkeypatch.setattr(design, "HELD_BYTES", 0)
    monkeypatch.setattr(design, "CHUNK", 16)
    streamed = fit_linear(Features.of(X), targets, task)
    assert streamed.penalty == held.penalty
    assert streamed.head.outputs(X) == pytest.approx(held.head.outputs(X), abs=5e-3)


def test_the_threads_do_not_change_a_bit(monkeypatch):
    X, y = rows(5000, 20, scale=0.1)
    several = fit_linear(Features.of(X), y, THREE)
    monkeypatch.setenv("HEADSTART_THREADS", "1")
    one = fit_linear(Features.of(X), y, THREE)
    assert several.head.weight.tobytes() == one.head.weight.tobytes()
    assert several.oof_outputs.tobytes() == one.oof_outputs.tobytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_fits_with_threads_of_its_own():
    X, y = rows(5000, 20, scale=0.1)
    fit_linear(Features.of(X), y, THREE, penalties=[0.1], folds=0)
    child = os.fork()
    if not child:
        signal.alarm(60)  # ends a child that waits for threads which stayed behind
        try:
            fit_linear(Features.of(X), y, THREE, penalties=[0.1], folds=0)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_out_of_fold_outputs_are_of_heads_that_did_not_see_the_row():
    X, y = RNG.normal(size=(60, 200)).astype(np.float32), np.arange(60) % 2  # nothing to learn
    weak = fit_linear(Features.of(X), y, TWO, penalties=[1e-3])
    assert accuracy(y, weak.head.outputs(X).argmax(axis=1)) == 1  # learned by heart
    assert accuracy(y, weak.oof_outputs.argmax(axis=1)) < 0.75


@pytest.mark.parametrize("key", ["identity", "some trunk"])
def test_equal_rows_do_not_tell_each_other_s_labels(key):
    X, y = RNG.normal(size=(60, 256)), RNG.integers(0, 2, 60)  # nothing to learn
    once, thrice = Features.of(X, key=key), np.tile(np.arange(60), 3)
    features = once.take(thrice) if key == "some trunk" else Features.of(X[thrice], key=key)
    fit = fit_linear(features, y[thrice], TWO)
    assert accuracy(y[thrice], fit.oof_outputs.argmax(axis=1)) < 0.75
    assert fit.penalty > 1
    first, second, third = fit.oof_outputs.reshape(3, 60, 2)  # of heads that saw none of the three
    assert np.array_equal(first, second)
    assert np.array_equal(second, third)


def test_the_few_values_of_a_table_are_no_copies_of_each_other():
    """Two columns of 0 and 1 have four contents: no level is held out as a whole."""
    rng = np.random.default_rng(0)
    few = rng.integers(2, size=(400, 2)).astype(np.float64)
    assert groups_of(Features.of(few)).tolist() == list(range(400))
    copies = np.repeat(rng.normal(size=(80, 2)), 5, axis=0)
    assert groups_of(Features.of(copies)).tolist() == np.repeat(np.arange(80), 5).tolist()


def test_equal_rows_with_other_labels_are_held_out_together():
    X = RNG.normal(size=(40, 5))
    fit = fit_linear(Features.of(np.tile(X, (2, 1))), np.repeat([0, 1], 40), TWO)
    assert np.array_equal(fit.oof_outputs[:40], fit.oof_outputs[40:])


def test_rows_of_which_few_differ_cannot_be_held_out():
    X, y = rows(3, 4)
    fit = fit_linear(Features.of(np.tile(X, (8, 1))), np.tile(y, 8), THREE)
    assert fit.oof_outputs is None
    assert "too few differ" in fit.warnings[0]


def test_the_chosen_penalty_is_the_one_of_least_held_out_loss():
    X, y = rows(150, 60, scale=0.15)
    fit = fit_linear(Features.of(X), y, THREE)
    best = min(fit.path, key=lambda tried: tried.loss)
    assert fit.path[0].penalty > fit.penalty > fit.path[-1].penalty  # inside the path
    assert (
        best.loss <= next(t.loss for t in fit.path if t.penalty == fit.penalty) <= best.loss * 1.01
    )
    assert len(best.losses) == 5


def test_folds_may_be_given():
    X, y = rows(30, 4)
    given = [(np.arange(20), np.arange(20, 30))]
    fit = fit_linear(Features.of(X), y, THREE, folds=given)
    assert np.isnan(fit.oof_outputs[:20]).all()
    assert np.isfinite(fit.oof_outputs[20:]).all()
    assert len(fit.path[0].losses) == 1


def test_many_rows_are_split_once(monkeypatch):
    monkeypatch.setattr(choose, "SPLIT_ABOVE", 50)
    X, y = rows(60, 4)
    fit = fit_linear(Features.of(X), y, THREE)
    assert np.isfinite(fit.oof_outputs).all(axis=1).sum() == 12
    assert len(fit.path[0].losses) == 1


@pytest.mark.parametrize("copies", [1, 2])  # of the row that is alone in its class
def test_a_class_with_one_row_is_in_every_fit_and_the_others_judge(copies):
    X, _ = rows(41, 3)
    X = np.concatenate([X, np.repeat(X[-1:], copies - 1, axis=0)])
    y = np.array([0] * 20 + [1] * 20 + [2] * copies)
    fit = fit_linear(Features.of(X), y, THREE)
    assert np.isfinite(fit.oof_outputs).all(axis=1).tolist() == [True] * 40 + [False] * copies
    assert len(fit.path[0].losses) == 5
    assert fit.warnings == ()
    assert fit.head.temperature != 1
    assert fit.oof_outputs[:40, 2].min() > 0  # of heads that know the class


@pytest.mark.parametrize("y", [[0, 1, 2], [0, 0, 0, 0, 1, 2]])
def test_where_one_class_at_most_has_two_rows_the_default_is_taken_and_told(y):
    X, _ = rows(len(y), 3)
    fit = fit_linear(Features.of(X), np.array(y), THREE)
    assert (fit.penalty, fit.oof_outputs, fit.head.temperature) == (choose.DEFAULT_PENALTY, None, 1)
    assert "single row" in fit.warnings[0]


def test_a_class_with_three_rows_is_held_out_in_three_folds():
    X, _ = rows(43, 3)
    fit = fit_linear(Features.of(X), np.array([0] * 20 + [1] * 20 + [2] * 3), THREE)
    assert len(fit.path[0].losses) == 3
    assert fit.warnings == ()


def test_a_temperature_makes_held_out_probabilities_honest():
    X, y = rows(200, 40, scale=0.3)
    y = np.where(RNG.random(200) < 0.2, RNG.integers(0, 3, 200), y)  # some labels are wrong
    weak = fit_linear(Features.of(X), y, THREE, penalties=[1e-4])
    assert weak.head.temperature > 1.5  # too little penalty: too sure
    raw = np.log(weak.oof_outputs) * weak.head.temperature
    sure = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    assert log_loss(y, weak.oof_outputs) < log_loss(y, sure) - 0.1


def test_where_all_held_out_rows_are_right_the_head_is_not_sure_of_everything():
    X, y = rows(60, 20, scale=3.0)
    fit = fit_linear(Features.of(X), y, THREE)
    assert accuracy(y, fit.oof_outputs.argmax(axis=1)) == 1
    assert 1e-4 < 1 - fit.oof_outputs.max(axis=1).mean() < 0.1  # about once in 60


def test_each_label_has_the_threshold_of_its_own():
    X, y = rows(300, 10, scale=0.2)
    rare = (y == 0) & (np.arange(300) % 2 == 0)
    fit = fit_linear(Features.of(X), np.stack([y != 0, rare], axis=1).astype(np.int8), PAIR)
    assert fit.head.thresholds.shape == (2,)
    assert fit.head.thresholds[1] < 0.5  # a rare label pays to be said early


def test_a_label_that_is_never_true_does_no_harm():
    X, y = rows(40, 4)
    labels = np.stack([y == 0, np.zeros(40)], axis=1).astype(np.int8)
    fit = fit_linear(Features.of(X), labels, PAIR)
    assert fit.converged
    assert fit.head.outputs(X)[:, 1].max() < 0.02


def test_a_constant_feature_gets_no_weight():
    X, y = rows(40, 3)
    X[:, 1] = 1234.5678
    head = fit_linear(Features.of(X), y, THREE).head
    assert np.abs(head.weight[:, 1]).max() == 0
    assert np.isfinite(head.outputs(X)).all()


@pytest.fixture(params=["held", "held in float32", "streamed"])
def ways_of_reading(request, monkeypatch):
    if request.param != "held":
        monkeypatch.setattr(design, "EXACT_VALUES", 0)
    if request.param == "streamed":
        monkeypatch.setattr(design, "HELD_BYTES", 0)


@pytest.mark.usefixtures("ways_of_reading")
def test_a_column_far_from_zero_keeps_its_digits():
    seconds = np.arange(60.0)
    X = np.stack([1.7e9 + seconds, np.full(60, 1.7e9)], axis=1)  # float32 tells every 128th apart
    fit = fit_linear(Features.of(X), (seconds >= 30).astype(int), TWO)
    assert np.array_equal(fit.head.outputs(X).argmax(axis=1), seconds >= 30)
    assert np.abs(fit.head.weight[:, 1]).max() == 0  # the constant one, as ever
    again = head_from(*fit.head.state())
    assert np.array_equal(again.outputs(X), fit.head.outputs(X))


@pytest.mark.usefixtures("ways_of_reading")
def test_numbers_far_from_zero_come_back():
    X, _ = rows(200, 3)
    y = 1e9 + 10 * X[:, 0].astype(np.float64)
    fit = fit_linear(Features.of(X), y, NUMBER)
    for said in (fit.head.outputs(X)[:, 0], fit.oof_outputs[:, 0]):
        assert said == pytest.approx(y, rel=1e-9)
        assert np.square(said - y).sum() < 1e-3 * np.square(y - y.mean()).sum()


def test_a_row_that_is_not_finite_is_named():
    X, y = rows(40, 3)
    X[17, 2] = np.inf
    with pytest.raises(DataError, match=r"1 rows .* number 17"):
        fit_linear(Features.of(X), y, THREE)


def test_a_head_is_made_again_from_its_state():
    X, y = rows(40, 4)
    head = fit_linear(Features.of(X), np.stack([y == 0, y == 1], axis=1).astype(np.int8), PAIR).head
    again = LinearHead.from_state(*head.state())
    assert np.array_equal(again.outputs(X), head.outputs(X))
    assert np.array_equal(again.thresholds, head.thresholds)


def test_the_folds_of_the_library_are_used_with_the_seed():
    X, y = rows(60, 30, scale=0.2)
    first, again, other = (fit_linear(Features.of(X), y, THREE, seed=s) for s in (0, 0, 1))
    given = fit_linear(Features.of(X), y, THREE, folds=folds(y, THREE, 5, 1))
    assert np.array_equal(first.oof_outputs, again.oof_outputs)
    assert not np.array_equal(first.oof_outputs, other.oof_outputs)
    assert np.array_equal(given.oof_outputs, other.oof_outputs)


def test_a_fit_needs_no_torch():
    code = """
import sys
sys.modules["torch"] = None
import numpy as np
from headstart.features.features import Features
from headstart.heads.head import head_from
from headstart.heads.linear import fit_linear
from headstart.heads.mlp import fresh_mlp
from headstart.task import Kind, Task
features = Features.of(np.eye(8, dtype=np.float32))
task = Task(Kind.MULTICLASS, ("a", "b"))
fit = fit_linear(features, np.arange(8) % 2, task)
for head in (fit.head, fresh_mlp(features, task)):
    assert head_from(*head.state()).outputs(features.array()).shape == (8, 2)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_dead_unit_of_a_network_gets_no_weight():
    """A column that trembles by 1e-8 beside columns of spread 1 must not become a lever."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    values = rng.normal(size=(60, 4)).astype(np.float32) + y[:, None]
    values[:, 2] = np.where(y == 1, 2e-8, 0.0)
    task = Task(Kind.MULTICLASS, ("a", "b"))
    network = Features.of(values, key="some trunk")
    assert np.abs(fit_linear(network, y, task).head.weight[:, 2]).max() == 0
    rows = Features.of(values, key="identity")  # the user's own column may have any scale
    assert np.abs(fit_linear(rows, y, task).head.weight[:, 2]).max() > 0


def test_columns_are_not_blown_up_by_what_few_rows_say_of_their_spread():
    """Columns of like spread, mostly noise: from 6 rows some look ten times narrower."""
    rng = np.random.default_rng(0)
    y = np.arange(3000) % 2
    X = rng.exponential(size=(3000, 400)) * (rng.random((3000, 400)) < 0.2)  # as behind a ReLU
    X[:, :20] += y[:, None]
    scaler = design.scaler_of(Features.of(X[:6], key="some trunk"), np.ones(6))
    plain = design.scaler_of(Features.of(X[:6], key="identity"), np.ones(6))
    live = plain.inverse > 0
    assert plain.inverse.max() / np.median(plain.inverse[live]) > 10
    assert scaler.inverse.max() / np.median(scaler.inverse[live]) < 1.1
    few, usual = (
        accuracy(
            y[6:], fit_linear(Features.of(X[:6], key=key), y[:6], TWO).head.outputs(X[6:]).argmax(1)
        )
        for key in ("some trunk", "identity")
    )
    assert few > usual + 0.05


def test_many_rows_say_themselves_how_far_columns_spread():
    X = np.random.default_rng(0).normal(size=(30_000, 3)) * [1, 2, 4]
    scaler = design.scaler_of(Features.of(X, key="some trunk"), np.ones(len(X)))
    np.testing.assert_allclose(scaler.inverse * [1, 2, 4], 1, atol=0.05)


def test_boundaries_side_by_side_are_each_drawn_to_their_own_spread():
    """What one boundary says in thousands must not drown what another says in units."""
    rng = np.random.default_rng(0)
    low, high = Features.of(rng.normal(size=(6, 5))), Features.of(1000 * rng.normal(size=(6, 5)))
    scaled = design.scaler_of(low.beside(high), np.ones(6)).apply(low.beside(high).array())
    assert 0.5 < scaled[:, :5].std() / scaled[:, 5:].std() < 2


def test_rows_that_count_for_nothing_judge_nothing():
    """A fold of such rows alone had no loss, and the strongest penalty was kept."""
    x, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
    x[:, 0] += 6 * y
    weight = np.r_[np.zeros(30), np.ones(30)]
    apart = [(np.arange(30, 60), np.arange(30)), (np.arange(0, 45), np.arange(45, 60))]
    found = fit_linear(Features.of(x), y, TWO, weight=weight, folds=apart)
    assert np.isfinite(found.head.weight).all() and found.penalty < 1
    assert np.isnan(found.oof_outputs[:30]).all()
    assert np.isfinite(found.oof_outputs[45:]).all()


@pytest.mark.parametrize("task", [TWO, PAIR], ids=lambda task: str(task.kind))
def test_rows_that_count_nothing_do_not_calibrate(task):
    """Their labels are wrong: the head would be asked to be sure of nothing."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 4)), np.arange(200) % 2
    x[:, 0] += 2 * y
    said = np.where(np.arange(200) < 100, y, 1 - y)
    targets = {TWO: said, PAIR: np.stack([said, 1 - said], axis=1)}[task]
    features, own = Features.of(x), np.arange(100)
    whole = fit_linear(features, targets, task, weight=np.repeat([1.0, 0.0], 100))
    alone = fit_linear(features.take(own), targets[own], task)
    assert np.isfinite(whole.oof_outputs).all(axis=1).tolist() == [True] * 100 + [False] * 100
    assert whole.head.temperature == pytest.approx(alone.head.temperature, rel=0.01)
    assert whole.head.outputs(x) == pytest.approx(alone.head.outputs(x), abs=0.01)
    if task is PAIR:
        assert whole.head.thresholds == pytest.approx(alone.head.thresholds, abs=0.02)


@pytest.mark.parametrize("kind", [Kind.MULTICLASS, Kind.MULTILABEL], ids=str)
def test_a_row_calibrates_as_often_as_it_counts(kind):
    rng = np.random.default_rng(1)
    y, often = rng.integers(0, 2, 200), rng.integers(0, 4, 200)
    logits = 2 * np.eye(2)[y] + 2 * rng.normal(size=(200, 2))
    targets = y if kind is Kind.MULTICLASS else np.stack([y, 1 - y], axis=1)
    head, again = LinearHead(np.eye(2), np.zeros(2), kind), np.repeat(np.arange(200), often)
    found = calibrated(head, logits, targets, often.astype(float))
    wanted = calibrated(head, logits[again], targets[again])
    assert found.temperature == pytest.approx(wanted.temperature, rel=0.02)  # of n + 1 rows
    if kind is Kind.MULTILABEL:
        assert found.thresholds == pytest.approx(wanted.thresholds, abs=0.02)
    assert calibrated(head, logits, targets, np.zeros(200)) is head


def test_a_class_of_which_one_row_counts_is_in_every_fit():
    x, _ = rows(43, 3)
    y, weight = np.array([0] * 20 + [1] * 20 + [2] * 3), np.array([1.0] * 41 + [0.0] * 2)
    fit = fit_linear(Features.of(x), y, THREE, weight=weight)
    assert np.isfinite(fit.oof_outputs).all(axis=1).tolist() == [True] * 40 + [False] * 3
    assert len(fit.path[0].losses) == 5
