"""A folded BatchNorm says the same, learns the same, and is not run."""

import types
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from headstart.steps.attach import Tail
from headstart.steps.fold import folded
from headstart.steps.freeze import hold_batchnorm


class ActivatingNorm(nn.BatchNorm2d):
    """Like timm's: it normalizes, drops and activates."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.drop, self.act = nn.Identity(), nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))


class PaddedConv(nn.Conv2d):
    """Like timm's convolutions of TensorFlow's networks: it pads by itself."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(nn.functional.pad(x, (0, 1, 0, 1)), self.weight, self.bias)


class StandardizedConv(nn.Conv2d):
    """Its weights are made of others: a factor on those is lost."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight / self.weight.norm(), self.bias)


class ReadTwice(nn.Module):
    """A convolution whose output goes past the normalization too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv(x)
        return made + self.norm(made)


class Shared(nn.Module):
    """A convolution that two normalizations take turns on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])

    def forward(self, x: Tensor) -> Tensor:
        for norm in self.norms:
            x = norm(self.conv(x))
        return x


def tail_of(*stages: nn.Module) -> Tail:
    """Return these stages under a head, with statistics unlike 0 and 1."""
    for i, norm in enumerate(m for m in nn.Sequential(*stages).modules() if hasattr(m, "eps")):
        generator = torch.Generator().manual_seed(i)
        for values, least in ((norm.running_mean, -1.0), (norm.running_var, 0.5)):
            values.copy_(torch.rand(len(values), generator=generator) + least)
        if norm.affine:
            norm.weight.data.copy_(torch.rand(len(norm.weight), generator=generator) + 0.5)
            norm.bias.data.copy_(torch.rand(len(norm.bias), generator=generator))

    def run(state: tuple[Tensor, ...], start: int, stop: int) -> tuple[Tensor, ...]:
        (x,) = state
        for stage in stages[start:stop]:
            x = stage(x)
        return (x.mean((2, 3)) if stop == len(stages) else x,)

    backbone = types.SimpleNamespace(n_stages=len(stages), stage=stages.__getitem__, run=run)
    return Tail(backbone, 0, nn.LazyLinear(2))


def network() -> Sequence[nn.Module]:
    torch.manual_seed(0)
    return (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
        nn.Sequential(PaddedConv(4, 8, 3, stride=2, bias=False, groups=2), ActivatingNorm(8)),
        nn.Sequential(nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6, affine=False)),
    )


@pytest.fixture
def pixels() -> tuple[Tensor, ...]:
    return (torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(1)),)


class Norms(TorchDispatchMode):
    """Count the normalizations that are run."""

    n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.n += "native_batch_norm" in str(func)
        return func(*args, **(kwargs or {}))


def learned(tail: Tail, state: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor], int]:
    """Return what the tail says, the gradient of each weight, and how many norms ran."""
    tail.train()
    tail.zero_grad()
    with Norms() as norms:
        said = tail(*state)[1]
        said.square().sum().backward()
    gradients = {name: p.grad.clone() for name, p in tail.named_parameters() if p.grad is not None}
    return said.detach(), gradients, norms.n


def test_what_is_said_and_every_gradient_are_the_same_without_a_norm_being_run(pixels):
    tail = tail_of(*network())
    hold_batchnorm(tail.stages)
    said, gradients, n_plain = learned(tail, pixels)
    before = {name: value.clone() for name, value in tail.state_dict().items()}
    with folded(tail, pixels) as n:
        said_folded, gradients_folded, n_folded = learned(tail, pixels)
        assert list(tail.state_dict()) == list(before)
    assert (n, n_folded) == (3, 0)
    assert n_plain > 0
    torch.testing.assert_close(said_folded, said)
    assert gradients_folded.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_folded[name], gradient, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in tail.state_dict().items())


def test_afterwards_every_module_runs_as_before(pixels):
    tail = tail_of(*network())
    hold_batchnorm(tail.stages)
    said, _, n_plain = learned(tail, pixels)
    with pytest.raises(KeyError), folded(tail, pixels):
        raise KeyError
    said_again, _, n_again = learned(tail, pixels)
    assert n_again == n_plain
    assert torch.equal(said_again, said)


def test_weights_that_learn_meanwhile_are_taken_as_they_are(pixels):
    tail = tail_of(*network())
    hold_batchnorm(tail.stages)
    with folded(tail, pixels), torch.no_grad():
        for parameter in tail.parameters():
            parameter.mul_(1.5)
        said = tail.eval()(*pixels)[1]
    with torch.no_grad():
        torch.testing.assert_close(tail.eval()(*pixels)[1], said)


def test_a_batchnorm_that_reads_the_batch_is_not_folded(pixels):
    tail = tail_of(*network())
    with folded(tail, pixels) as n:
        assert n == 0
        assert learned(tail, pixels)[2] > 0


@pytest.mark.parametrize(
    "stage",
    [
        ReadTwice(),
        Shared(),
        nn.Sequential(StandardizedConv(3, 3, 1), nn.BatchNorm2d(3)),
        nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)),
    ],
    ids=["read twice", "shared", "standardized", "transposed", "something between"],
)
def test_where_folding_would_say_something_else_nothing_is_folded(stage, pixels):
    tail = tail_of(stage)
    hold_batchnorm(tail.stages)
    said, _, _ = learned(tail, pixels)
    with folded(tail, pixels) as n:
        assert n == 0
        assert torch.equal(learned(tail, pixels)[0], said)
