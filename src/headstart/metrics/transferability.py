"""Transferability: do these features fit these labels? One number, no head trained.

Scores of one kind are compared between sources on the same rows; none is an accuracy. They are
weaker than measured probes (a list sorted by size can beat them), so they stand beside those.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.metrics.neighbors import unit


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
    eigen, along = _along(F, columns)
    each = zip(along.T, np.square(columns).sum(axis=0), strict=True)
    return float(np.mean([_evidence(eigen, z**2, float(all_), F.shape) for z, all_ in each]))


def _along(
    F: NDArray[np.float64], columns: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the squared singular values of F (r,), and the columns in its left axes (r, k).

    The smaller of FᵀF and FFᵀ is taken apart: many times quicker than F itself.
    """
    is_tall = F.shape[0] >= F.shape[1]
    eigen, axes = np.linalg.eigh(F.T @ F if is_tall else F @ F.T)
    some = eigen > 1e-12 * max(float(eigen[-1]), 1e-300)
    eigen, axes = eigen[some], axes[:, some]
    if is_tall:
        return eigen, axes.T @ (F.T @ columns) / np.sqrt(eigen)[:, None]
    return eigen, axes.T @ columns


def _evidence(
    eigen: NDArray[np.float64], z2: NDArray[np.float64], total: float, shape: tuple[int, ...]
) -> float:
    # MacKay's fixed point on α and β, in the axes of the features (eigen: squared singular values).
    n, d = shape
    if not len(eigen):  # features that are all zero: the noise is all there is
        return float((np.log(n / max(total, 1e-12)) - np.log(2 * np.pi) - 1) / 2)
    rest = max(total - float(z2.sum()), 0.0)  # what no linear model can say
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
    covariance = centered.T @ centered / len(F)
    shrinkage, scale = _ledoit_wolf(centered, covariance)
    _, which, counts = np.unique(y, return_inverse=True, return_counts=True)
    means = np.zeros((len(counts), F.shape[1]))
    np.add.at(means, which, centered)
    means *= (np.sqrt(counts) / counts)[:, None]  # (k, d): √(n_c) · E[F | y = c]
    covariance *= 1 - shrinkage
    covariance[np.diag_indices_from(covariance)] += shrinkage * scale
    solved = _solved(covariance, means.T)  # (d, k)
    return float((means.T * solved).sum() / len(F) * (1 - shrinkage))


