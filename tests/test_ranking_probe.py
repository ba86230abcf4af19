"""The closed form is what leaving rows out one by one gives."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from headstart.errors import DataError
from headstart.features.features import Features
from headstart.ranking.probe import PENALTIES, Probed, distinct, leave_one_out, logistic, ridge
from headstart.ranking.probe import _axes as axes_of
from headstart.ranking.standing import preferred
from headstart.task import Kind, Task

TASK = Task(Kind.MULTICLASS, ("a", "b", "c"))


@pytest.mark.parametrize("shape", [(30, 5), (20, 40)])
@pytest.mark.parametrize("seed", range(3))
def test_leave_one_out_is_exact(shape, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape).astype(np.float32)
    y = x[:, :2] @ rng.normal(size=(2, 2)) + rng.normal(size=(shape[0], 2))
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    n, slow = len(x), {}
    for penalty in PENALTIES:
        said = np.empty_like(y)
        for i in range(n):
            others = np.arange(n) != i
            # The penalty is for n rows, and stays what it was where one is left out.
            model = Ridge(alpha=n * penalty).fit(scaled[others], y[others])
            said[i] = model.predict(scaled[i : i + 1])[0]
        slow[float(np.square(y - said).mean())] = said
    np.testing.assert_allclose(
        leave_one_out(axes_of(Features.of(x, key="identity")), y), slow[min(slow)], atol=1e-3
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("probe", ["ridge", "logistic"])
def test_noise_scores_like_chance_and_signal_does_not(seed, probe):
    rng = np.random.default_rng(seed)
    y = np.arange(150) % 3
    noise = rng.normal(size=(150, 60))
    run = {"ridge": ridge, "logistic": lambda *given: logistic(*given, seed=0)}[probe]
    assert abs(run(Features.of(noise), y, TASK).mean - 1 / 3) < 0.15
    assert run(Features.of(noise + 4 * np.eye(60)[y]), y, TASK).mean > 0.9


@pytest.mark.parametrize("d", [5, 40, 300])
@pytest.mark.parametrize("k", [2, 12])
def test_noise_is_chance_by_the_closed_form(k, d):
    """Leaving a row out made its own class rarer, and every other one was said in its place.

    With more features than rows a mean that is held would give the row away.
    """
    y, found = np.arange(120) % k, []
    task = Task(Kind.MULTICLASS, tuple(map(str, range(k))))
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(size=(120, d))
        found.append(ridge(Features.of(noise), y, task).mean)
    assert abs(np.mean(found) - 1 / k) < 0.035


def test_rare_labels_tell_a_good_source_from_a_bad_one():
    """Cut at one half, least squares says no rare label at all, and every source is as good."""
    rng = np.random.default_rng(0)
    labels = (rng.random(size=(400, 20)) < 0.06).astype(np.int8)
    good = labels + rng.normal(size=(400, 20)) * 0.5
    bad = rng.normal(size=(400, 20))
    task = Task(Kind.MULTILABEL, tuple(map(str, range(20))))
    gain = ridge(Features.of(good), labels, task).minus(ridge(Features.of(bad), labels, task))
    assert gain.low > 0.1


def test_rounds_of_different_rows_are_on_one_scale():
    """One source leaves early; beside another that says the same it is neither up nor down."""
    rng = np.random.default_rng(3)
    targets = rng.standard_t(2, size=600)
    said = targets[:, None] + rng.normal(size=(600, 1))
    early, late = (
        Probed.of(np.arange(n), Task(Kind.REGRESSION), targets, said[:n]) for n in (150, 600)
    )
    assert early.minus(late).mid == 0 and early.gains(late).shape == (150,)


def test_every_class_counts_the_same_in_every_round_and_no_interval_leaves_the_scale():
    rng = np.random.default_rng(0)
    targets = rng.permutation(np.array([0] * 380 + [1] * 20))
    perfect = np.eye(2)[targets]
    rows = np.arange(400)
    first = np.concatenate([np.flatnonzero(targets == 1)[:10], np.flatnonzero(targets == 0)[:50]])
    task = Task(Kind.MULTICLASS, ("a", "b"))
    early, late = (Probed.of(np.sort(at), task, targets, perfect[np.sort(at)])
                   for at in (first, rows))  # fmt: skip
    assert [early.mean, late.mean] == pytest.approx([1.0, 1.0]) and early.minus(late).mid == 0
    assert late.interval().high == 1.0 and 0.8 < late.interval().low < 0.95
    none = Probed.of(rows, task, targets, np.eye(2)[np.zeros(400, dtype=int)])
    assert none.mean == pytest.approx(0.5)
    assert late.minus(none).mid == pytest.approx(0.5)


def test_numbers_that_cannot_be_squared_are_refused():
    task = Task(Kind.REGRESSION)
    with np.errstate(all="ignore"), pytest.raises(DataError, match="too large"):
        ridge(Features.of(np.random.default_rng(0).normal(size=(20, 3))),
              np.linspace(1e160, 2e160, 20), task)  # fmt: skip


def test_numbers_and_several_labels():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 8))
    number = ridge(Features.of(x), x[:, 0] + 0.1 * x[:, 1], Task(Kind.REGRESSION))
    assert number.mean > 0.95 and number.interval().low < number.mean
    labels = (x[:, :3] > 0).astype(np.int8)
    assert ridge(Features.of(x), labels, Task(Kind.MULTILABEL, ("a", "b", "c"))).mean > 0.85


def test_constant_features_are_no_better_than_the_mean():
    y = np.arange(20) % 2
    found = ridge(Features.of(np.ones((20, 4))), y, Task(Kind.MULTICLASS, ("a", "b")))
    assert found.mean <= 0.5


def test_one_row_is_probed_without_a_number_that_is_none():
    found = ridge(Features.of(np.ones((1, 4))), np.array([1]), Task(Kind.MULTICLASS, ("a", "b")))
    assert np.isfinite(found.mean)


def test_a_twin_gives_nothing_away():
    rng = np.random.default_rng(1)
    features = Features.of(rng.normal(size=(40, 60))).take(np.repeat(np.arange(40), 2))
    assert len(distinct(features)) == 40


def test_the_top_is_kept_within_one_standard_error():
    rows = np.arange(100)
    top = Probed(rows, (rows % 10 > 0).astype(float))
    barely = Probed(rows, (rows % 11 > 0).astype(float))
    assert preferred([barely, top]) == 1
    assert preferred([top, Probed(rows, np.zeros(100))]) == 0
