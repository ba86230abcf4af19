"""Frozen means frozen: weights, buffers and behavior."""

import types

import pytest
import torch
from torch import nn

from headstart.errors import HeadstartError, UsageError
from headstart.steps.freeze import (
    boundary_of,
    check_frozen,
    fingerprint,
    freeze,
    hold_batchnorm,
    train_eval_gap,
)


class TwoStages(nn.Module):
    """A convolution with BatchNorm and dropout, then a linear stage."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stages = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)),
                nn.Sequential(nn.Flatten(), nn.Linear(4 * 6 * 6, 3)),
            ]
        )
        self.source = types.SimpleNamespace(uri="toy:")
        self.n_stages = 2

    def stage(self, i: int) -> nn.Module:
        return self.stages[i]

    def run(self, state: tuple[torch.Tensor, ...], start: int, stop: int):
        for stage in self.stages[start:stop]:
            state = (stage(*state),)
        return state

    def example(self, batch: int) -> tuple[torch.Tensor]:
        return (torch.randn(batch, 1, 8, 8, generator=torch.Generator().manual_seed(1)),)


def learn(network: TwoStages, steps: int = 5) -> None:
    """Train naively, as a careless loop would: `.train()` on the whole network."""
    network.train()
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    for _ in range(steps):
        outputs = network.run(network.example(16), 0, 2)[0]
        loss = nn.functional.cross_entropy(outputs, torch.arange(16) % 3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_a_frozen_batchnorm_network_keeps_its_hash_and_its_features_under_train():
    network = TwoStages()
    freeze(network, 1)
    before = fingerprint(network, 1)
    top = fingerprint(network, 2)
    learn(network)
    assert fingerprint(network, 1) == before
    assert train_eval_gap(network, 1) == 0
    assert fingerprint(network, 2) != top  # the rest did learn
    check_frozen(network, 1, before)


def test_the_naive_way_fails_the_proof():
    """Without the guard statistics drift, and train-time features are not eval-time features."""
    network = TwoStages()
    for parameter in network.stage(0).parameters():
        parameter.requires_grad_(False)
    before = fingerprint(network, 1)
    learn(network)
    assert fingerprint(network, 1) != before
    assert train_eval_gap(network, 1) > 0.1
    with pytest.raises(HeadstartError, match="weights or buffers moved"):
        check_frozen(network, 1, before)


def test_buffers_that_stand_still_are_not_proof_enough():
    """A part whose buffers stand still may yet normalize by the batch when it trains."""
    network = TwoStages()
    for parameter in network.stage(0).parameters():
        parameter.requires_grad_(False)
    before = fingerprint(network, 1)
    with pytest.raises(HeadstartError, match="features differ"):
        check_frozen(network, 1, before)


def test_batchnorm_above_the_boundary_keeps_its_statistics_and_learns_its_weights():
    network = TwoStages()
    hold_batchnorm(network.stages)
    norm = network.stage(0)[1]
    mean, weight = norm.running_mean.clone(), norm.weight.clone()
    learn(network)
    assert torch.equal(norm.running_mean, mean)
    assert not torch.equal(norm.weight, weight)
    assert network.stage(0)[2].training  # dropout is on above the boundary


def test_an_unknown_boundary_lists_the_stages():
    with pytest.raises(UsageError, match="0 stem, 1 a, 2 final"):
        boundary_of("stage:nowhere", ("stem", "a", "final"), range(1, 2))


@pytest.mark.parametrize("spec", ["last:0", "last:0.5", "last:2.7", "last:0%", "last:3"])
def test_a_boundary_that_moves_no_block_or_part_of_one_is_refused(spec):
    with pytest.raises(UsageError, match="'last:"):
        boundary_of(spec, ("stem", "a", "b", "final"), range(1, 3))
