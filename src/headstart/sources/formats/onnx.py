"""ONNX graphs: the constants they hold; the graph itself is run, not read, elsewhere."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read(path: Path, sha256: str) -> dict[str, NDArray[np.generic]]:
    """Return the arrays by name, in the order of the file."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_model_from_string(path.read_bytes()).graph
    external = onnx.TensorProto.EXTERNAL
    held = (x for x in graph.initializer if x.data_location != external)
    return {x.name: numpy_helper.to_array(x) for x in held}
