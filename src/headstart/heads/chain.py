"""The chain of a tag head: which tag follows which, learned on sentences that were held out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.ragged import Ragged, flat, lengths
from headstart.data.tags import repaired
from headstart.metrics.chain import Chain, blocks, legal_chain, passed

#: Sentences that the chain is learned on, at most, and words of each, from its first: it has some
#: dozens of unknowns, and every word of the longest sentence is a step of its own.
CHAIN_SENTENCES, CHAIN_WORDS = 2_000, 256


def fit_chain(
    logits: Ragged, targets: Ragged, weight: NDArray[np.float64] | None = None
) -> tuple[float, Chain]:
    """Return the temperature and the chain under which held-out sentences are likeliest.

    Every legal step has a score of its own, drawn to 0 by a normal prior of variance 1, so that a
    step that was rarely met is little more than legal.

    Parameters
    ----------
    logits
        Ragged: what a layer said of sentences it has not seen.
    targets
        Codes; they are repaired here.
    weight
        How much each sentence counts beside the others, shape (n,), not 0 for all; 1 if None.
    """
    from scipy.optimize import minimize

    k = logits[0].shape[1]
    legal = legal_chain(k)
    counts = np.ones(len(logits)) if weight is None else weight
    full = np.flatnonzero(lengths(logits) * (counts > 0))
    spread = np.linspace(0, len(full) - 1, min(len(full), CHAIN_SENTENCES)).astype(np.int64)
    some = full[spread].tolist()
    rows = [np.asarray(logits[i][:CHAIN_WORDS], dtype=np.float64) for i in some]
    truth = [repaired(np.asarray(targets[i][:CHAIN_WORDS])) for i in some]
    problem = _ChainProblem(rows, truth, legal, counts[some] / counts[some].mean())
    found = minimize(problem, np.zeros(1 + k + k * k), jac=True, method="L-BFGS-B",
                     options={"maxiter": 60, "ftol": 1e-7})  # fmt: skip
    return problem.parts(found.x)


class _ChainProblem:
    """The negative log-probability of the true paths, and its gradient.

    Of the true paths it is enough to know how often each step is made in all of them.
    """

    def __init__(
        self, rows: Sequence[NDArray[np.float64]], truth: Sequence[NDArray[np.int64]],
        legal: Chain, weight: NDArray[np.float64],
    ) -> None:  # fmt: skip
        self.blocks, self.legal = list(blocks(rows, weight)), legal
        of_word = np.repeat(weight, lengths(truth))
        k, said, tags = len(legal.start), flat(rows), flat(truth)
        goes_on = np.ones(len(tags), dtype=bool)
        goes_on[np.cumsum(lengths(truth)) - 1] = False
        after = np.flatnonzero(goes_on) + 1
        self.first = np.bincount([path[0] for path in truth], weight, k)
        self.pairs = np.zeros((k, k))
        np.add.at(self.pairs, (tags[after - 1], tags[after]), of_word[after])
        self.said = float((of_word * said[np.arange(len(tags)), tags]).sum())  # of the true paths

    def parts(self, x: NDArray[np.float64]) -> tuple[float, Chain]:
        """Return the temperature and the chain of the unknowns."""
        k = len(self.legal.start)
        start, transition = x[1 : 1 + k], x[1 + k :].reshape(k, k)
        return float(np.exp(-x[0])), Chain(
            np.where(np.isfinite(self.legal.start), start, -np.inf),
            np.where(np.isfinite(self.legal.transition), transition, -np.inf),
        )

    def __call__(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the objective and its gradient."""
        temperature, chain = self.parts(x)
        likely = self.said / temperature
        likely += _made(self.first, chain.start) + _made(self.pairs, chain.transition)
        said, first, pairs = self.said, self.first.astype(np.float64), self.pairs.copy()
        for block in self.blocks:
            found = passed(block, chain, temperature)
            likely -= float((block.weight * found.log_totals).sum())
            said -= float(np.vdot(block.emissions * block.weight[:, None, None], found.marginals))
            first -= found.first
            pairs -= found.pairs
        ascent = np.concatenate([[said / temperature], first, pairs.ravel()])
        return float(x @ x / 2 - likely), x - ascent


def _made(counts: NDArray[Any], scores: NDArray[np.float64]) -> float:
    """Return what steps score in all, where those that are never made may not be legal."""
    made = counts > 0
    return float(counts[made] @ scores[made])
