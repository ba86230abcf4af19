"""Compile: the frozen part of a source, exported once to ONNX, checked, and kept.

A kept graph is found and used without importing torch. It reads the raw numbers (uint8 pixels of
shape (n, height, width, channels), or ids and mask) and normalizes inside.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import HeadstartError, IntegrityError, UsageError
from headstart.features.graphs import cut, pool, read_pixels, session, told
from headstart.features.inputs import inputs_for
from headstart.features.trials import noise, other_lengths, random_inputs
from headstart.io import sha256_bytes, sha256_file, write_bytes
from headstart.machine import home, versions
from headstart.progress import track
from headstart.sources.location import mark
from headstart.sources.preprocess import preprocess_hash
from headstart.sources.source import Source
from headstart.store.store import Store
from headstart.task import Modality

if TYPE_CHECKING:
    import torch

    from headstart.sources.backbone import Backbone

#: Changes when the same source would be compiled to another graph.
EXPORT_VERSION = 1
OPSET = 17
#: The largest error against PyTorch, as a share of the largest value, that a graph may have.
PARITY = 1e-4
#: What decides whether a network can be exported; a failure is kept until one of them changes.
EXPORTERS = ("torch", "onnx", "onnxruntime")

Arrays = dict[str, NDArray[Any]]
Facts = dict[str, Any]
#: Where a trunk is read: numbers of stages, or shares of its repeated blocks.
Boundaries = tuple[int | float, ...]


@dataclass(frozen=True)
class Seen:
    """A file as it was when its bytes were checked.

    Parameters
    ----------
    mark
        What `mark` said of it before they were.
    sha256
        Their hash.
    """

    mark: tuple[int, ...]
    sha256: str

    def is_at(self, path: Path) -> bool:
        """Say whether a path has these bytes; they are read only where its mark is another."""
        found = mark(path)
        return bool(found) and (found == self.mark or sha256_file(path) == self.sha256)


@dataclass(frozen=True)
class Graph:
    """A compiled trunk.

    Parameters
    ----------
    key
        What it computes: weights, architecture, boundaries, pooling, preprocessing.
    path
        The ONNX file; meaningless where the graph is not faithful.
    boundaries
        How many stages lie below each output.
    n_stages
        How many stages the source has.
    outputs
        The names of the outputs.
    shapes
        The shape of one row of each output; 0 for a length that differs from row to row.
    parity
        The largest error against PyTorch on the first batch (of texts, also at two more lengths),
        as a share of the largest value; 0.0 for a graph that came as ONNX.
    reason
        Why it must not be used; empty if it may.
    seen
        The file as it was when the head beside it was read; None where no other can take its place.
    """

    key: str
    path: Path
    boundaries: tuple[int, ...]
    n_stages: int
    outputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    parity: float = 0.0
    reason: str = ""
    seen: Seen | None = None

    @property
    def is_faithful(self) -> bool:
        """Whether it computes what PyTorch does."""
        return not self.reason

    @property
    def n_features(self) -> int:
        """How many numbers the last output has a row; of its last axis where there are several."""
        return self.shapes[-1][-1]

    def facts(self) -> dict[str, Any]:
        """Return all but the path and what was seen there, as plain JSON values."""
        left_out = ("path", "seen")
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    @classmethod
    def of(cls, facts: dict[str, Any], path: Path) -> "Graph":
        """Read back what `facts` wrote; `path` is where the file lies now."""
        values: Facts = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()}
        values["shapes"] = tuple(tuple(shape) for shape in facts["shapes"])
        return cls(path=path, **values)

    def check(self, path: Path) -> None:
        """Refuse its file, or a copy, that is not the one that was seen.

        Raises
        ------
        IntegrityError
            Where it is another.
        """
        if self.seen is None or self.seen.is_at(path):
            return
        if not mark(path):
            raise IntegrityError(
                f"{path} is gone: it was moved or removed since it was loaded.\n"
                "Load the model from where it is now, or save it again."
            )
        raise IntegrityError(
            f"{self.path} was replaced since it was loaded; load it again.\n"
            "The head that was loaded belongs to what the file held then."
        )


def resolved(boundaries: Boundaries | None, blocks: range, n_stages: int) -> tuple[int, ...]:
    """Return boundaries as numbers of stages, each once.

    Parameters
    ----------
    boundaries
        Numbers of stages, or shares of the repeated blocks: 1.0 lies above the last block, below
        what pools. None: all stages.
    blocks, n_stages
        Which stages are the repeated blocks, and how many stages there are.

    Examples
    --------
    >>> resolved((0.5, 1.0), range(1, 13), 14), resolved(None, range(1, 13), 14)
    ((7, 13), (14,))
    """
    if boundaries is None:
        return (n_stages,)
    inner = blocks or range(0, n_stages - 1)
    found = (
        inner.start + max(1, round(at * len(inner))) if isinstance(at, float) else at
        for at in boundaries
    )
    return tuple(dict.fromkeys(found))


def graph_key(source: Source, boundaries: Boundaries | None, pooled: bool) -> str:
    """Return the name of a compiled trunk: another key, another graph."""
    facts = [
        [EXPORT_VERSION, OPSET],
        source.weights_sha256,
        source.architecture,
        list(boundaries) if boundaries is not None else "top",
        pooled,
        preprocess_hash(source.preprocess),
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def graph_path(key: str) -> Path:
    """Return where the compiled trunk of a key is kept."""
    return home() / "graphs" / f"{key}.onnx"


def compiled(
    source: Source,
    boundaries: Boundaries | None,
    *,
    pooled: bool = True,
    store: Store,
    sample: Callable[[], Arrays | None] | None = None,
) -> Graph:
    """Return the compiled trunk of `source`, found or made now.

    Parameters
    ----------
    source
        The pretrained model.
    boundaries
        How many stages to run, one number an output, or a share of the blocks (see `resolved`);
        None: all of them.
    pooled
        Whether each output is a vector a row, or the whole activation.
    store
        Where compiled graphs are listed.
    sample
        Gives a batch of real inputs for the check against PyTorch; None: random ones.
    """
    key = graph_key(source, boundaries, pooled)
    return _known(key, store) or _compile(source, boundaries, pooled, store, sample)


def _known(key: str, store: Store) -> Graph | None:
    row = store.get_graph(key)
    if row is None:
        return None
    facts = dict(row.meta)
    made_with = facts.pop("versions", None)
    graph = Graph.of(facts, home() / "graphs" / row.file)
    if not graph.is_faithful:
        return graph if made_with == _exporters() else None
    if graph.path.exists() and _is_intact(graph.path, row.sha256):
        return graph
    store.drop_graph(key)
    with track("compiling") as tracked:
        tracked.note(f"The compiled trunk {graph.path} was damaged or lost; compiling it again.")
    return None


def _exporters() -> dict[str, str]:
    return {name: version for name, version in versions().items() if name in EXPORTERS}


def _is_intact(path: Path, sha256: str) -> bool:
    return sha256_file(path) == sha256


def _compile(
    source: Source,
    boundaries: Boundaries | None,
    pooled: bool,
    store: Store,
    sample: Callable[[], Arrays | None] | None,
) -> Graph:
    with track("compiling"):
        if source.architecture.get("library") == "onnx":
            made = _adopt(source, boundaries, pooled)
        else:
            made = _export(source, boundaries, pooled, sample)
        key = graph_key(source, boundaries, pooled)
        graph = Graph(key, graph_path(key), **made.facts)
        graph.path.parent.mkdir(parents=True, exist_ok=True)
        if made.is_lasting:
            write_bytes(graph.path, made.model)
            entry = graph.facts() | {"versions": _exporters()}
            store.put_graph(key, graph.path.name, sha256_bytes(made.model), entry)
    return graph


@dataclass(frozen=True)
class _Made:
    """A graph as bytes, what is known of it, and whether the next process would get the same."""

    model: bytes
    facts: Facts
    is_lasting: bool = True


# PyTorch to ONNX ---------------------------------------------------------------------------------


def outputs_at(
    backbone: "Backbone",
    state: tuple["torch.Tensor", ...],
    boundaries: Sequence[int],
    pooled: bool,
) -> tuple["torch.Tensor", ...]:
    """Return the values at each boundary, in one pass; vectors of shape (n, d) if `pooled`."""
    outputs = {}
    below = 0
    for at in sorted(boundaries):
        state = backbone.run(state, below, at)
        outputs[at] = backbone.pool(state, at) if pooled else state[0]
        below = at
    return tuple(outputs[at] for at in boundaries)


def is_ragged(source: Source, boundary: int, n_stages: int, pooled: bool) -> bool:
    """Return whether rows differ in length at a boundary: texts, below their pooling."""
    return source.modality is Modality.TEXT and not pooled and boundary < n_stages


def _export(
    source: Source,
    boundaries: Boundaries | None,
    pooled: bool,
    sample: Callable[[], Arrays | None] | None,
) -> _Made:
    from headstart.sources.catalog import open_backbone

    inputs = sample() if sample is not None else None
    backbone = open_backbone(source).eval()
    n_stages = backbone.n_stages
    at = resolved(boundaries, backbone.blocks, n_stages)
    inputs = inputs or random_inputs(backbone)
    ragged = [is_ragged(source, b, n_stages, pooled) for b in at]
    expected = _expected(backbone, inputs, at, pooled)
    shapes = tuple(
        (0, *x.shape[2:]) if is_open else x.shape[1:]
        for x, is_open in zip(expected, ragged, strict=True)
    )
    facts: Facts = {"boundaries": at, "n_stages": n_stages, "outputs": _names(at), "shapes": shapes}
    try:
        model = _traced(backbone, at, pooled, ragged)
        opened = session(model)
        parity = relative_error(told(opened, inputs), expected)
        for other in other_lengths(backbone):
            wanted = _expected(backbone, other, at, pooled)
            parity = max(parity, relative_error(told(opened, other), wanted))
    except Exception as error:  # whatever the exporter stumbles over, PyTorch still runs it
        reason = f"it cannot be exported to ONNX ({type(error).__name__}: {error})"
        facts |= {"reason": " ".join(reason.split())[:300]}
        return _Made(b"", facts, is_lasting=not _may_pass(error))
    reason = "" if parity <= PARITY else f"its ONNX graph is off by {parity:.1e} from PyTorch"
    return _Made(model, facts | {"parity": parity, "reason": reason})


def _may_pass(error: Exception) -> bool:
    """Return whether an error speaks of the machine at that moment, not of the network.

    >>> _may_pass(MemoryError()), _may_pass(TypeError("no operator for this"))
    (True, False)
    >>> _may_pass(RuntimeError("DefaultCPUAllocator: can't allocate memory"))  # PyTorch's own
    True
    """
    is_shortage = re.search(r"alloc|out of memory", str(error), re.IGNORECASE)
    return isinstance(error, MemoryError | ImportError | OSError) or bool(is_shortage)


def _names(boundaries: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"features_{at}" for at in boundaries)


def _expected(
    backbone: "Backbone", inputs: Arrays, boundaries: Sequence[int], pooled: bool
) -> list[NDArray[Any]]:
    import torch

    if "pixels" in inputs:
        normalize = inputs_for(backbone.source.preprocess).normalize
        inputs = {"pixels": normalize(inputs["pixels"])}
    state = tuple(torch.from_numpy(inputs[name]) for name in backbone.input_names)
    with torch.inference_mode():
        return [x.numpy() for x in outputs_at(backbone, state, boundaries, pooled)]


def _traced(
    backbone: "Backbone", boundaries: tuple[int, ...], pooled: bool, ragged: Sequence[bool]
) -> bytes:
    """Return the ONNX graph of the network, with the normalization in front."""
    import torch

    class Below(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = backbone

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return outputs_at(self.backbone, inputs, boundaries, pooled)

    is_text = "pixels" not in backbone.input_names
    names = dict(zip(_names(boundaries), ragged, strict=True))
    names = dict.fromkeys(backbone.input_names, is_text) | names
    buffer = BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter by tracing is deprecated, fast, and exact
        torch.onnx.export(
            Below().eval(),
            backbone.example(2),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(backbone.input_names),
            output_names=list(_names(boundaries)),
            dynamic_axes={
                k: {0: "n", 1: "length"} if is_open else {0: "n"} for k, is_open in names.items()
            },
        )
    if is_text:
        return buffer.getvalue()
    return read_pixels(buffer.getvalue(), backbone.source.preprocess)


def _run(model: bytes, inputs: Arrays) -> list[NDArray[Any]]:
    return told(session(model), inputs)


def relative_error(values: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]) -> float:
    """Return the largest error, as a share of the largest expected value of its output.

    >>> relative_error([np.array([1.0, 2.1])], [np.array([1.0, 2.0])])  # doctest: +ELLIPSIS
    0.05...
    """
    errors = [
        np.abs(value - wanted).max() / max(np.abs(wanted).max(), np.finfo(np.float32).tiny)
        for value, wanted in zip(values, expected, strict=True)
    ]
    return float(np.max(np.nan_to_num(errors, nan=np.inf)))


# ONNX to ONNX ---------------------------------------------------------------------------------


def _adopt(source: Source, boundaries: Boundaries | None, pooled: bool) -> _Made:
    """Return a graph that came as ONNX, cut at the output its card names."""
    from headstart.sources.catalog import verify

    if boundaries not in (None, (1,)) or not pooled:
        raise UsageError(
            f"{source.uri} can only be used frozen, as a whole: it is an ONNX graph.\n"
            "Leave the boundary at the head (`--finetune no`), or choose a source that trains."
        )
    verify(source)
    try:
        return _adopted(source)
    except (HeadstartError, MemoryError):
        raise
    except Exception as error:  # a foreign graph, or a card of another one, may fail anywhere
        raise IntegrityError(
            f"{source.uri}: its ONNX graph does not run on what the card declares: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:300]}\n"
            "Expected a whole file, and the sizes, channels and layout it was made for."
        ) from error


def _adopted(source: Source) -> _Made:
    from headstart.sources.catalog import weights_path

    model = cut(weights_path(source), source.architecture["output"], *_names((1,)))
    model = read_pixels(model, source.preprocess)
    pixels = noise(source.preprocess)
    values = _run(model, pixels)[0]
    if values.ndim > 2:
        model = pool(
            model,
            rank=values.ndim,
            channels_last=bool(source.architecture.get("channels_last")),
        )
        values = _run(model, pixels)[0]
    facts: Facts = {
        "boundaries": (1,),
        "n_stages": 1,
        "outputs": _names((1,)),
        "shapes": (values.shape[1:],),
    }
    return _Made(model, facts)
