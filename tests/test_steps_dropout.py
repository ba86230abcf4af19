"""Dropout by masks of our own: as much is dropped, the mean stays, attention is attention."""

from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional

from headstart.steps import dropout


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_as_much_is_dropped_as_asked_and_the_mean_stays(rate):
    torch.manual_seed(0)
    x = torch.ones(400, 500, requires_grad=True)
    with dropout.quick("cpu"):
        y = functional.dropout(x, rate)
    y.sum().backward()
    y = y.detach()
    assert float((y == 0).float().mean()) == pytest.approx(rate, abs=0.004)
    assert float(y.mean()) == pytest.approx(1, abs=0.005)
    assert torch.equal(x.grad, y)  # of ones: what is dropped has no gradient


def test_the_masks_follow_from_the_seed_and_differ_from_call_to_call():
    def two():
        torch.manual_seed(3)
        with dropout.quick("cpu"):
            return [functional.dropout(torch.ones(1000), 0.3) for _ in range(2)]

    a, b = two()
    assert not torch.equal(a, b)
    assert all(map(torch.equal, (a, b), two()))


def test_nothing_is_dropped_where_nothing_should_be():
    x = torch.randn(7, 3)
    with dropout.quick("cpu"):
        assert torch.equal(functional.dropout(x, 0.4, training=False), x)
        assert torch.equal(functional.dropout(x, 0.0), x)
        assert not functional.dropout(x, 1.0).any()


def test_dropout_in_place_changes_its_input():
    x = torch.ones(64)
    with dropout.quick("cpu"):
        y = functional.dropout(x, 0.5, inplace=True)
    assert y is x and set(x.tolist()) == {0.0, 2.0}


def test_attention_that_sees_only_what_came_before_is_left_to_torch():
    q, k, v = (torch.randn(1, 2, 4, 8) for _ in range(3))
    said = []
    for context in (dropout.quick("cpu"), nullcontext()):
        torch.manual_seed(0)
        with context:
            said.append(functional.scaled_dot_product_attention(q, k, v, None, 0.5, True))
    assert torch.equal(*said)


@pytest.mark.parametrize("kind", ["none", "added", "boolean"])
def test_attention_with_dropout_is_torchs_in_the_mean(kind):
    torch.manual_seed(1)
    q, k, v = (torch.randn(2, 3, 5, 8) for _ in range(3))
    seen = torch.ones(2, 1, 1, 5, dtype=torch.bool)
    seen[1, ..., 3:] = False
    added = torch.zeros(2, 1, 1, 5).masked_fill(~seen, -torch.inf)
    mask = {"none": None, "added": added, "boolean": seen}[kind]
    whole = functional.scaled_dot_product_attention(q, k, v, mask)
    with dropout.quick("cpu"):
        assert torch.equal(functional.scaled_dot_product_attention(q, k, v, mask), whole)
        said = [
            functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=0.25)
            for _ in range(2000)
        ]
    assert not torch.allclose(said[0], whole, atol=0.05)
    assert torch.allclose(torch.stack(said).mean(0), whole, atol=0.06)
