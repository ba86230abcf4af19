"""What a checkpoint of a descent holds, as arrays: weights, optimizer, best weights, the pass."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.steps.attach import Tail

Weights = dict[str, Tensor]
Arrays = dict[str, NDArray[Any]]
#: An optimizer's state as torch gives it: {"state": moments by number, "param_groups": …}.
Moments = dict[str, Any]


@dataclass(frozen=True)
class Moment:
    """A network and its optimizer between two steps; copies, which no later step changes."""

    weights: Weights
    moments: Moments
    step: int

    @classmethod
    def of(cls, tail: Tail, optimizer: torch.optim.Optimizer, step: int) -> "Moment":
        """Copy what is now."""
        return cls(weights_of(tail), _copied(optimizer.state_dict()), step)

    def restore(self, tail: Tail, optimizer: torch.optim.Optimizer) -> None:
        """Put it back."""
        load_weights(tail, self.weights)
        optimizer.load_state_dict(_copied(self.moments))
        for weight, moments in optimizer.state.items():
            moments |= {name: _laid_out_as(weight, value) for name, value in moments.items()}

    def arrays(self, name: str) -> Arrays:
        """Return it as arrays by names that begin with `name`."""
        found = weights_as_arrays(f"{name}weights/", self.weights)
        for i, moments in self.moments["state"].items():
            found |= {f"{name}optimizer/{i}/{key}": _array(v) for key, v in moments.items()}
        return found

    @classmethod
    def from_arrays(cls, name: str, arrays: Arrays, groups: list[Any], step: int) -> "Moment":
        """Read back what `arrays` gave; `groups` are the optimizer's options."""
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in under(f"{name}optimizer/", arrays).items():
            i, moment = key.split("/")
            state.setdefault(int(i), {})[moment] = value
        return cls(under(f"{name}weights/", arrays), {"state": state, "param_groups": groups}, step)


@dataclass
class Pass:
    """A pass over the rows that is under way: where it began, and the losses of its steps.

    Parameters
    ----------
    before
        What was when it began: what is gone back to if the loss breaks.
    losses
        One a step done.
    """

    before: Moment
    losses: list[float]


def random_states() -> Weights:
    """Return the states of the random numbers, by the device that draws them.

    Dropout on a graphics card draws there, not on the CPU. A device that nothing has been computed
    on has drawn nothing.
    """
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        count = torch.cuda.device_count()
        states |= {f"cuda:{i}": torch.cuda.get_rng_state(i) for i in range(count)}
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_states(states: Weights) -> None:
    """Go on drawing from there; states of devices that this machine lacks are passed over."""
    torch.set_rng_state(states["cpu"])
    for i in range(torch.cuda.device_count()):
        if f"cuda:{i}" in states:
            torch.cuda.set_rng_state(states[f"cuda:{i}"], i)
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])


def weights_of(tail: Tail) -> Weights:
    """Return copies of the weights and buffers."""
    return {name: value.detach().clone() for name, value in tail.state_dict().items()}


def load_weights(tail: Tail, weights: Weights) -> None:
    """Put weights and buffers back."""
    tail.load_state_dict(weights)


def weights_as_arrays(name: str, weights: Weights) -> Arrays:
    """Return weights as arrays by names that begin with `name`."""
    return {f"{name}{key}": value.cpu().numpy() for key, value in weights.items()}


def under(prefix: str, arrays: Arrays) -> Weights:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): torch.from_numpy(np.array(value))
        for name, value in arrays.items()
        if name.startswith(prefix)
    }


def _copied(state: Moments) -> Moments:
    moments = {i: {k: v.clone() for k, v in m.items()} for i, m in state["state"].items()}
    return {"state": moments, "param_groups": [dict(group) for group in state["param_groups"]]}


def _laid_out_as(weight: Tensor, value: Tensor) -> Tensor:
    """Return a moment in the order its weight has in memory.

    A fused optimizer goes through both by address, and looks at no strides; what comes from a file
    is contiguous, a weight may have its channels last.
    """
    if value.shape != weight.shape:
        return value
    return torch.empty_like(weight, dtype=value.dtype, requires_grad=False).copy_(value)


def _array(value: Any) -> NDArray[Any]:
    array: NDArray[Any] = torch.as_tensor(value).cpu().numpy()
    return array
