"""Fold: while it learns, a held BatchNorm runs inside the convolution below it.

Held in inference mode, a BatchNorm multiplies every channel by a number and adds another. Both can
be taken into the convolution that feeds it: the weights are the same parameters, with the same
gradients, but the activation before the normalization is neither made nor kept. That is half of
what a step has to hold, and memory, not arithmetic, is what a step on a processor waits for
(NOTES.md of the bench). From scratch the statistics are those of the batch, and nothing is folded.
"""

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from headstart.steps.attach import Tail

Pair = tuple[_ConvNd, _BatchNorm]

#: What the tail says with folded weights may differ by this share of the largest value.
TOLERANCE = 1e-4


@contextmanager
def folded(tail: Tail, state: tuple[Tensor, ...]) -> Iterator[int]:
    """Fold what can be folded; afterwards every module is as it was. Yield how many were.

    Parameters
    ----------
    tail
        What will be trained.
    state
        A few rows at its boundary: they tell which module feeds which, and that the folded ones
        say the same. Where they do not (a convolution that makes its weights of others, a
        normalization that two read), nothing is folded.
    """
    pairs = _pairs(tail, state)
    plain = _said(tail, state) if pairs else None
    for pair in pairs:
        _fold(*pair)
    try:
        if plain is not None and not _is_close(_said(tail, state), plain):
            _unfold(pairs)
            pairs = []
        yield len(pairs)
    finally:
        _unfold(pairs)


def _pairs(tail: Tail, state: tuple[Tensor, ...]) -> list[Pair]:
    """Return the convolutions that feed a held BatchNorm, each with it, as a run shows them."""
    tail.train()
    held = [part for part in tail.stages.modules() if isinstance(part, _BatchNorm) and _fits(part)]
    convolutions = [part for part in tail.stages.modules() if _is_convolution(part)]
    if not held:
        return []
    made: list[tuple[Tensor, _ConvNd]] = []  # kept, so that no other tensor gets their identity
    fed: list[Pair] = []

    def note(part: Any, _: Any, output: Tensor) -> None:
        made.append((output, part))

    def ask(part: Any, given: tuple[Tensor, ...]) -> None:
        fed.extend((source, part) for output, source in made if output is given[0])

    hooks = [part.register_forward_hook(note) for part in convolutions]
    hooks += [part.register_forward_pre_hook(ask) for part in held]
    try:
        _said(tail, state)
    finally:
        for hook in hooks:
            hook.remove()
    runs = [part for _, part in made]
    return [(conv, norm) for conv, norm in fed if runs.count(conv) == 1]


def _fits(norm: _BatchNorm) -> bool:
    # One that does more than normalize is only known where it is timm's, which activates too.
    own = type(norm).forward in (_BatchNorm.forward, nn.SyncBatchNorm.forward)
    is_known = own or (hasattr(norm, "drop") and hasattr(norm, "act"))
    return is_known and _is_untouched(norm) and not norm.training and norm.running_var is not None


def _is_convolution(part: nn.Module) -> bool:
    is_plain = isinstance(part, _ConvNd) and not isinstance(part, _ConvTransposeNd)
    return is_plain and _is_untouched(part)


def _is_untouched(part: nn.Module) -> bool:
    return "forward" not in vars(part)


@torch.no_grad()
def _said(tail: Tail, state: tuple[Tensor, ...]) -> Tensor:
    tail.eval()
    return tail(*state)[0]


def _is_close(a: Tensor, b: Tensor) -> bool:
    return float((a - b).abs().max()) <= TOLERANCE * float(b.abs().max())


def _fold(conv: _ConvNd, norm: _BatchNorm) -> None:
    def convolve(self: _ConvNd, x: Tensor) -> Tensor:
        weight, bias = _joined(self, norm)
        # An attribute of the instance stands before a parameter, and is none itself.
        vars(self).update(weight=weight, bias=bias)
        try:
            return type(self).forward(self, x)  # its own, with its own padding
        finally:
            del vars(self)["weight"], vars(self)["bias"]

    conv.forward = types.MethodType(convolve, conv)
    norm.forward = types.MethodType(_activate, norm)


def _joined(conv: _ConvNd, norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return the weight and bias of a convolution with the normalization inside."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None  # `_fits`
    scale = torch.rsqrt(variance + norm.eps)
    if norm.affine:
        scale = norm.weight * scale
    shift = -mean if conv.bias is None else conv.bias - mean
    shift = shift * scale
    if norm.affine:
        shift = shift + norm.bias
    return conv.weight * scale.view(-1, *[1] * (conv.weight.ndim - 1)), shift


def _activate(self: Any, x: Tensor) -> Tensor:
    """Take the place of a folded BatchNorm; timm's drops and activates after it."""
    return self.act(self.drop(x)) if hasattr(self, "act") else x


def _unfold(pairs: list[Pair]) -> None:
    for pair in pairs:
        for part in pair:
            vars(part).pop("forward", None)