def _solved(covariance: NDArray[np.float64], sides: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    try:
        return np.asarray(cho_solve(cho_factor(covariance), sides))
    except LinAlgError:  # nothing was shrunk, and a feature says what others do
        return np.asarray(np.linalg.lstsq(covariance, sides, rcond=None)[0])


def _ledoit_wolf(
    centered: NDArray[np.float64], covariance: NDArray[np.float64]
) -> tuple[float, float]:
    """Return how much to shrink towards how large a multiple of the identity.

    It is scikit-learn's estimate, from a covariance that is there already.
    """
    n, d = centered.shape
    scale = float(np.trace(covariance)) / d
    spread = float(np.square(covariance).sum())
    noise = float(np.square(np.square(centered).sum(axis=1)).sum()) / n - spread
    off = spread - d * scale**2  # how far from a multiple of the identity, squared
    return (min(noise / n, off) / off if off > 0 else 0.0), scale


#: The distortion at which TransRate counts the bits, as a share of the features' spread.
DISTORTION = 1e-4


def transrate(features: ArrayLike, targets: ArrayLike) -> float:
    """Return how many fewer nats tell a row apart once its class is known: R(Z) − R(Z | y).

    R(Z, ε) = ½ log det(I + Zᵀ Z / (n ε)) is the rate that codes the rows Z up to distortion ε. The
    rows are centered, and scaled so that the squares of all their numbers sum to one: the score of
    a network does not depend on the units of its features.

    Parameters
    ----------
    features
        Shape (n, d).
    targets
        Shape (n,): class indices.

    References
    ----------
    Huang et al., Frustratingly easy transferability estimation, 2022, eq. 5.
    https://arxiv.org/abs/2106.09362

    Examples
    --------
    >>> y = np.arange(60) % 3
    >>> told = np.eye(3)[y]  # a direction a class
    >>> transrate(told, y) > transrate(told, np.arange(60) // 20)
    True
    """
    Z, y = np.asarray(features, dtype=np.float64), np.asarray(targets)
    Z = Z - Z.mean(axis=0)
    Z = Z / max(float(np.linalg.norm(Z)), 1e-300)
    parts = [Z[y == name] for name in np.unique(y)]
    given = sum(len(part) / len(Z) * _rate(part) for part in parts)
    return float(_rate(Z) - given)


def _rate(Z: NDArray[np.float64]) -> float:
    # det(I + Zᵀ Z) = det(I + Z Zᵀ): the smaller of the two is taken.
    gram = Z.T @ Z if Z.shape[1] <= len(Z) else Z @ Z.T
    gram = gram / (len(Z) * DISTORTION)
    gram[np.diag_indices_from(gram)] += 1
    return float(np.linalg.slogdet(gram)[1]) / 2


def linear_mse(features: ArrayLike, targets: ArrayLike, penalty: float = 1.0) -> float:
    """Return minus the penalized squared error of a linear map from the features to a number.

    Given what an old head says in place of features, it is the paper's *label* MSE: the form that
    LEEP has where a number is asked for.

    Parameters
    ----------
    features
        Shape (n, d).
    targets
        Shape (n,): numbers.
    penalty
        λ of min over A, b of ‖y − F A − b‖² / n + λ ‖A‖².

    References
    ----------
    Nguyen et al., Simple transferability estimation for regression tasks, 2023.
    https://arxiv.org/abs/2312.00656

    Examples
    --------
    >>> x = np.array([[-1.0], [1.0]])
    >>> round(linear_mse(x, [-1.0, 1.0]), 6)  # A = 1/2: an error of 1/4, a penalty of 1/4
    -0.5
    """
    F, y = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    F, y = F - F.mean(axis=0), y - y.mean()
    u, s, _ = np.linalg.svd(F, full_matrices=False)
    along = u.T @ y  # (r,)
    explained = along**2 * s**2 / (s**2 + len(F) * penalty)
    return -float((y @ y - explained.sum()) / len(F))


def neighbors(features: ArrayLike, targets: ArrayLike, k: int = 5) -> float:
    """Return how well the k most similar other rows tell a row: accuracy, or R² of a number.

    Rows are centered and compared by their cosine. The nearest of equally frequent classes wins.

    Parameters
    ----------
    features
        Shape (n, d).
    targets
        Shape (n,): class indices (integers), or numbers (floats).

    Examples
    --------
    >>> x = [[-9.0], [-8.0], [-7.0], [7.0], [8.0], [9.0]]
    >>> neighbors(x, [0, 0, 0, 1, 1, 1], k=2), neighbors(x, [0, 1, 0, 1, 0, 1], k=1) < 1
    (1.0, True)
    """
    F, y = np.asarray(features, dtype=np.float32), np.asarray(targets)
    rows = unit(F, F.mean(axis=0))
    close = rows @ rows.T  # (n, n): a ranking samples few rows
    np.fill_diagonal(close, -np.inf)
    k = min(k, len(y) - 1)
    near = np.argsort(-close, axis=1, kind="stable")[:, :k]  # (n, k), the nearest first
    said = y[near]
    if y.dtype.kind == "f":
        spread = float(np.square(y - y.mean()).sum())
        return 1 - float(np.square(y - said.mean(axis=1)).sum()) / max(spread, 1e-300)
    votes = (said[:, :, None] == said[:, None, :]).sum(axis=2)  # (n, k): of each neighbor's class
    return float((said[np.arange(len(y)), votes.argmax(axis=1)] == y).mean())


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


def agreeing_classes(labels: ArrayLike, targets: ArrayLike) -> int:
    """Return in how many classes the source's own labels agree with those of the data.

    An old label stands for the class most frequent among the *other* rows that have it. A class
    agrees if most of its rows are right when read like that: the source tells it already, under
    names of its own.

    Parameters
    ----------
    labels, targets
        Shape (n,): the source's own hard labels, and the class indices.

    Examples
    --------
    >>> agreeing_classes([7, 7, 7, 3, 3, 3], [0, 0, 0, 1, 1, 1])  # 7 stands for 0, and 3 for 1
    2
    >>> agreeing_classes([7, 7, 7, 7, 7, 7], [0, 0, 0, 0, 1, 1])  # one label says nothing of 1
    1
    """
    _, z = np.unique(np.asarray(labels), return_inverse=True)
    _, y = np.unique(np.asarray(targets), return_inverse=True)
    table = np.zeros((int(z.max()) + 1, int(y.max()) + 1), dtype=np.int64)
    np.add.at(table, (z, y), 1)
    others = table[z]  # (n, k): how often each class has this row's old label…
    others[np.arange(len(y)), y] -= 1  # …in the other rows
    right = (others.argmax(axis=1) == y) & (others.max(axis=1) > 0)
    share = np.bincount(y, weights=right) / np.bincount(y)
    return int((share > 0.5).sum())


def _columns(targets: ArrayLike) -> NDArray[np.float64]:
    """Return one 0/1 column a class, or the numbers themselves; shape (n, k)."""
    y = np.asarray(targets)
    if y.dtype.kind == "f":
        return y[:, None]
    return np.asarray(y[:, None] == np.unique(y), dtype=np.float64)
