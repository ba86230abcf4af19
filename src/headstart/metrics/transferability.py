"""Transferability: do these features fit these labels? One number, no head trained.

Scores of one kind are compared between sources on the same rows; none is an accuracy. They are
weaker than measured probes (a list sorted by size can beat them), so they stand beside those.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def logme(features: ArrayLike, targets: ArrayLike) -> float:
    """Return the log of the maximum evidence a row, averaged over classes (or of one number).

    A linear model with a Gaussian prior of precision α and Gaussian noise of precision β explains
    each target column; α and β are chosen to make the evidence p(y | F, α, β) largest.

    Parameters
    ----------
    features
        Shape (n, d).
    targets
        Shape (n,): class indices (integers), or numbers (floats).

    References
    ----------
    You et al., LogME, 2021, algorithm 1. https://arxiv.org/abs/2102.11005

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(60) % 2
    >>> noise = rng.normal(size=(60, 4))
    >>> logme(noise + 3 * y[:, None], y) > logme(noise, y)
    True
    """
    F, columns = np.asarray(features, dtype=np.float64), _columns(targets)
    u, s, _ = np.linalg.svd(F, full_matrices=False)
    return float(np.mean([_evidence(u, s**2, y, F.shape) for y in columns.T]))


def _evidence(
    u: NDArray[np.float64],
    eigen: NDArray[np.float64],
    y: NDArray[np.float64],
    shape: tuple[int, ...],
) -> float:
    # MacKay's fixed point on α and β, in the axes of the features (eigen: squared singular values).
    n, d = shape
    z2 = (u.T @ y) ** 2  # (r,)
    rest = max(float(y @ y - z2.sum()), 0.0)  # what no linear model can say
    alpha = beta = 1.0
    for _ in range(100):
        shrink = alpha / beta
        gamma = float((eigen / (eigen + shrink)).sum())
        m2 = float((eigen * z2 / (eigen + shrink) ** 2).sum())
        residual = float((z2 * (shrink / (eigen + shrink)) ** 2).sum()) + rest
        new = gamma / max(m2, 1e-12), (n - gamma) / max(residual, 1e-12)
        done = abs(new[0] / new[1] - shrink) <= 1e-4 * shrink
        alpha, beta = new
        if done:
            break
    log_det = float(np.log(alpha + beta * eigen).sum()) + (d - len(eigen)) * np.log(alpha)
    evidence = (
        d * np.log(alpha) + n * np.log(beta) - n * np.log(2 * np.pi)
        - beta * residual - alpha * m2 - log_det
    ) / 2  # fmt: skip
    return float(evidence / n)


def h_score(features: ArrayLike, targets: ArrayLike) -> float:
    """Return tr(cov(F)⁻¹ cov(E[F | y])): how much of the features' spread the classes explain.

    The covariance of the features is shrunk (Ledoit & Wolf 2004), so that it can be inverted where
    d is not far below n.

    Parameters
    ----------
    features
        Shape (n, d).
    targets
        Shape (n,): class indices.

    References
    ----------
    Bao et al., An information-theoretic approach to transferability, 2019, def. 2;
    Ibrahim et al., Newer is not always better, 2022 (shrinkage). https://arxiv.org/abs/2110.06893

    Examples
    --------
    >>> y = np.arange(400) % 2
    >>> told = 2.0 * y[:, None] - 1
    >>> round(h_score(told, y), 2)  # the class says all
    1.0
    """
    F, y = np.asarray(features, dtype=np.float64), np.asarray(targets)
    centered = F - F.mean(axis=0)
    shrinkage, scale = _ledoit_wolf(centered)
    _, which, counts = np.unique(y, return_inverse=True, return_counts=True)
    means = np.zeros((len(counts), F.shape[1]))
    np.add.at(means, which, centered)
    means *= (np.sqrt(counts) / counts)[:, None]  # (k, d): √(n_c) · E[F | y = c]
    covariance = (1 - shrinkage) * centered.T @ centered / len(F)
    covariance[np.diag_indices_from(covariance)] += shrinkage * scale
    solved = np.linalg.lstsq(covariance, means.T, rcond=None)[0]  # (d, k)
    return float((means.T * solved).sum() / len(F) * (1 - shrinkage))


def _ledoit_wolf(centered: NDArray[np.float64]) -> tuple[float, float]:
    from sklearn.covariance import ledoit_wolf_shrinkage

    scale = float((centered**2).sum() / centered.size)
    return float(ledoit_wolf_shrinkage(centered, assume_centered=True)), scale


def leep(probabilities: ArrayLike, targets: ArrayLike) -> float:
    """Return the mean log-likelihood of the targets given the source's own label probabilities.

    Parameters
    ----------
    probabilities
        Shape (n, z): what the source's old head says of each row.
    targets
        Shape (n,): class indices.

    References
    ----------
    Nguyen et al., LEEP, 2020, eq. 2. https://arxiv.org/abs/2002.12462

    Examples
    --------
    >>> leep([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [0, 0, 1])  # an old label tells the new one
    0.0
    """
    theta, y = np.asarray(probabilities, dtype=np.float64), np.asarray(targets)
    joint = np.zeros((int(y.max()) + 1, theta.shape[1]))
    np.add.at(joint, y, theta)
    conditional = joint / np.maximum(joint.sum(axis=0), 1e-300)  # (k, z): P(y | z)
    likely = (conditional[y] * theta).sum(axis=1)
    return float(np.log(np.maximum(likely, 1e-300)).mean())


def nce(labels: ArrayLike, targets: ArrayLike) -> float:
    """Return −H(y | z): the negative conditional entropy of the targets given old labels, in nats.

    Parameters
    ----------
    labels, targets
        Shape (n,): the source's own hard labels, and the new class indices.

    References
    ----------
    Tran et al., Transferability and hardness of supervised classification tasks, 2019.
    https://arxiv.org/abs/1908.08142

    Examples
    --------
    >>> round(nce([0, 0, 0, 0], [0, 0, 1, 1]), 4)  # one old label says nothing: −log 2
    -0.6931
    """
    z, y = np.asarray(labels), np.asarray(targets)
    return leep(np.eye(int(z.max()) + 1)[z], y)


def _columns(targets: ArrayLike) -> NDArray[np.float64]:
    """Return one 0/1 column a class, or the numbers themselves; shape (n, k)."""
    y = np.asarray(targets)
    if y.dtype.kind == "f":
        return y[:, None]
    return np.asarray(y[:, None] == np.unique(y), dtype=np.float64)
