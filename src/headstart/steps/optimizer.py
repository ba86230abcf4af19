"""Optimizer: what a gradient step changes, and at which rates."""

import torch
from torch import nn

from headstart.steps.attach import Tail
from headstart.steps.phase import Phase


def optimizer_for(tail: Tail, phase: Phase) -> torch.optim.Optimizer:
    """Return the optimizer: a rate a stage, the head's apart, no decay on biases and norms."""
    groups = []
    n = len(tail.stages)
    parts = [(phase.rate * phase.decay ** (n - 1 - i), part) for i, part in enumerate(tail.stages)]
    parts.append((phase.head_rate or phase.rate, tail.head))
    for rate, part in parts:
        values = [p for p in part.parameters() if p.requires_grad]
        matrices, others = [p for p in values if p.ndim > 1], [p for p in values if p.ndim <= 1]
        groups += [{"params": matrices, "lr": rate, "weight_decay": phase.weight_decay}]
        groups += [{"params": others, "lr": rate, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if phase.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=phase.rate, momentum=0.9, nesterov=True, fused=True)
    return torch.optim.AdamW(groups, lr=phase.rate, fused=True)


def trained(tail: Tail) -> list[nn.Parameter]:
    """Return what requires a gradient."""
    return [p for p in tail.parameters() if p.requires_grad]
