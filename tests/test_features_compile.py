"""A compiled trunk says what PyTorch says, or is not used."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from headstart import io, progress
from headstart.errors import IntegrityError, UsageError
from headstart.features import compile as compiling
from headstart.features.compile import Graph, compiled, relative_error
from headstart.features.engine import TorchEngine, engine_for, engine_of
from headstart.features.graphs import session, told
from headstart.sources import stages
from headstart.sources.catalog import resolve
from headstart.sources.preprocess import PicturePreprocess
from headstart.sources.source import Source
from headstart.store.store import open_store
from headstart.task import Modality
from tests.listener import Notes
from tests.toys import toy_picture_source, toy_text_source


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return resolve(toy_picture_source(tmp_path_factory.mktemp("toy")))


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return resolve(toy_text_source(tmp_path_factory.mktemp("toy") / "bert"))


def _pixels(n=3):
    return np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("pooled", [True, False])
def test_every_boundary_says_what_pytorch_says(pictures, pooled):
    engine = engine_for(pictures, (2, 4), pooled)
    reference = TorchEngine(pictures, (2, 4), pooled, device="cpu")
    inputs = {"pixels": _pixels()}
    assert engine.name == "onnxruntime" and engine.graph.parity <= 1e-4
    assert relative_error(engine.run(inputs), reference.run(inputs)) <= 1e-4
    assert [x.shape[1:] for x in engine.run(inputs)] == list(engine.graph.shapes)


@pytest.mark.parametrize("below", [1, 2])
def test_texts_below_the_first_attention(texts, below):
    engine = engine_for(texts, (below,), pooled=False)
    assert engine.name == "onnxruntime"
    ids = np.array([[2, 5, 6, 7, 3], [2, 5, 3, 0, 0]])
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}
    (expected,) = TorchEngine(texts, (below,), False, device="cpu").run(inputs)
    np.testing.assert_allclose(engine.run(inputs)[0][1, :3], expected[1, :3], atol=1e-5)


def test_texts_of_any_number_and_length(texts):
    engine = engine_for(texts, (2,), pooled=False)
    reference = TorchEngine(texts, (2,), False, device="cpu")
    ids = np.array([[2, 5, 6, 7, 3], [2, 5, 3, 0, 0]])
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}
    (found,), (expected,) = engine.run(inputs), reference.run(inputs)
    assert found.shape == (2, 5, 32) and engine.graph.shapes == ((0, 32),)
    np.testing.assert_allclose(found[1, :3], expected[1, :3], atol=1e-5)


def test_a_kept_graph_is_found_and_run_without_torch(pictures):
    engine_for(pictures)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from headstart.sources.catalog import resolve\n"
        "from headstart.features.engine import engine_for\n"
        f"engine = engine_for(resolve({pictures.uri!r}))\n"
        "print(engine.run({'pixels': np.zeros((2, 32, 32, 3), np.uint8)})[0].shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str((2, *engine_for(pictures).graph.shapes[0]))


def test_a_damaged_graph_is_compiled_again_and_said_so(pictures, fresh_home):
    path = engine_for(pictures).graph.path
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with progress.listen(notes := Notes()):
        engine_for(pictures)
    assert path.read_bytes() == content
    assert "damaged" in notes.said[0]


def test_an_unfaithful_graph_is_not_used(pictures, fresh_home):
    with progress.listen(notes := Notes()), pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "PARITY", -1.0)
        assert engine_for(pictures).name == "torch"
    with open_store() as store:
        assert not compiled(pictures, None, store=store).is_faithful  # remembered
    assert "PyTorch runs it instead" in notes.said[0]


def test_a_graph_of_texts_that_holds_at_the_length_of_its_trace_alone_is_not_used(
    texts, fresh_home, monkeypatch
):
    """As Longformer's, whose windows are as many as the text that was traced had."""

    def mean(hidden, mask):
        return hidden[:, : int(hidden.shape[1])].mean(1)  # to a trace this is a constant

    monkeypatch.setattr(stages, "mean_tokens", mean)
    with progress.listen(notes := Notes()):
        assert engine_for(texts).name == "torch"
    assert "its ONNX graph is off by" in notes.said[0]


def _failing(patch, error):
    def traced(*_):
        raise error

    patch.setattr(compiling, "_traced", traced)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ImportError("no onnx"),
        OSError(28, "No space left"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    ],
    ids=("memory", "import", "disk", "torch memory"),
)
def test_a_failure_of_the_machine_is_not_remembered(pictures, fresh_home, error):
    with progress.listen(notes := Notes()), pytest.MonkeyPatch.context() as patch:
        _failing(patch, error)
        assert engine_for(pictures).name == "torch"
    assert type(error).__name__ in notes.said[0]
    assert engine_for(pictures).name == "onnxruntime"


def test_a_failure_of_the_exporter_is_remembered_until_its_versions_change(pictures, fresh_home):
    with pytest.MonkeyPatch.context() as patch:
        _failing(patch, TypeError("no operator"))
        assert engine_for(pictures).name == "torch"
    assert engine_for(pictures).name == "torch"  # as remembered
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "versions", lambda: {"torch": "99", "pillow": "1"})
        assert engine_for(pictures).name == "onnxruntime"


