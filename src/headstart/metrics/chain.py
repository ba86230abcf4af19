"""Chain: a linear chain over the words of a sentence: its marginals, its paths, what is legal.

A sequence y has the score Σ emission[i, y_i] + start[y_0] + Σ transition[y_(i−1), y_i]; its
probability is the exponential of that as a share of the sum over all sequences (Lafferty,
McCallum & Pereira, Conditional random fields, 2001). Sentences of like length are worked on
together, so that NumPy is called once a position, not once a word.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.ragged import Ragged, lengths, padded, ragged

Array = NDArray[np.float64]

#: Sentences that are worked on together.
BLOCK = 512


@dataclass(frozen=True, eq=False)
class Chain:
    """What goes before what.

    Parameters
    ----------
    start
        Shape (k,): the score of beginning with a tag; −∞ where it must not.
    transition
        Shape (k, k): the score of a tag (column) after another (row); −∞ where it must not.
    """

    start: Array
    transition: Array


def legal_chain(k: int) -> Chain:
    """Return the rules of BIO for the k tags O, B-1, I-1, B-2, …: what may follow scores 0.

    >>> chain = legal_chain(3)
    >>> chain.start.tolist(), chain.transition[0].tolist(), chain.transition[1].tolist()
    ([0.0, 0.0, -inf], [0.0, 0.0, -inf], [0.0, 0.0, 0.0])
    """
    start, transition = np.zeros(k), np.zeros((k, k))
    inside = np.arange(2, k, 2)
    start[inside] = -np.inf
    transition[:, inside] = -np.inf
    transition[inside - 1, inside] = 0
    transition[inside, inside] = 0
    return Chain(start, transition)


def best_paths(emissions: Ragged, chain: Chain) -> NDArray[Any]:
    """Return the path of highest score of each sentence; ragged, int64 of shape (words,) each.

    Parameters
    ----------
    emissions
        An array of shape (words, k) a sentence.

    References
    ----------
    Viterbi, Error bounds for convolutional codes, 1967.

    Examples
    --------
    >>> best_paths([np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 1.0]])], legal_chain(3)).tolist()
    [array([1, 2])]
    """
    paths: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)] * len(emissions)
    for at, block in _blocks(emissions):
        for i, path in zip(at, _best(block, lengths([emissions[i] for i in at]), chain),
                           strict=True):  # fmt: skip
            paths[i] = path
    return ragged(paths)


def _best(block: Array, sizes: NDArray[np.int64], chain: Chain) -> list[NDArray[np.int64]]:
    n, longest, k = block.shape
    back = np.zeros((n, longest, k), dtype=np.int64)
    score = chain.start + block[:, 0]  # (n, k): of the best path that ends in each tag
    for t in range(1, longest):
        through = score[:, :, None] + chain.transition  # (n, from, to)
        back[:, t] = through.argmax(axis=1)
        best = through.max(axis=1) + block[:, t]
        score = np.where((t < sizes)[:, None], best, score)
    tags = np.zeros((n, longest), dtype=np.int64)
    each = np.arange(n)
    tags[each, sizes - 1] = score.argmax(axis=1)
    for t in range(longest - 1, 0, -1):
        before = back[each, t, tags[:, t]]
        tags[:, t - 1] = np.where(t < sizes, before, tags[:, t - 1])
    return [row[:size] for row, size in zip(tags, sizes, strict=True)]


@dataclass(frozen=True, eq=False)
class Passed:
    """What forward-backward found.

    Parameters
    ----------
    marginals
        Ragged: the probability of each tag at each word, shape (words, k) each.
    log_totals
        Shape (n,): the logarithm of the sum over all sequences; 0 for an empty sentence.
    first, pairs
        The expected number of sentences that begin with each tag, shape (k,), and of each tag
        after each, shape (k, k); summed over the sentences by their weight.
    """

    marginals: NDArray[Any]
    log_totals: Array
    first: Array
    pairs: Array


def forward_backward(emissions: Ragged, chain: Chain, weight: Array | None = None) -> Passed:
    """Return the marginals of each sentence, and what a gradient needs.

    Parameters
    ----------
    emissions
        An array of shape (words, k) a sentence.
    weight
        Shape (n,): how much a sentence counts in the expectations; 1 if None.

    Examples
    --------
    >>> found = forward_backward([np.zeros((2, 3))], legal_chain(3))  # O O, O B, B O, B B, B I
    >>> found.marginals[0].tolist()[1], round(float(np.exp(found.log_totals[0])), 6)
    ([0.4, 0.4, 0.2], 5.0)
    """
    k = len(chain.start)
    marginals: list[Array] = [np.zeros((0, k))] * len(emissions)
    totals, first, pairs = np.zeros(len(emissions)), np.zeros(k), np.zeros((k, k))
    weight = np.ones(len(emissions)) if weight is None else weight
    for at, block in _blocks(emissions):
        sizes = lengths([emissions[i] for i in at])
        told, totals[at], begun, moved = _passed(block, sizes, chain, weight[at])
        first += begun
        pairs += moved
        for i, row, size in zip(at, told, sizes, strict=True):
            marginals[i] = row[:size]
    return Passed(ragged(marginals), totals, first, pairs)


def _passed(
    block: Array, sizes: NDArray[np.int64], chain: Chain, weight: Array
) -> tuple[Array, Array, Array, Array]:
    """Pass forward and backward in scaled probabilities (Rabiner 1989, §V.A).

    A word's emissions are taken from their largest, so that nothing overflows; each forward step
    is divided by its sum, and the logarithms of both are put back into the total.
    """
    n, longest, k = block.shape
    top = block.max(axis=2, keepdims=True)
    odds = np.exp(np.maximum(block - top, -300))  # (n, words, k); no sentence is impossible
    moves, starts, shift = _exponentials(chain)
    alive = np.arange(longest) < sizes[:, None]  # (n, words)
    forward, scale = np.empty_like(odds), np.ones((n, longest))
    state = starts * odds[:, 0]
    for t in range(longest):
        if t:
            state = np.where(alive[:, t, None], (state @ moves) * odds[:, t], state)
        scale[:, t] = np.where(alive[:, t], state.sum(axis=1), 1.0)
        state = state / scale[:, t, None]
        forward[:, t] = state
    logs = np.log(scale) + np.where(alive, top[:, :, 0], 0)
    totals = logs.sum(axis=1) + shift[0] + shift[1] * (sizes - 1)
    backward, pairs = np.ones((n, k)), np.zeros((k, k))
    marginals = np.empty_like(odds)
    for t in range(longest - 1, -1, -1):
        marginals[:, t] = forward[:, t] * backward
        if t == 0:
            break
        ahead = odds[:, t] * backward / scale[:, t, None]  # (n, k)
        here = (alive[:, t] * weight)[:, None]
        pairs += moves * ((forward[:, t - 1] * here).T @ ahead)
        backward = np.where(alive[:, t, None], ahead @ moves.T, backward)
    return marginals, totals, weight @ marginals[:, 0], pairs


def _exponentials(chain: Chain) -> tuple[Array, Array, tuple[float, float]]:
    """Return exp(transition), exp(start), each from its largest, and those largest ones."""
    high = float(chain.start.max()), float(chain.transition.max())
    return np.exp(chain.transition - high[1]), np.exp(chain.start - high[0]), high


def path_scores(emissions: Ragged, paths: Ragged, chain: Chain) -> Array:
    """Return the score of one path a sentence; shape (n,).

    >>> path_scores([np.array([[0.0, 1.0, 2.0]])], [np.array([1])], legal_chain(3))
    array([1.])
    """
    found = np.zeros(len(emissions))
    for i, (emission, path) in enumerate(zip(emissions, paths, strict=True)):
        if len(path):
            found[i] = emission[np.arange(len(path)), path].sum() + chain.start[path[0]]
            found[i] += chain.transition[path[:-1], path[1:]].sum()
    return found


def legal_paths(outputs: Ragged) -> NDArray[Any]:
    """Return the legal BIO path of highest probability, for probabilities (words, k) a sentence.

    >>> legal_paths([np.array([[0.1, 0.2, 0.7], [0.5, 0.2, 0.3]])]).tolist()  # I O is not legal
    [array([1, 0])]
    """
    if not len(outputs):
        return ragged([])
    least = np.finfo(np.float32).tiny
    logs = [np.log(np.maximum(np.asarray(row, dtype=np.float64), least)) for row in outputs]
    return best_paths(logs, legal_chain(outputs[0].shape[1]))


def _blocks(emissions: Ragged) -> Iterator[tuple[NDArray[np.int64], Array]]:
    """Yield (indices, emissions of shape (n, longest, k)) of sentences of like length."""
    sizes = lengths(emissions)
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    for start in range(0, len(order), BLOCK):
        at = order[start : start + BLOCK]
        yield at, padded([np.asarray(emissions[i], dtype=np.float64) for i in at], 0.0)
