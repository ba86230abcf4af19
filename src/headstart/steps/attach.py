"""Step 3, attach: a new head on top of the stages that will train."""

from typing import Any

import torch
from torch import Tensor, nn

from headstart.features.compile import resolved
from headstart.features.extract import TOP_OF_WORDS
from headstart.heads.head import Head
from headstart.heads.linear import LinearHead
from headstart.heads.tags import TagHead
from headstart.metrics.chain import legal_chain
from headstart.steps import half
from headstart.task import Kind, Task


class Tail(nn.Module):
    """The part of a network above the boundary, and the head on it.

    Parameters
    ----------
    backbone
        A `Backbone`; None where the rows are features already.
    boundary
        How many of its stages lie below and stay as they are.
    head
        A module from (n, d) to (n, k), or from (n, words, d) to (n, words, k).
    of_words
        Whether each word of a row is told something: then it ends below the pooling, and the last
        tensor of a state says where the words stand (`headstart.features.inputs.word_places`).
    """

    def __init__(
        self, backbone: Any, boundary: int, head: nn.Module, *, of_words: bool = False
    ) -> None:
        super().__init__()
        self.boundary = boundary
        self.of_words = of_words
        self.top = boundary if backbone is None else backbone.n_stages
        if of_words:
            (self.top,) = resolved(TOP_OF_WORDS, backbone.blocks, backbone.n_stages)
        self.stages = nn.ModuleList(backbone.stage(i) for i in range(boundary, self.top))
        self.head = head
        self._backbone = [backbone]  # in a list: not a submodule, the frozen stages are not ours

    def forward(self, *state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features and the head's outputs of rows at the boundary."""
        features = self._run(state, self.boundary, self.top)
        if self.of_words:
            of_pieces, places = features[0].flatten(0, 1), features[-1]
            features = (of_pieces[places.clamp(min=0)],)  # (n, words, d)
        with half.widened(features[0].device.type):
            # The user's own numbers keep their digits until the head has centered them.
            is_fine = features[0].dtype == torch.float64
            return features[0], self.head(features[0] if is_fine else features[0].float())

    def below(self, *state: Tensor) -> tuple[Tensor, ...]:
        """Return the state at the boundary of rows as the network reads them."""
        return self._run(state, 0, self.boundary)

    def _run(self, state: tuple[Tensor, ...], start: int, stop: int) -> tuple[Tensor, ...]:
        if start >= stop:
            return state
        state, places = (state[:-1], state[-1:]) if self.of_words else (state, ())
        return (*self._backbone[0].run(state, start, stop), *places)


def attach(backbone: Any, boundary: int, head: Head) -> Tail:
    """Return the trainable part: the stages above the boundary under a converged head.

    Starting from a converged head keeps the first steps from tearing the features apart (LP-FT:
    Kumar et al. 2022, https://arxiv.org/abs/2202.10054).
    """
    return Tail(backbone, boundary, head.module(), of_words=head.kind is Kind.TAGS)


def new_head(n_features: int, task: Task, seed: int) -> Head:
    """Return a linear head that says nothing yet: small random weights, zero bias."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(task.n_outputs, n_features, generator=generator).numpy() * 0.01
    bias = torch.zeros(task.n_outputs).numpy()
    if task.kind is Kind.TAGS:
        return TagHead(weight, bias, legal_chain(task.n_outputs))
    return LinearHead(weight, bias, task.kind)
