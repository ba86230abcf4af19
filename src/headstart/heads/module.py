"""Module: heads as torch modules, to be trained; imported only where something is."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.heads.head import Layer


class Affine(nn.Module):
    """A fixed scale and shift, one a column: x · scale + shift; nothing in it is trained.

    Parameters
    ----------
    scale, shift
        Shape (d,).
    """

    def __init__(self, scale: NDArray[np.floating], shift: NDArray[np.floating]) -> None:
        super().__init__()
        self.register_buffer("scale", _tensor(scale))
        self.register_buffer("shift", _tensor(shift))

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape (n, d)."""
        return values * self.scale + self.shift


def affine(layer: Layer) -> nn.Linear:
    """Return a trainable layer of these weights."""
    weight, bias = layer
    module = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        module.weight.copy_(_tensor(weight))
        module.bias.copy_(_tensor(bias))
    return module


def layer_of(module: nn.Linear) -> Layer:
    """Return the weights a layer has now, copied."""
    return tuple(p.detach().float().cpu().numpy().copy() for p in (module.weight, module.bias))


def _tensor(values: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))