def test_a_graph_is_read_back_from_its_facts(pictures, tmp_path):
    engine = engine_for(pictures)
    io.write_json(tmp_path / "facts.json", engine.graph.facts())
    graph = Graph.of(io.read_json(tmp_path / "facts.json"), engine.graph.path)
    assert graph == engine.graph
    assert engine_of(graph, pictures).run({"pixels": _pixels(1)})[0].shape == (1, graph.n_features)


def _foreign(path, *, external=False):
    """Write a network of one pointwise convolution: channel 0 doubled, channels 1 and 2 added."""
    weight = np.array([[2, 0, 0], [0, 1, 1]], dtype=np.float32).reshape(2, 3, 1, 1)
    graph = make_graph(
        [
            make_node("Conv", ["x", "weight"], ["map"], name="conv"),
            make_node("GlobalMaxPool", ["map"], ["old_head"]),
        ],
        "foreign",
        [make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 2, 2])],
        [make_tensor_value_info("old_head", TensorProto.FLOAT, [1, 2, 1, 1])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 13)], ir_version=8)
    extra = {"save_as_external_data": True, "size_threshold": 0, "location": "w"}
    onnx.save(model, path, **(extra if external else {}))
    preprocess = PicturePreprocess(height=2, width=2, scale=1, mean=(1, 0, 0), std=(1, 1, 1))
    return Source(
        f"file:{path}",
        Modality.IMAGE,
        preprocess,
        io.sha256_file(path),
        "onnx",
        {"library": "onnx", "output": "conv"},
        {"path": str(path)},
        is_trainable=False,
    )


def test_a_foreign_graph_is_cut_normalized_and_pooled(tmp_path):
    engine = engine_for(_foreign(tmp_path / "foreign.onnx"))
    pixels = np.zeros((3, 2, 2, 3), dtype=np.uint8)
    pixels[0] = [5, 3, 4]
    pixels[1, 0, 0] = [9, 4, 8]  # one place of four
    (values,) = engine.run({"pixels": pixels})
    assert values.tolist() == [[8.0, 7.0], [2.5, 3.0], [-2.0, 0.0]]


def test_a_foreign_graph_has_no_boundary_below_its_top(tmp_path):
    with pytest.raises(UsageError, match="only be used frozen"):
        engine_for(_foreign(tmp_path / "foreign.onnx"), (1,), pooled=False)


def test_weights_outside_the_file_are_refused(tmp_path):
    with pytest.raises(IntegrityError, match="external data"):
        engine_for(_foreign(tmp_path / "foreign.onnx", external=True))


@pytest.mark.parametrize("length", [b"\x08", b"\x88\x00", b"\x88\x80\x80\x80\x00"])
@pytest.mark.parametrize(
    "field", [b"\x0a", b"\x8a\x00", b"\x8a\x80\x80\x80\x00", b"\x8a\x80\x80\x80\x20"]
)
def test_weights_outside_the_file_are_refused_however_it_is_written(tmp_path, field, length):
    path = tmp_path / "graph.onnx"
    path.write_bytes(_padded(field + length + b"location"))
    (tmp_path / "w").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (read,) = ort.InferenceSession(path).run(None, {"x": np.zeros(4, np.float32)})
    assert read.tolist() == [0, 1, 2, 3]  # ONNX Runtime takes it
    for graph in (path, path.read_bytes()):
        with pytest.raises(IntegrityError, match="external data"):
            session(graph)


@pytest.mark.parametrize("name", ["my_location", "locations"])
def test_a_value_may_be_called_something_with_location(tmp_path, name):
    path = tmp_path / "graph.onnx"
    path.write_bytes(_padded(b"", name))
    assert told(session(path), {"x": np.ones(4, np.float32)})[0].tolist() == [2, 2, 2, 2]


def _padded(key: bytes, name: str = "y") -> bytes:
    """Return a graph that adds four weights, kept in the file "w", to its input.

    Each message is written out, so that `key` can be what no library writes; without one, the
    input is added to itself.
    """
    value = make_tensor_value_info
    ends = [value("x", TensorProto.FLOAT, [4])], [value(name, TensorProto.FLOAT, [4])]
    graph = make_graph([make_node("Add", ["x", "w" if key else "x"], [name])], "g", *ends)
    content = graph.SerializeToString()
    if key:
        weights = TensorProto(
            name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL
        )
        place = _message(13, key + _message(2, b"w"))
        content += _message(5, weights.SerializeToString() + place)
    opset = make_opsetid("", 13)
    return bytes([8, 8]) + _message(8, opset.SerializeToString()) + _message(7, content)


def _message(field: int, content: bytes) -> bytes:
    """Return a field of a message: at most 15, of at most 16,383 bytes."""
    return bytes([field << 3 | 2, len(content) & 127 | 128, len(content) >> 7]) + content
