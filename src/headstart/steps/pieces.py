"""Pieces: the gradients of a whole batch with only a part of it in memory at a time."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.losses.loss import Step
from headstart.steps.saved import random_states, set_random_states


def backward_in_pieces(
    tail: nn.Module,
    forward: Callable[[NDArray[np.int64]], Step],
    cost: Callable[[Step], Tensor],
    parts: Sequence[NDArray[np.int64]],
) -> None:
    """Add the gradients of a batch to the parameters.

    The loss sees the whole batch: what the network says of it is computed first, without a graph;
    then each piece is run again, and the gradient at its output is sent back (Gao et al. 2021,
    https://arxiv.org/abs/2101.06983). Dropout is the same both times; BatchNorm in training mode
    sees pieces, once.

    Parameters
    ----------
    tail
        The trained part.
    forward
        Runs it on some rows.
    cost
        The loss of a step.
    parts
        The rows of the batch, a piece each.
    """
    states, steps = [], []
    buffers = {name: value.clone() for name, value in tail.named_buffers()}
    with torch.no_grad():
        for part in parts:
            states.append(random_states())
            steps.append(forward(part))
        for name, value in tail.named_buffers():
            value.copy_(buffers[name])
    whole = joined(steps)
    said = (whole.features.requires_grad_(), whole.outputs.requires_grad_())
    loss = cost(whole)
    down = torch.autograd.grad(loss, said, allow_unused=True, materialize_grads=True)
    at = 0
    for part, state in zip(parts, states, strict=True):
        set_random_states(state)
        step = forward(part)
        here = (step.features, step.outputs)
        pieces = [_cut(g[at : at + len(x)], x) for g, x in zip(down, here, strict=True)]
        needed = [(x, g) for x, g in zip(here, pieces, strict=True) if x.requires_grad]
        torch.autograd.backward([x for x, _ in needed], [g for _, g in needed])
        at += len(step.outputs)


def joined(steps: Sequence[Step]) -> Step:
    """Return several steps as one; rows of different lengths are filled up, with no label there."""
    fills = {"features": 0, "outputs": 0, "targets": -1, "domain": 0, "weight": 0}
    parts = {name: [getattr(step, name) for step in steps] for name in fills}
    return Step(**{name: _stacked(parts[name], fill) for name, fill in fills.items()})


def _stacked(parts: Sequence[Tensor], fill: int) -> Tensor:
    shape = np.max([part.shape[1:] for part in parts], axis=0).astype(int)
    whole = []
    for part in parts:
        filled = part.new_full([len(part), *shape], fill)
        filled[tuple(map(slice, part.shape))] = part
        whole.append(filled)
    return torch.cat(whole)


def _cut(gradient: Tensor, like: Tensor) -> Tensor:
    return gradient[tuple(map(slice, like.shape))]
