"""Graphs: ONNX graphs cut, given our own input, pooled, and opened; no torch."""

import mmap
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from headstart.errors import IntegrityError, UsageError
from headstart.features.inputs import affine
from headstart.sources.preprocess import PicturePreprocess, Preprocess

if TYPE_CHECKING:
    import onnx
    import onnxruntime as ort


#: The key of the entry of a graph that says which other file holds weights.
_LOCATION = b"location"
#: What stands before a key of eight letters: the number of its field, and its length. Readers take
#: either with zeros appended (up to ten bytes), the number with bits above its 32 too.
_BEFORE = re.compile(rb"(?:\x0a|\x8a(?:\x80*\x00|\x80{3}[\x10-\x70]))(?:\x08|\x88\x80*\x00)\Z")
_LONGEST = 20


def session(model: Path | bytes) -> "ort.InferenceSession":
    """Open a graph for one thread a call, with the same result on every run.

    Parameters
    ----------
    model
        Its file, which is then never in memory as a whole beside what is opened; or its bytes.

    Raises
    ------
    IntegrityError
        Where it would read other files.
    """
    import onnxruntime as ort

    refuse_other_files(model, "The graph")

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what fails is raised
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def told(
    opened: "ort.InferenceSession", inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] = ()
) -> list[NDArray[Any]]:
    """Return what an open graph says, at all its outputs if none is named.

    A graph that is cut low has no use for every input: no mask is read below the first attention.
    """
    used = {one.name: inputs[one.name] for one in opened.get_inputs()}
    return list(opened.run(list(outputs) or None, used))


def refuse_other_files(model: Path | bytes, name: str) -> None:
    """Refuse a graph that keeps numbers in other files, which could be any file of this machine.

    The key is looked for in the bytes: it is found wherever in the graph it stands, and nothing
    has to be in memory as a whole.
    """
    if _names_files(model):
        raise IntegrityError(
            f"{name} keeps its weights in other files, which a hash of it would not cover.\n"
            "Expected one file that holds everything; save it again without external data."
        )


def _names_files(model: Path | bytes) -> bool:
    if isinstance(model, bytes):
        return _has_key(model)
    with model.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return False  # nothing can be mapped, and there is nothing to find
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _has_key(content)


def _has_key(content: bytes | mmap.mmap) -> bool:
    at = content.find(_LOCATION)
    while at >= 0:
        if _BEFORE.search(content[max(0, at - _LONGEST) : at]):
            return True
        at = content.find(_LOCATION, at + 1)
    return False


def read_pixels(model: bytes, preprocess: Preprocess) -> bytes:
    """Return the graph reading uint8 pixels of shape (n, height, width, channels) itself."""
    import onnx

    if not isinstance(preprocess, PicturePreprocess):
        return model
    network = onnx.load_model_from_string(model)
    graph, p = network.graph, preprocess
    constants = [x.name for x in graph.initializer]
    old = next(x for x in graph.input if x.name not in constants)
    for node in graph.node:
        node.input[:] = ["network_input" if name == old.name else name for name in node.input]
    front, numbers = _normalization(p)
    nodes = [*front, *graph.node]
    channels = 1 if p.channels == "L" else 3
    shape = ["n", p.height, p.width, channels]
    pixels = onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, shape)
    del graph.node[:], graph.input[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.input.append(pixels)
    graph.initializer.extend(numbers)
    return bytes(network.SerializeToString())


def _normalization(
    p: PicturePreprocess,
) -> tuple[list["onnx.NodeProto"], list["onnx.TensorProto"]]:
    """Return the nodes from "pixels" to "network_input", and their constants."""
    from onnx import TensorProto, numpy_helper
    from onnx.helper import make_node

    is_nchw = p.layout == "NCHW"
    shape = (-1, 1, 1) if is_nchw else (-1,)
    factor, offset = (values.reshape(shape) for values in affine(p))
    constants = [
        numpy_helper.from_array(factor, "pixels_factor"),
        numpy_helper.from_array(offset, "pixels_offset"),
    ]
    # Turned while still uint8: a quarter of the bytes to move.
    turn = make_node("Transpose", ["pixels"], ["pixels_turned"], perm=[0, 3, 1, 2])
    nodes = [
        make_node(
            "Cast",
            ["pixels_turned" if is_nchw else "pixels"],
            ["pixels_float"],
            to=TensorProto.FLOAT,
        ),
        make_node("Mul", ["pixels_float", "pixels_factor"], ["pixels_scaled"]),
        make_node("Add", ["pixels_scaled", "pixels_offset"], ["network_input"]),
    ]
    return [turn, *nodes] if is_nchw else nodes, constants


def cut(path: Path, output: str, result: str) -> bytes:
    """Return the part of an ONNX file that computes one value, from then on called `result`.

    Parameters
    ----------
    path
        The file.
    output
        The name of the value, or of the node whose first output it is.
    result
        The name it gets.

    Raises
    ------
    IntegrityError
        The file keeps weights in other files.
    UsageError
        There is no such value.
    """
    import onnx

    content = path.read_bytes()
    refuse_other_files(content, str(path))
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # the parser of protobuf raises its own kinds
        raise IntegrityError(
            f"{path} is no ONNX graph, or is damaged: {error}.\nExport or copy it again."
        ) from error
    graph = model.graph
    name = _value_named(graph, output, path)
    nodes, needed = [], {name}
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    kept = [x for x in graph.initializer if x.name in needed]
    last = onnx.helper.make_node("Identity", [name], [result])
    value = onnx.helper.make_tensor_value_info(result, onnx.TensorProto.FLOAT, None)
    nodes = [*reversed(nodes), last]
    del graph.node[:], graph.output[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.output.append(value)
    graph.initializer.extend(kept)
    return bytes(model.SerializeToString())


def _value_named(graph: "onnx.GraphProto", output: str, path: Path) -> str:
    if any(output in node.output for node in graph.node):
        return output
    for node in graph.node:
        if node.name == output and node.output:
            return str(node.output[0])
    last = ", ".join(str(name) for node in graph.node[-5:] for name in node.output)
    raise UsageError(
        f"{path} has no value or node named {output!r}; the card's `output` must name one.\n"
        f"Its last ones: {last}."
    )


def pool(model: bytes, *, rank: int, channels_last: bool) -> bytes:
    """Return the graph with its output averaged over all places: a vector of channels a row."""
    import onnx
    from onnx.helper import make_node

    network = onnx.load_model_from_string(model)
    graph = network.graph
    value = graph.output[0].name
    source = next(node for node in graph.node if value in node.output)
    source.output[:] = ["unpooled" if name == value else name for name in source.output]
    order = [0, rank - 1, *range(1, rank - 1)] if channels_last else list(range(rank))
    graph.node.extend(
        [
            make_node("Transpose", ["unpooled"], ["channels_first"], perm=order),
            make_node("GlobalAveragePool", ["channels_first"], ["averaged"]),
            make_node("Flatten", ["averaged"], [value], axis=1),
        ]
    )
    return bytes(network.SerializeToString())
