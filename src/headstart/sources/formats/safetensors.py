"""Safetensors files, and their sharded form with an index."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read(path: Path, sha256: str) -> dict[str, NDArray[np.generic]]:
    """Return the arrays by name; bfloat16, which numpy lacks, becomes float32."""
    import torch
    from safetensors.torch import load_file

    state = load_file(path)
    return {
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        for name, tensor in state.items()
    }
