"""Memory does not grow with the data: 200,000 rows of 1,280 features, extracted and fitted.

The trunk is synthetic: one convolution from 8 × 8 pixels to 1,280 features, so that a run takes
minutes; everything around it is the real thing. Run as `python -m bench.study_memory N`, this file
does one extraction and one fit and prints what they took.
"""

import json
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np

from bench.measure import Row, Study, itself, scratch_folder
from headstart.machine import peak_memory_bytes

SIZES = {"tiny": {"n_rows": 800}, "full": {}}
N_ROWS, N_FEATURES, N_CLASSES, SIDE = 200_000, 1280, 5, 8

CARD = """\
title = "One convolution"
modality = "image"
format = "onnx"
is_trainable = false

[location]
path = "trunk.onnx"

[architecture]
library = "onnx"
output = "features"

[preprocess]
height = 8
width = 8
resize = "squash"
"""


def study(repeats: int, n_rows: int = N_ROWS) -> Study:
    """Run it once large (peaks do not vary), and once with an eighth of the rows."""
    del repeats
    large = [_measured(n_rows)]
    small = _measured(n_rows // 8)
    return Study(
        f"{n_rows:,} rows × {N_FEATURES} features through extract and a linear fit.",
        (
            Row("peak above torch loaded", _all(large, "peak_gb"), "GB", at_most=1.5),
            Row(f"the same for {n_rows // 8:,} rows", (small["peak_gb"],), "GB"),
            Row("extraction alone, peak", _all(large, "extract_gb"), "GB"),
            Row("extraction", _all(large, "extract_s"), "s"),
            Row("fit", _all(large, "fit_s"), "s"),
        ),
        notes=(
            "peak resident memory of a process, less its peak after `import torch`; "
            "memory maps count, though the system may take them back at any time",
        ),
        facts={"runs": [*large, small]},
    )


def _all(runs: list[dict[str, float]], name: str) -> tuple[float, ...]:
    return tuple(run[name] for run in runs)


def _measured(n: int) -> dict[str, float]:
    with scratch_folder() as folder:
        env = {"HEADSTART_HOME": str(folder / "home")}
        return itself("study_memory", str(n), folder, env=env).json


def run(n: int, folder: Path) -> dict[str, float]:
    """Extract and fit once; gigabytes and seconds."""
    import time

    import torch  # noqa: F401

    before = _peak_gb()
    from headstart.features.extract import extract
    from headstart.sources.catalog import resolve
    from headstart.steps.train import train

    write_source(folder)
    data = _data(n)
    start = time.perf_counter()
    features = extract(resolve(f"file:{folder / 'card.toml'}"), data)
    extracted, extract_gb = time.perf_counter(), _peak_gb() - before
    trained = train("linear", features, data)
    return {
        "peak_gb": _peak_gb() - before,
        "extract_gb": extract_gb,
        "extract_s": extracted - start,
        "fit_s": time.perf_counter() - extracted,
        "converged": bool(trained.facts["converged"]),
        "rows_computed": features.n_computed,
    }


def _peak_gb() -> float:
    return peak_memory_bytes() / 1e9


def _data(n: int) -> Any:
    from headstart.data.dataset import Dataset
    from headstart.task import Kind, Modality, Task

    random = np.random.default_rng(0)
    targets = random.integers(0, N_CLASSES, n)
    rows = random.integers(0, 200, (n, SIDE, SIDE, 3), dtype=np.uint8)
    # A class brightens a few pixels of its own, among noise: learnable, not perfectly.
    rows.reshape(n, -1)[np.arange(n), targets * 7] = random.integers(100, 256, n)
    task = Task(Kind.MULTICLASS, tuple(f"class {i}" for i in range(N_CLASSES)))
    return Dataset(Modality.IMAGE, cast(Any, rows), task, targets.astype(np.int64))


def write_source(folder: Path, n_features: int = N_FEATURES) -> None:
    """Write a trunk of one convolution, and its card."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shape = (n_features, 3, SIDE, SIDE)
    kernel = np.random.default_rng(1).normal(0, 1 / SIDE, shape).astype(np.float32)
    pixels = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    values = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", n_features, 1, 1])
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["features"]),
    ]
    weights = [numpy_helper.from_array(kernel, "kernel")]
    graph = helper.make_graph(nodes, "trunk", [pixels], [values], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "trunk.onnx")
    (folder / "card.toml").write_text(CARD, encoding="utf-8")


if __name__ == "__main__":
    json.dump(run(int(sys.argv[1]), Path(sys.argv[2])), sys.stdout)
