"""Keras HDF5 models: weights in the order of the layers, in PyTorch's layout."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: How many times larger than the file an array may be, by compression.
LARGER = 100

#: The order of a layer's arrays, as PyTorch lists them.
ORDER = ("kernel", "depthwise_kernel", "gamma", "bias", "beta", "moving_mean", "moving_variance")


def read(path: Path, sha256: str) -> dict[str, NDArray[np.generic]]:
    """Return the arrays as "layer/array", layer by layer."""
    import h5py

    with h5py.File(path, "r") as file:
        config = json.loads(file.attrs["model_config"])
        if not isinstance(file.get("model_weights", getlink=True), h5py.HardLink):
            raise ValueError("its weights lie in another file")
        arrays = _arrays(file["model_weights"], LARGER * path.stat().st_size)
    return {
        f"{layer}/{name}": _transposed(kind, arrays[layer][name])
        for kind, layer in _layers(config)
        for name in sorted(arrays.get(layer, {}), key=ORDER.index)
    }


def _layers(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (class, name) of every layer, those of nested models in their place."""
    inner = config["config"].get("layers") if isinstance(config["config"], dict) else None
    if inner is None:
        yield config["class_name"], config["config"]["name"]
        return
    for layer in inner:
        yield from _layers(layer)


def _arrays(group: Any, most_bytes: int) -> dict[str, dict[str, NDArray[np.generic]]]:
    """Return layer → array name → array; the two last parts of a path name both.

    Links are not followed. An array whose numbers lie in another file, or that would unfold beyond
    all measure, is refused.
    """
    import h5py

    found: dict[str, dict[str, NDArray[np.generic]]] = {}

    def keep(name: str, value: object) -> None:
        if isinstance(value, h5py.Dataset):
            if value.external or value.is_virtual:
                raise ValueError(f"{name} lies in another file")
            if value.nbytes > most_bytes or value.dtype.hasobject:
                raise ValueError(f"{name} is of type {value.dtype} and shape {value.shape}")
            layer, array = name.split("/")[-2:]
            found.setdefault(layer, {})[array.split(":")[0]] = np.asarray(value)

    group.visititems(keep)
    return found


def _transposed(kind: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return a Keras kernel as PyTorch stores it.

    >>> _transposed("Conv2D", np.zeros((3, 5, 16, 32))).shape  # height, width, in, out
    (32, 16, 3, 5)
    >>> _transposed("DepthwiseConv2D", np.zeros((3, 5, 16, 1))).shape
    (16, 1, 3, 5)
    >>> _transposed("Dense", np.zeros((16, 32))).shape
    (32, 16)
    """
    if array.ndim == 4:
        axes = (2, 3, 0, 1) if kind == "DepthwiseConv2D" else (3, 2, 0, 1)
        return np.ascontiguousarray(array.transpose(axes))
    return np.ascontiguousarray(array.T)
