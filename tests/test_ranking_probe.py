"""The closed form is what leaving rows out one by one gives."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

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
    assert run(Features.of(noise), y, TASK).mean < 0.5
    assert run(Features.of(noise + 4 * np.eye(60)[y]), y, TASK).mean > 0.9


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
