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

#: Sentences that are worked on together, and words, with those that fill up the shorter ones.
BLOCK, BLOCK_WORDS = 512, 2**16


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


@dataclass(frozen=True, eq=False)
class Block:
    """Sentences of like length, side by side.

    Parameters
    ----------
    at
        Which ones they are, shape (n,).
    sizes
        How many words each has, shape (n,).
    emissions
        Shape (n, longest, k); 0 past the end of a sentence.
    weight
        How much each counts, shape (n,).
    """

    at: NDArray[np.int64]
    sizes: NDArray[np.int64]
    emissions: Array
    weight: Array


def blocks(emissions: Ragged, weight: Array | None = None) -> Iterator[Block]:
    """Yield all sentences that have words, the shortest first.

    Parameters
    ----------
    emissions
        An array of shape (words, k) a sentence.
    weight
        How much each counts, shape (n,); 1 if None.

    Examples
    --------
    >>> [block.emissions.shape for block in blocks([np.zeros((2, 3)), np.zeros((1, 3))])]
    [(2, 2, 3)]
    """
    sizes, counts = lengths(emissions), np.ones(len(emissions)) if weight is None else weight
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    while len(order):
        filled = np.arange(1, len(order[:BLOCK]) + 1) * sizes[order[:BLOCK]]  # if the last is n-th
        n = max(1, np.count_nonzero(filled <= BLOCK_WORDS))
        at, order = order[:n], order[n:]
        rows = [np.asarray(emissions[i], dtype=np.float64) for i in at]
        yield Block(at, sizes[at], padded(rows, 0.0), counts[at])


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
    for block in blocks(emissions):
        for i, path in zip(block.at, _best(block, chain), strict=True):
            paths[i] = path
    return ragged(paths)


def _best(block: Block, chain: Chain) -> list[NDArray[np.int64]]:
    sizes, emissions = block.sizes, block.emissions
    n, longest, k = emissions.shape
    back = np.zeros((n, longest, k), dtype=np.int64)
    score = chain.start + emissions[:, 0]  # (n, k): of the best path that ends in each tag
    for t in range(1, longest):
        through = score[:, :, None] + chain.transition  # (n, from, to)
        back[:, t] = through.argmax(axis=1)
        best = through.max(axis=1) + emissions[:, t]
        score = np.where((t < sizes)[:, None], best, score)
    tags = np.zeros((n, longest), dtype=np.int64)
    each = np.arange(n)
    tags[each, sizes - 1] = score.argmax(axis=1)
    for t in range(longest - 1, 0, -1):
        before = back[each, t, tags[:, t]]
        tags[:, t - 1] = np.where(t < sizes, before, tags[:, t - 1])
    return [row[:size] for row, size in zip(tags, sizes, strict=True)]


def marginals(emissions: Ragged, chain: Chain) -> NDArray[Any]:
    """Return the probability of each tag at each word; ragged, (words, k) a sentence.

    Parameters
    ----------
    emissions
        An array of shape (words, k) a sentence.

    Examples
    --------
    >>> marginals([np.zeros((2, 3))], legal_chain(3))[0].tolist()[1]  # O O, O B, B O, B B, B I
    [0.4, 0.4, 0.2]
    """
    found: list[Array] = [np.zeros((0, len(chain.start)))] * len(emissions)
    for block in blocks(emissions):
        told = passed(block, chain).marginals
        for i, row, size in zip(block.at, told, block.sizes, strict=True):
            found[i] = row[:size]
    return ragged(found)


@dataclass(frozen=True, eq=False)
class Passed:
    """What passing forward and backward through a block finds.

    Parameters
    ----------
    marginals
        The probability of each tag at each word, shape (n, longest, k); past the end of a
        sentence they mean nothing.
    log_totals
        Shape (n,): the logarithm of the sum over all sequences.
    first, pairs
        The expected number of sentences that begin with each tag, shape (k,), and of each tag
        after each, shape (k, k); summed over the sentences by what they count.
    """

    marginals: Array
    log_totals: Array
    first: Array
    pairs: Array


def passed(block: Block, chain: Chain, temperature: float = 1.0) -> Passed:
    """Pass forward and backward in scaled probabilities (Rabiner 1989, §V.A).

    A word's emissions are taken from their largest, so that nothing overflows; each forward step
    is divided by its sum, and the logarithms of both are put back into the total.

    Parameters
    ----------
    temperature
        What emissions are divided by.
    """
    sizes, emissions = block.sizes, block.emissions / temperature
    n, longest, k = emissions.shape
    top = emissions.max(axis=2, keepdims=True)
    odds = np.exp(np.maximum(emissions - top, -300))  # (n, words, k); no sentence is impossible
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
    told = np.empty_like(odds)
    for t in range(longest - 1, -1, -1):
        told[:, t] = forward[:, t] * backward
        if t == 0:
            break
        ahead = odds[:, t] * backward / scale[:, t, None]  # (n, k)
        counted = (alive[:, t] * block.weight)[:, None]
        pairs += moves * ((forward[:, t - 1] * counted).T @ ahead)
        backward = np.where(alive[:, t, None], ahead @ moves.T, backward)
    first = (told[:, 0] * block.weight[:, None]).sum(axis=0)
    return Passed(told, totals, first, pairs)


def _exponentials(chain: Chain) -> tuple[Array, Array, tuple[float, float]]:
    """Return exp(transition), exp(start), each from its largest, and those largest ones."""
    high = float(chain.start.max()), float(chain.transition.max())
    return np.exp(chain.transition - high[1]), np.exp(chain.start - high[0]), high


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
