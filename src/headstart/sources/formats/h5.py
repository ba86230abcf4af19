"""Keras HDF5 models: weights in the order of the layers, in PyTorch's layout.

HDF5's own library parses such a file, and one made to do that keeps it busy for ever, or breaks it:
it does so in a process of its own, whose time and memory have an end, and which hands the arrays
over as safetensors.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.io import read_safetensors, write_safetensors

#: How many times larger than the file an array may be, by compression.
LARGER = 100

#: Seconds that reading may take, and how many more a gigabyte of the file.
PATIENCE_S, PATIENCE_S_GB = 30, 60
#: Bytes of memory that it may take, and how many more a byte of the file.
MOST_BYTES, MOST_TIMES = 2 << 30, 8

#: What an HDF5 file begins with; 512, 1,024, 2,048, … bytes of somebody else's may come before.
SIGNATURE, FIRST_OFFSET = b"\x89HDF\r\n\x1a\n", 512

#: The order of a layer's arrays, as PyTorch lists them.
ORDER = ("kernel", "depthwise_kernel", "gamma", "bias", "beta", "moving_mean", "moving_variance")


def read(path: Path, sha256: str) -> dict[str, NDArray[np.generic]]:
    """Return the arrays as "layer/array", layer by layer.

    Raises
    ------
    ValueError
        Where HDF5's library does not come to an end, or to a good one.
    """
    if not _is_signed(path):  # a process takes long to start
        raise ValueError("it has no signature of HDF5")
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        there = Path(folder) / "weights.safetensors"
        _read_apart(path, there)
        arrays, metadata = read_safetensors(there)
    return {name: arrays[name] for name in json.loads(metadata["order"])}


def _is_signed(path: Path) -> bool:
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            if file.read(len(SIGNATURE)) == SIGNATURE:
                return True
            at = 2 * at or FIRST_OFFSET
    return False


def _read_apart(path: Path, there: Path) -> None:
    """Read a file in a process of its own, which leaves the arrays `there`."""
    size = path.stat().st_size
    patience_s = PATIENCE_S + PATIENCE_S_GB * size // 10**9
    most_bytes = MOST_BYTES + MOST_TIMES * size
    command = [sys.executable, "-P", "-m", __name__]
    command += [str(path), str(there), str(patience_s), str(most_bytes)]
    # More threads would only take memory that counts against the limit.
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, errors="replace",
            timeout=patience_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ValueError(f"HDF5's library did not come to an end in {patience_s} s") from None
    if done.returncode < 0:
        raise ValueError(f"HDF5's library ended by signal {-done.returncode}")
    if done.returncode:
        raise ValueError((done.stderr.strip().splitlines() or ["no reason was given"])[-1])


def _parsed(path: Path) -> dict[str, NDArray[np.generic]]:
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


def _limit(what: int, most: int) -> None:
    # Where a lower limit holds already, or the system has none of that kind, it stays as it is.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    _limit(resource.RLIMIT_CPU, int(sys.argv[3]) + 1)  # where nobody is left to end it
    _limit(resource.RLIMIT_DATA, int(sys.argv[4]))
    found = _parsed(Path(sys.argv[1]))
    write_safetensors(Path(sys.argv[2]), found, {"order": json.dumps(list(found))})
