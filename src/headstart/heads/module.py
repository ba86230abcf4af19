"""Module: heads as torch modules, to be trained; imported only where something is."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.heads.head import Layer


class Affine(nn.Module):
    """A fixed map, one a column: (x − center) · scale + shift; nothing in it is trained.

    Parameters
    ----------
    center, scale, shift
        Shape (d,).

    Notes
    -----
    The center is held as the sum of two float32 numbers, which some accelerators need: float64
    values far from zero keep their digits until they are near it.
    """

    def __init__(
        self,
        center: NDArray[np.floating],
        scale: NDArray[np.floating],
        shift: NDArray[np.floating],
    ) -> None:
        super().__init__()
        self.register_buffer("center", _tensor(center))
        self.register_buffer("rest", _tensor(center - center.astype(np.float32)))
        self.register_buffer("scale", _tensor(scale))
        self.register_buffer("shift", _tensor(shift))

    def forward(self, values: Tensor) -> Tensor:
        """Return float32 values of the same shape (n, d)."""
        return ((values - self.center - self.rest) * self.scale + self.shift).float()


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
