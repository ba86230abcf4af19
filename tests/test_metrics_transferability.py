"""Transferability scores against slow references written from the papers."""

import numpy as np
import pytest

from headstart.metrics.transferability import h_score, leep, logme, nce


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


@pytest.mark.parametrize("score", [logme, h_score])
def test_features_that_tell_the_classes_apart_score_higher(score):
    found = [score(*rows(gap)) for gap in (0.0, 1.0, 3.0)]
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
