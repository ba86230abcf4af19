"""The machine's peak: the fastest multiplication of two matrices, over sizes and libraries."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bench.measure import seconds_of

#: Tries a size; the fastest counts, for a peak is what can be reached.
N_TRIES = 5


def peaks(largest: int = 4096) -> dict[str, dict[str, float]]:
    """Return number type → "library, size" → operations a second; of types the processor has."""
    from headstart.machine import has_bfloat16

    found: dict[str, dict[str, float]] = {"float32": {}, "bfloat16": {}}
    size = 512
    while size <= largest:
        for number, library, multiply in _ways(size):
            best = min(seconds_of(multiply) for _ in range(N_TRIES))
            found[number][f"{library}, {size} × {size}"] = 2 * size**3 / best
        size *= 2
    if not has_bfloat16():  # then it is float32 in disguise, and slower
        del found["bfloat16"]
    return found


def _ways(size: int) -> Iterator[tuple[str, str, Callable[[], object]]]:
    import torch

    a, b = np.random.default_rng(0).normal(size=(2, size, size)).astype(np.float32)
    yield "float32", "numpy", lambda: a @ b
    for number in (torch.float32, torch.bfloat16):
        x, y = (torch.from_numpy(array).to(number) for array in (a, b))
        yield str(number).removeprefix("torch."), "torch", lambda x=x, y=y: x @ y
    session = _session(size)
    yield "float32", "onnxruntime", lambda: session.run(None, {"a": a, "b": b})


def _session(size: int) -> Any:
    import onnxruntime as ort
    from onnx import TensorProto, helper

    from headstart.machine import n_threads

    values = [helper.make_tensor_value_info(x, TensorProto.FLOAT, [size, size]) for x in "abc"]
    product = helper.make_node("MatMul", ["a", "b"], ["c"])
    graph = helper.make_graph([product], "product", values[:2], values[2:])
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = n_threads()
    return ort.InferenceSession(model.SerializeToString(), options)


def flops(work: Callable[[], object]) -> float:
    """Return the operations of convolutions and matrix products in what PyTorch does.

    >>> import torch
    >>> flops(lambda: torch.zeros(2, 3) @ torch.zeros(3, 5))
    60.0
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())
