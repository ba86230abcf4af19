"""Heads as modules and back: what is trained is what is saved."""

import json

import numpy as np
import pytest
import torch

from headstart.features.features import Features
from headstart.heads.head import HEADS, head_from
from headstart.heads.linear import LinearHead
from headstart.heads.mlp import fresh_mlp
from headstart.task import Kind, Task

X = (np.random.default_rng(0).normal(size=(20, 6)) * 50 + 300).astype(np.float32)
CLASSES, NUMBER = Task(Kind.MULTICLASS, ("a", "b", "c")), Task(Kind.REGRESSION)


def linear():
    weight = np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32) / 100
    return LinearHead(weight, np.arange(3, dtype=np.float32), Kind.MULTICLASS, temperature=2.0)


HEADS_TRIED = [
    linear(),
    fresh_mlp(Features.of(X), CLASSES, hidden=8),
    fresh_mlp(Features.of(X), NUMBER, hidden=8, targets=np.linspace(1e5, 2e5, 20)),
]


@pytest.mark.parametrize("head", HEADS_TRIED, ids=("linear", "mlp", "mlp-number"))
class TestEveryHead:
    def test_its_module_says_the_same(self, head):
        said = head.module().eval()(torch.from_numpy(X)).detach().numpy()
        assert said == pytest.approx(head.logits(X), rel=1e-4, abs=1e-3)

    def test_it_learns_what_its_module_learned(self, head):
        module = head.module().eval()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
        module(torch.from_numpy(X)).square().mean().sqrt().backward()
        optimizer.step()
        said = module(torch.from_numpy(X)).detach().numpy()
        assert not np.allclose(said, head.logits(X), rtol=1e-3)
        assert head.learned(module).logits(X) == pytest.approx(said, rel=1e-4, abs=1e-3)

    def test_training_its_module_leaves_it_as_it_was(self, head):
        before = head.logits(X).copy()
        with torch.no_grad():
            for parameter in head.module().parameters():
                parameter.zero_()
        assert np.array_equal(head.logits(X), before)

    def test_it_is_made_again_from_its_state(self, head):
        arrays, facts = head.state()
        again = head_from(arrays, json.loads(json.dumps(facts)))
        assert type(again) is type(head)
        assert np.array_equal(again.outputs(X), head.outputs(X))

    def test_it_is_found_by_its_name(self, head):
        assert HEADS.get(head.name) is type(head)


def test_a_fresh_mlp_of_numbers_starts_at_their_mean():
    head = HEADS_TRIED[2]
    assert head.outputs(X).mean() == pytest.approx(1.5e5, rel=0.1)


def test_numbers_far_from_zero_come_back_from_the_layers():
    y = 1.7e9 + 50 + np.linspace(-1, 1, 20)
    said = fresh_mlp(Features.of(X), NUMBER, hidden=8, targets=y).outputs(X)[:, 0]
    assert len(np.unique(said)) == 20
    assert said == pytest.approx(y, abs=5)  # float32 tells every 128th apart


def test_the_seed_draws_the_weights():
    first, again, other = (fresh_mlp(Features.of(X), CLASSES, seed=s) for s in (0, 0, 1))
    assert np.array_equal(first.logits(X), again.logits(X))
    assert not np.array_equal(first.logits(X), other.logits(X))


def test_probabilities_are_divided_by_the_temperature():
    cool = LinearHead(np.ones((2, 1)), np.array([0.0, np.log(16)]), Kind.MULTICLASS, 2.0)
    assert cool.outputs(np.zeros((1, 1))).ravel() == pytest.approx([0.2, 0.8])  # 1 : √16


def test_a_column_far_from_zero_reaches_the_network_with_its_digits():
    times = 1.7e9 + np.arange(60.0)[:, None]  # float32 tells every 128th apart
    head = fresh_mlp(Features.of(times), CLASSES, hidden=8)
    said = head.module().eval()(torch.from_numpy(times)).detach().numpy()
    assert len(np.unique(said[:, 0])) == 60
    assert said == pytest.approx(head.logits(times), abs=1e-5)
    assert np.array_equal(head_from(*head.state()).logits(times), head.logits(times))
