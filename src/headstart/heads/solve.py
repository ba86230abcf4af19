"""Solve: the convex problem of a linear head, for one penalty.

    minimize over W, b:   Σ wᵢ ℓ(W xᵢ + b, yᵢ) / Σ wᵢ  +  penalty / 2 · ‖W‖²

with x the standardized features and ℓ the log-loss of softmax (one class), the sum of the
log-losses of one sigmoid a label (several), or ½ (z − y)² (a number). The bias is not penalized.
In scikit-learn's terms, for n rows: C = 1 / (n · penalty) where there are more than two classes,
C = 2 / (n · penalty) for two, whose two weights are ± half of its one, and alpha = n · penalty in
`Ridge`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headstart.heads.design import Rows, in_order, summed
from headstart.task import Kind

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Solution:
    """The unknowns at the optimum: weight (k, r), bias (k,)."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    converged: bool = True


@dataclass(frozen=True)
class Tolerance:
    """When a solver stops.

    Parameters
    ----------
    gain
        An iteration lowers the objective by less than this share of it.
    slope
        No part of the gradient, in the solver's own scale, is above this.
    iterations
        At most so many.
    """

    gain: float
    slope: float
    iterations: int


#: Choosing a penalty asks for the loss of held-out rows to three digits, not for the optimum.
ROUGH = Tolerance(gain=1e-5, slope=1e-4, iterations=200)
FINE = Tolerance(gain=1e-9, slope=1e-6, iterations=1000)


class Problem(Protocol):
    """A convex problem whose penalty is still open."""

    def solve(self, penalty: float, start: Solution | None, until: Tolerance) -> Solution:
        """Return the optimum for one penalty, sought from `start`."""
        ...


def problem(kind: Kind, rows: Rows, targets: Array, weight: NDArray[np.float64], k: int) -> Problem:
    """Return the problem of a task.

    Parameters
    ----------
    targets, weight
        Of the rows; shape (n,) or (n, k), and (n,).
    k
        How many outputs there are.
    """
    if kind is Kind.REGRESSION:
        return Ridge(rows, targets, weight)
    return Logistic(kind, rows, targets, weight, k)


class Ridge:
    """Least squares with a penalty, in closed form (Hoerl & Kennard 1970)."""

    def __init__(self, rows: Rows, targets: Array, weight: NDArray[np.float64]) -> None:
        self.rows, total = rows, weight.sum()
        self.level = float(weight @ targets / total)
        y = targets - self.level  # centered, so that nothing large cancels

        def moments(at: slice) -> tuple[Array, ...]:
            values = rows.chunk(at).astype(np.float64)
            rooted = values * np.sqrt(weight[at, None])  # a product with itself costs half
            return rooted.T @ rooted, (weight[at] * y[at]) @ values, weight[at] @ values

        gram, moment, mean = summed(moments, len(rows))
        self.mean, self.moment = mean / total, moment / total
        self.gram = gram / total - np.outer(self.mean, self.mean)

    def solve(self, penalty: float, start: Solution | None, until: Tolerance) -> Solution:
        """Return the optimum; `start` and `until` are not needed."""
        from scipy.linalg import solve

        ridge = self.gram + penalty * np.eye(len(self.gram))
        weight = solve(ridge, self.moment, assume_a="pos")[None]  # (1, r)
        return Solution(self.rows.outward(weight), self.level - weight @ self.mean)


