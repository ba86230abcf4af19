"""Step 3, attach: a new head on top of the stages that will train."""

from typing import Any

import torch
from torch import Tensor, nn

from headstart.heads.head import Head
from headstart.heads.linear import LinearHead
from headstart.task import Task


class Tail(nn.Module):
    """The part of a network above the boundary, and the head on it.

    Parameters
    ----------
    backbone
        A `Backbone`; None where the rows are features already.
    boundary
        How many of its stages lie below and stay as they are.
    head
        A module from (n, d) to (n, k).
    """

    def __init__(self, backbone: Any, boundary: int, head: nn.Module) -> None:
        super().__init__()
        n_stages = boundary if backbone is None else backbone.n_stages
        self.boundary = boundary
        self.n_stages = n_stages
        self.stages = nn.ModuleList(backbone.stage(i) for i in range(boundary, n_stages))
        self.head = head
        self._backbone = [backbone]  # in a list: not a submodule, the frozen stages are not ours

    def forward(self, *state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features (n, d) and the head's outputs (n, k) of rows at the boundary."""
        if len(self.stages):
            state = self._backbone[0].run(state, self.boundary, self.n_stages)
        return state[0], self.head(state[0])


def attach(backbone: Any, boundary: int, head: Head) -> Tail:
    """Return the trainable part: the stages above the boundary under a converged head.

    Starting from a converged head keeps the first steps from tearing the features apart (LP-FT:
    Kumar et al. 2022, https://arxiv.org/abs/2202.10054).
    """
    return Tail(backbone, boundary, head.module())


def new_head(n_features: int, task: Task, seed: int) -> LinearHead:
    """Return a linear head that says nothing yet: small random weights, zero bias."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(task.n_outputs, n_features, generator=generator) * 0.01
    return LinearHead(
        weight=weight.numpy(),
        bias=torch.zeros(task.n_outputs).numpy(),
        kind=task.kind,
    )
