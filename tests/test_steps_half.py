"""Half: gradients of grouped convolutions are float32 inside a bfloat16 step, others are not."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from headstart.steps import half
from headstart.steps.attach import Tail


@pytest.fixture
def rows() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 8, 9, 9, generator=generator).bfloat16()


def conv(groups: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(8, 8, 3, groups=groups, bias=False).bfloat16()


def gradients(module: nn.Module, rows: Tensor, *, is_wide: bool) -> tuple[Tensor, Tensor]:
    x = rows.clone().requires_grad_()
    out = module(x)
    with half.GroupedInFloat32() if is_wide else nullcontext():
        (out * out.detach()).sum().backward()
    weight = next(module.parameters())
    assert x.grad is not None and weight.grad is not None
    return x.grad, weight.grad


def in_float32(module: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same gradients computed in float32 from the same bfloat16 values."""
    weight = next(module.parameters()).detach().float()
    down = module(rows).detach().float()
    groups = module.groups
    x = torch.nn.grad.conv2d_input(rows.shape, weight, down, groups=groups)  # type: ignore[arg-type]
    w = torch.nn.grad.conv2d_weight(rows.float(), weight.shape, down, groups=groups)  # type: ignore[arg-type]
    return x.bfloat16(), w.bfloat16()


@pytest.mark.parametrize("groups", [2, 8])
def test_gradients_of_grouped_convolutions_are_those_of_float32_rounded(
    rows: Tensor, groups: int
) -> None:
    found, wanted = gradients(conv(groups), rows, is_wide=True), in_float32(conv(groups), rows)
    assert all(map(torch.equal, found, wanted))


def test_other_convolutions_are_left_alone(rows: Tensor) -> None:
    found, usual = (gradients(conv(1), rows, is_wide=wide) for wide in (True, False))
    assert all(map(torch.equal, found, usual))


def test_the_operation_is_found_by_its_arguments() -> None:
    names = [one.name for one in torch.ops.aten.convolution_backward.default._schema.arguments]
    assert names[half.GROUPS] == "groups"


def test_only_what_pays_is_widened(monkeypatch: pytest.MonkeyPatch) -> None:
    grouped, plain = nn.ModuleList([conv(8)]), nn.ModuleList([conv(1)])
    monkeypatch.setattr(half, "has_bfloat16", lambda: True)
    assert isinstance(half.backward("cpu", grouped), half.GroupedInFloat32)
    assert isinstance(half.backward("cpu", plain), nullcontext)
    assert isinstance(half.backward("cuda", grouped), nullcontext)
    monkeypatch.setattr(half, "has_bfloat16", lambda: False)
    assert isinstance(half.backward("cpu", grouped), nullcontext)


def test_a_head_alone_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half, "has_bfloat16", lambda: True)
    assert half.is_half("cpu", nn.ModuleList([conv(1)]))
    assert not half.is_half("cpu", nn.ModuleList())


def test_the_head_is_float32_whatever_the_stages_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half, "has_bfloat16", lambda: True)
    torch.manual_seed(0)
    stages = SimpleNamespace(n_stages=1, blocks=slice(0, 1), stage=lambda i: nn.Linear(8, 8))
    stages.run = lambda state, *_: (tail.stages[0](state[0]),)
    tail = Tail(stages, 0, nn.Linear(8, 1))
    with half.forward("cpu", tail.stages):
        features, outputs = tail(torch.randn(4, 8))
    assert features.dtype == torch.bfloat16
    assert outputs.dtype == torch.float32
    exact = tail.head(features.float())
    torch.testing.assert_close(outputs, exact, rtol=0, atol=0)
