"""Transferability scores against slow references written from the papers."""

import numpy as np
import pytest

from headstart.metrics.transferability import (
    DISTORTION,
    agreeing_classes,
    h_score,
    leep,
    linear_mse,
    logme,
    nce,
    neighbors,
    transrate,
)


def rows(gap: float, n: int = 80, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    y = np.arange(n) % 3
    return rng.normal(size=(n, d)) + gap * np.eye(d)[y], y


def slow_evidence(F: np.ndarray, y: np.ndarray, alpha: float, beta: float) -> float:
    """log N(y | 0, I/β + F Fᵀ/α) / n, straight from the definition."""
    from scipy.stats import multivariate_normal

    covariance = np.eye(len(y)) / beta + F @ F.T / alpha
    return multivariate_normal(np.zeros(len(y)), covariance).logpdf(y) / len(y)


def test_logme_is_the_largest_evidence():
    """No α, β on a fine grid explains the column better, and the best is reached."""
    F, y = rows(1.0)
    column = (y == 0).astype(float)
    grid = np.exp(np.linspace(-4, 6, 30))
    best = max(slow_evidence(F, column, a, b) for a in grid for b in grid)
    found = logme(F, column)
    assert found >= best - 1e-6
    assert found == pytest.approx(best, abs=0.01)


def test_logme_averages_over_classes():
    F, y = rows(1.0)
    assert logme(F, y) == pytest.approx(
        np.mean([logme(F, (y == c).astype(float)) for c in range(3)])
    )


@pytest.mark.parametrize("score", [logme, h_score, neighbors])
def test_features_that_tell_the_classes_apart_score_higher(score):
    found = [score(*rows(gap)) for gap in (0.0, 1.0, 3.0)]
    assert found[0] < found[1] < found[2]


def test_transrate_tells_large_gaps():
    """Small ones it does not: class parts are coded around the mean of all rows, as published."""
    found = [transrate(*rows(gap, n=600)) for gap in (0.0, 10.0, 30.0)]
    assert found[0] < found[1] < found[2]


def test_h_score_is_the_trace_of_the_paper_where_nothing_need_be_shrunk():
    F, y = rows(2.0, n=6000)
    means = np.stack([F[y == c].mean(axis=0) for c in y])
    slow = np.trace(np.linalg.pinv(np.cov(F.T, bias=True)) @ np.cov(means.T, bias=True))
    assert h_score(F, y) == pytest.approx(slow, rel=0.02)


def test_leep_is_the_empirical_predictor_of_the_paper():
    rng = np.random.default_rng(0)
    theta, y = rng.dirichlet(np.ones(4), size=50), rng.integers(3, size=50)
    joint = np.array([[theta[y == k, z].sum() / 50 for z in range(4)] for k in range(3)])
    given = joint / joint.sum(axis=0)
    slow = np.mean([np.log(sum(given[y[i], z] * theta[i, z] for z in range(4))) for i in range(50)])
    assert leep(theta, y) == pytest.approx(slow)


def test_nce_is_minus_the_conditional_entropy():
    z, y = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 1])
    entropy = 0.5 * -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    assert nce(z, y) == pytest.approx(-entropy)


@pytest.mark.parametrize("shape", [(90, 6), (30, 50)])
def test_h_score_shrinks_as_ledoit_and_wolf_do(shape):
    """Bao's trace with the shrunk covariance, whose estimate of the signal is shrunk alike."""
    from sklearn.covariance import LedoitWolf

    n, d = shape
    F, y = rows(2.0, n=n, d=d)
    F = F - F.mean(axis=0)
    fitted = LedoitWolf(assume_centered=True).fit(F)
    means = np.stack([F[y == c].mean(axis=0) for c in y])
    slow = np.trace(np.linalg.inv(fitted.covariance_) @ (means.T @ means / n))
    assert h_score(F, y) == pytest.approx((1 - fitted.shrinkage_) * slow)


@pytest.mark.parametrize("shape", [(60, 4), (30, 40)])
def test_transrate_is_the_difference_of_two_coding_rates(shape):
    n, d = shape
    F, y = rows(1.0, n=n, d=d)

    def rate(Z):
        return np.log(np.linalg.det(np.eye(d) + Z.T @ Z / (len(Z) * DISTORTION))) / 2

    Z = F - F.mean(axis=0)
    Z /= np.sqrt(np.trace(Z @ Z.T))
    slow = rate(Z) - sum((y == c).mean() * rate(Z[y == c]) for c in range(3))
    assert transrate(F, y) == pytest.approx(slow)
    assert transrate(100 * F + 7, y) == pytest.approx(slow)


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_linear_mse_is_what_a_ridge_leaves(penalty):
    from sklearn.linear_model import Ridge

    F, _ = rows(0.0)
    y = F @ np.arange(6.0) + np.random.default_rng(3).normal(size=len(F)) + 5
    model = Ridge(alpha=len(F) * penalty).fit(F, y)
    left = np.mean((y - model.predict(F)) ** 2) + penalty * np.sum(model.coef_**2)
    assert linear_mse(F, y, penalty) == pytest.approx(-left)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_neighbors_vote_as_a_loop_over_rows_says(k):
    F, y = rows(1.5, n=40)
    Z = F - F.mean(axis=0)
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    right, said = 0, []
    for i in range(40):
        near = sorted((j for j in range(40) if j != i), key=lambda j: -Z[i] @ Z[j])[:k]
        classes = [y[j] for j in near]
        right += max(classes, key=lambda c: (classes.count(c), -classes.index(c))) == y[i]
        said.append(np.mean([float(y[j]) for j in near]))
    assert neighbors(F, y, k) == pytest.approx(right / 40)
    numbers = y.astype(float)
    slow = 1 - np.sum((numbers - said) ** 2) / np.sum((numbers - numbers.mean()) ** 2)
    assert neighbors(F, numbers, k) == pytest.approx(slow)


@pytest.mark.parametrize("seed", range(5))
def test_agreeing_classes_are_those_that_reading_old_labels_tells(seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(4, size=60)
    z = np.where(rng.random(60) < 0.7, y + 10, rng.integers(10, 14, size=60))
    n = 0
    for c in range(4):
        right = 0
        for i in np.flatnonzero(y == c):
            others = [y[j] for j in range(60) if j != i and z[j] == z[i]]
            right += bool(others) and max(range(4), key=others.count) == c
        n += right > (y == c).sum() / 2
    assert agreeing_classes(z, y) == n
    assert agreeing_classes(np.arange(60), y) == 0  # labels that no two rows share say nothing