class Logistic:
    """Log-loss with a penalty, by L-BFGS (Liu & Nocedal 1989) on scaled unknowns.

    Along principal axis j the curvature for output c is about h_c · variance_j + penalty, with
    h_c = p_c (1 − p_c) from the share p_c of the class (Böhning 1992 bounds it the same way). The
    unknowns are scaled by its root, and some tens of steps then do what took hundreds.
    """

    def __init__(
        self, kind: Kind, rows: Rows, targets: Array, weight: NDArray[np.float64], k: int
    ) -> None:
        self.rows, self.weight, self.total = rows, weight, weight.sum()
        self.targets, self.losses = targets, LOSSES[kind]
        counts = _counts(kind, targets, weight, k)
        share = np.clip(counts / self.total, 0.5 / len(rows), 1 - 0.5 / len(rows))
        self.curvature = share * (1 - share)  # (k,)
        self.level = np.log(share) if kind is Kind.MULTICLASS else np.log(share / (1 - share))

    def solve(self, penalty: float, start: Solution | None, until: Tolerance) -> Solution:
        """Return the optimum as near as `until` asks."""
        from scipy.optimize import minimize

        first = start or Solution(np.zeros((len(self.level), len(self.rows.variance))), self.level)
        scale = 1 / np.sqrt(np.outer(self.curvature, self.rows.variance) + penalty)  # (k, r)
        lift = 1 / np.sqrt(self.curvature)
        found = minimize(
            self._objective(penalty, scale, lift),
            np.concatenate([(first.weight / scale).ravel(), first.bias / lift]),
            jac=True,
            method="L-BFGS-B",
            options={"maxcor": 10, "maxiter": until.iterations, "maxfun": 2 * until.iterations}
            | {"ftol": until.gain, "gtol": until.slope},
        )
        weight, bias = self._parts(found.x)
        # Status 2 is a line search that ends in the noise of float32: the optimum, to its digits.
        return Solution(weight * scale, bias * lift, converged=found.status in (0, 2))

    def _parts(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        k = len(self.level)
        return x[:-k].reshape(k, -1), x[-k:]

    def _objective(
        self, penalty: float, scale: NDArray[np.float64], lift: NDArray[np.float64]
    ) -> Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]:
        def objective(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            weight, bias = self._parts(x)
            weight = weight * scale
            loss, by_weight, by_bias = self._pass(weight, bias * lift)
            gradient = ((by_weight + penalty * weight) * scale).ravel()
            full = loss + penalty / 2 * float((weight**2).sum())
            return full, np.concatenate([gradient, by_bias * lift])

        return objective

    def _pass(
        self, weight: NDArray[np.float64], bias: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        inward = self.rows.inward(weight)

        def part(at: slice) -> tuple[Any, ...]:
            values = self.rows.chunk(at)
            losses, residual = self.losses(_said(values, inward, bias), self.targets[at])
            residual *= self.weight[at, None].astype(residual.dtype)
            loss = losses.astype(np.float64) @ self.weight[at]
            return loss, residual.T @ values, residual.sum(axis=0, dtype=np.float64)

        loss, by_weight, by_bias = summed(part, len(self.rows))
        return (
            float(loss) / self.total,
            self.rows.outward(by_weight) / self.total,
            by_bias / self.total,
        )


def logits_of(rows: Rows, solution: Solution) -> NDArray[np.float32]:
    """Return what a solution says of rows, shape (n, k)."""
    inward = rows.inward(solution.weight)
    parts = in_order(lambda at: _said(rows.chunk(at), inward, solution.bias), len(rows))
    return np.concatenate([part.astype(np.float32) for part in parts])


def _said(values: Array, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> Array:
    # In the precision of the values, shape (m, k).
    return values @ weight.T.astype(values.dtype) + bias.astype(values.dtype)


def softmax_losses(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Return the log-loss of each row, and its gradient in the logits.

    Parameters
    ----------
    logits
        Shape (n, k); the array is used up.
    targets
        Shape (n,), the index of the class.

    Examples
    --------
    >>> loss, gradient = softmax_losses(np.zeros((1, 2)), np.array([1]))
    >>> loss.round(4), gradient  # log 2
    (array([0.6931]), array([[ 0.5, -0.5]]))
    """
    each = np.arange(len(logits))
    logits -= logits.max(axis=1, keepdims=True)
    right = logits[each, targets]
    odds = np.exp(logits, out=logits)
    total = odds.sum(axis=1)
    odds /= total[:, None]
    odds[each, targets] -= 1
    return np.log(total) - right, odds


def sigmoid_losses(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Return the sum over labels of the log-losses of each row, and its gradient in the logits.

    Parameters
    ----------
    logits, targets
        Shape (n, k); targets are 0 or 1.

    Examples
    --------
    >>> loss, gradient = sigmoid_losses(np.zeros((1, 2)), np.array([[1, 0]]))
    >>> loss.round(4), gradient  # 2 log 2
    (array([1.3863]), array([[-0.5,  0.5]]))
    """
    truth = targets.astype(logits.dtype)
    losses = np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits))) - truth * logits
    return losses.sum(axis=1), 0.5 * (1 + np.tanh(logits / 2)) - truth


LOSSES = {Kind.MULTICLASS: softmax_losses, Kind.MULTILABEL: sigmoid_losses}


def held_out_losses(kind: Kind, logits: Array, targets: Array) -> NDArray[np.float64]:
    """Return what a held-out row costs, shape (n,): log-loss, or squared error for a number."""
    exact = logits.astype(np.float64)
    if kind is Kind.REGRESSION:
        return np.asarray((exact[:, 0] - targets) ** 2)
    return np.asarray(LOSSES[kind](exact, targets)[0])


def temperature_of(
    kind: Kind, logits: Array, targets: Array, weight: NDArray[np.float64] | None = None
) -> float:
    """Return what to divide held-out logits by so that their log-loss is least.

    One row whose label says nothing is added to the n, as in the law of succession: where all n
    are right, the answer is then not to be sure of everything, but to be wrong about once in n.
    1 for a number.

    Parameters
    ----------
    logits, targets
        Shape (n, k), and as in a dataset.
    weight
        How much each row counts beside the others, shape (n,), not 0 for all; 1 if None.

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, 2017, §4.2.
    https://arxiv.org/abs/1706.04599

    Examples
    --------
    >>> sure = np.repeat([[4.0, 0.0]], 400, axis=0)  # right 3 times of 4: log 3 apart is honest
    >>> round(temperature_of(Kind.MULTICLASS, sure, np.arange(400) % 4 // 3), 2)
    3.65
    """
    from scipy.optimize import minimize_scalar

    if kind is Kind.REGRESSION:
        return 1.0
    share = np.ones(len(logits)) if weight is None else weight / weight.mean()
    found = minimize_scalar(
        lambda power: _tempered_loss(kind, logits * np.exp(-power), targets, share),
        bounds=(-np.log(20), np.log(20)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))


def _tempered_loss(kind: Kind, logits: Array, targets: Array, share: NDArray[np.float64]) -> float:
    # The added row is the mean of the rows, its label the mean of all labels.
    losses = held_out_losses(kind, logits, targets)
    if kind is Kind.MULTICLASS:
        gap = logits[np.arange(len(logits)), targets] - logits.mean(axis=1)
    else:
        gap = ((targets - 0.5) * logits).sum(axis=1)
    return float((share * losses).sum() + (share * (losses + gap)).mean())


def _counts(kind: Kind, targets: Array, weight: NDArray[np.float64], k: int) -> Array:
    if kind is Kind.MULTILABEL:
        return weight @ targets
    return np.bincount(targets, weights=weight, minlength=k)
