"""PyTorch state dictionaries: opened once, as plain tensors, then kept as safetensors."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import IntegrityError
from headstart.io import read_safetensors, sealed_folder, verify_folder, write_safetensors
from headstart.machine import home

#: Where training scripts put the weights among other things.
NESTED = ("state_dict", "model_state_dict", "model", "params")


def read(path: Path, sha256: str) -> dict[str, NDArray[np.generic]]:
    """Return the arrays by name, in the order of the file.

    A `.pth` is a pickle; it is opened with `weights_only=True`, which builds nothing but tensors,
    and once: later calls read the safetensors file kept in Headstart's home.
    """
    folder = home() / "sources" / f"{sha256}.state"
    if not _is_whole(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _keep(folder, _unpickled(path))
    arrays, metadata = read_safetensors(folder / "weights.safetensors")
    return {name: arrays[name] for name in metadata["order"].split("\n")}


def _is_whole(folder: Path) -> bool:
    if not folder.exists():
        return False
    try:
        verify_folder(folder)
    except IntegrityError:
        return False  # made again from the verified original
    return True


def _keep(folder: Path, state: dict[str, NDArray[np.generic]]) -> None:
    with sealed_folder(folder) as draft:
        order = {"order": "\n".join(state)}  # safetensors sorts its tensors
        write_safetensors(draft / "weights.safetensors", state, order)


def _unpickled(path: Path) -> dict[str, NDArray[np.generic]]:
    import torch

    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader of pickles raises many kinds
        raise IntegrityError(
            f"{path} holds more than tensors, or is damaged: {type(error).__name__}.\n"
            "Expected a state dictionary; save one with torch.save(network.state_dict(), path)."
        ) from error
    if not isinstance(state, dict):
        raise IntegrityError(f"{path} holds a {type(state).__name__}; expected tensors by name.")
    for name in NESTED:
        state = state[name] if isinstance(state.get(name), dict) else state
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    return {
        name: (value.float() if value.dtype == torch.bfloat16 else value).contiguous().numpy()
        for name, value in tensors.items()
    }
