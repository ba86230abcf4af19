"""Evaluation: every row looked at once, with nothing trained."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.machine import is_out_of_memory
from headstart.steps.attach import Tail
from headstart.steps.batches import Examples
from headstart.steps.session import restored

#: Rows a forward pass when nothing is trained.
EVALUATION_BATCH = 64

T = TypeVar("T")


@restored()
@torch.no_grad()
def logits_of(tail: Tail, examples: Examples) -> NDArray[np.float32]:
    """Return what the head says of every row, shape (n, k), in evaluation mode and float32."""
    tail.eval()

    def look(rows: NDArray[np.int64]) -> NDArray[Any]:
        return examples.unpadded(rows, tail(*examples.rows.state(rows, 0))[1].numpy())

    batches, said = looked_at(evaluation_batches(examples), look)
    return in_order(said, batches)


def evaluation_batches(examples: Examples) -> list[NDArray[np.int64]]:
    """Return the rows in batches to be looked at; those of like length together."""
    n, sizes = len(examples), examples.rows.sizes()
    order = np.arange(n) if sizes is None else np.argsort(sizes, kind="stable")
    return np.array_split(order, math.ceil(n / EVALUATION_BATCH))


def looked_at(
    batches: Sequence[NDArray[np.int64]], look: Callable[[NDArray[np.int64]], T]
) -> tuple[list[NDArray[np.int64]], list[T]]:
    """Return the batches that were looked at, and what was said of each.

    Where memory runs out, that batch and those after it are halved until they fit.

    >>> looked_at([np.arange(2), np.arange(2, 5)], lambda rows: rows.sum())[1] == [1, 9]
    True
    """
    to_do, done, said = list(reversed(batches)), [], []
    most = max(map(len, to_do))
    while to_do:
        rows = to_do.pop()
        if len(rows) > most:
            to_do += reversed(np.array_split(rows, math.ceil(len(rows) / most)))
            continue
        try:
            said.append(look(rows))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or len(rows) == 1:
                raise
            most = math.ceil(len(rows) / 2)
            to_do.append(rows)
        else:
            done.append(rows)
    return done, said


def in_order(parts: Sequence[NDArray[Any]], batches: Sequence[NDArray[np.int64]]) -> NDArray[Any]:
    """Return what was said batch by batch, a row each, in the order of the rows.

    >>> in_order([np.array([7, 5]), np.array([6])], [np.array([2, 0]), np.array([1])]).tolist()
    [5, 6, 7]
    """
    return np.concatenate(parts)[np.argsort(np.concatenate(batches))]
