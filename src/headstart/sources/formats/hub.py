"""The hub's files: safetensors, the same in several shards with an index, or a state dictionary."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.io import read_json
from headstart.sources.formats import pth, safetensors

INDEX = ".index.json"


def read(path: Path, sha256: str) -> dict[str, NDArray[np.generic]]:
    """Return the arrays by name."""
    if path.name.endswith(INDEX):
        parts = [safetensors.read(shard, "") for shard in shards(path)]
        return {name: array for part in parts for name, array in part.items()}
    return (safetensors if path.suffix == ".safetensors" else pth).read(path, sha256)


def shards(index: Path) -> list[Path]:
    """Return the files an index names, in the order of their names; all lie beside it."""
    names = set(read_json(index)["weight_map"].values())
    return [index.parent / Path(name).name for name in sorted(names)]
