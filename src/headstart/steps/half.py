"""Half: training in bfloat16 where it pays, and what stays in float32 there."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from headstart.machine import has_bfloat16

#: Of the arguments of a convolution's backward pass: how many groups its channels fall into.
GROUPS = 9


def is_half(on: str, stages: Sequence[nn.Module]) -> bool:
    """Say whether these stages are trained in bfloat16: on a GPU, or where the processor has it.

    A head alone is not: it is small, and every bit of it counts.
    """
    return len(stages) > 0 and (on != "cpu" or has_bfloat16())


def forward(on: str, stages: Sequence[nn.Module]) -> AbstractContextManager[Any]:
    """Run what is within in bfloat16, where that pays."""
    return torch.autocast(on, torch.bfloat16, enabled=is_half(on, stages))


def widened(on: str) -> AbstractContextManager[Any]:
    """Run what is within in float32, inside `forward` too.

    The head is: it is what ships with float32 features, and one that had learned to say the right
    numbers by bfloat16 weights said others (R² of 0.99 in training was 0.87 to 0.98 afterwards).
    """
    return torch.autocast(on, enabled=False)


def backward(on: str, stages: nn.ModuleList) -> AbstractContextManager[Any]:
    """Run a backward pass within, with the gradients of grouped convolutions in float32.

    On processors those of depthwise convolutions have no fast kernel in bfloat16: of a training
    step of EfficientNet-Lite0 they took three fifths, and the step no less than in float32. With
    them widened it takes two thirds (NOTES.md of the bench).
    """
    is_grouped = any(getattr(part, "groups", 1) > 1 for part in stages.modules())
    if on == "cpu" and is_grouped and is_half(on, stages):
        return GroupedInFloat32()
    return nullcontext()


class GroupedInFloat32(TorchDispatchMode):
    """Widen what goes into the backward pass of a grouped convolution, narrow what comes out."""

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation; `torch` calls this for each."""
        kwargs = kwargs or {}
        if func is not torch.ops.aten.convolution_backward.default or args[GROUPS] == 1:
            return func(*args, **kwargs)
        dtype = args[0].dtype
        if dtype != torch.bfloat16:
            return func(*args, **kwargs)
        found = func(*(x.float() if isinstance(x, Tensor) else x for x in args), **kwargs)
        return tuple(x if x is None else x.to(dtype) for x in found)
