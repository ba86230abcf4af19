"""Engine: runs the frozen part of a source, by whatever is fastest on this machine.

On the processor it is the same graph for fitting and for a saved model, and both say the same. On
an accelerator it is PyTorch in bfloat16, which keeps 8 bits (features within 2 % of the largest):
a model fitted there runs in bfloat16 until it is saved, and as the float32 graph of its folder
once it is loaded. Its scores then move by as much; set `HEADSTART_DEVICE=cpu` to fit with the
numbers that are served.
"""

import contextlib
import math
import os
import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart.errors import ResourceError
from headstart.features.compile import (
    Boundaries,
    Graph,
    compiled,
    graph_key,
    graph_path,
    outputs_at,
    resolved,
)
from headstart.features.graphs import session, told
from headstart.features.inputs import inputs_for
from headstart.machine import device as best_device
from headstart.machine import is_out_of_memory
from headstart.progress import Progress, track
from headstart.sources.source import Source
from headstart.store.store import open_store
from headstart.task import Modality

if TYPE_CHECKING:
    import onnxruntime as ort
    import torch

    from headstart.sources.backbone import Backbone

Arrays = dict[str, NDArray[Any]]

#: Rows a compiled trunk sees at once. Measured on two cores: small picture batches stay in the
#: processor's cache (4: 228 pictures a second, 32: 168). Of texts the tokens count.
ONNX_BATCH = {Modality.IMAGE: 4, Modality.TEXT: 64, Modality.VECTOR: 1024}
TORCH_BATCH = 64
#: Tokens a compiled trunk sees at once, padding among them. Measured, in µs a token: 128 at once
#: 374, 512 at once 343, 2,048 at once 403; the activations of more leave the processor's cache.
ONNX_TOKENS = 512
#: An accelerator takes `TORCH_BATCH` texts of the usual greatest length.
TORCH_TOKENS = TORCH_BATCH * 512

#: The compiled trunk that was opened last: who asks for it again need not hash and open its file,
#: which takes seconds for a large one. One alone, as each holds its weights; in a forked process
#: none, as what was open there may have been in use.
_last: list["OnnxEngine"] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_last.clear)


class Engine(Protocol):
    """What runs a trunk; `run` may be called from several threads at once.

    Attributes
    ----------
    name
        "onnxruntime", "torch" or "identity".
    key
        What it computes; the same for two engines whose results may share a cache.
    boundaries
        How many stages lie below each output.
    n_stages
        How many stages the source has.
    batch
        How many rows `run` wants at once, at most.
    tokens
        How many tokens `run` wants at once, at most, where rows are texts.
    precision
        What it computes in: "float32" or "bfloat16".
    """

    name: str
    key: str
    boundaries: tuple[int, ...]
    n_stages: int
    batch: int
    tokens: int
    precision: str

    def run(self, inputs: Arrays) -> tuple[NDArray[np.float32], ...]:
        """Return the features of a batch, one array of shape (n, …) a boundary."""
        ...


def engine_for(
    source: Source,
    boundaries: Boundaries | int | None = None,
    pooled: bool = True,
    *,
    data_sample: Callable[[], Arrays | None] | None = None,
) -> Engine:
    """Return what runs `source` up to `boundaries` here.

    Parameters
    ----------
    source
        The pretrained model.
    boundaries
        How many stages to run (or which share of the blocks), several for several outputs of one
        pass; None: all.
    pooled
        Whether to return a vector a row, or the whole activation.
    data_sample
        Gives a batch of real inputs for the check against PyTorch; called only if the trunk has
        not been compiled before.
    """
    at = (boundaries,) if isinstance(boundaries, int) else boundaries
    if source.modality is Modality.VECTOR:
        return IdentityEngine()
    if source.is_trainable and best_device() != "cpu":
        return TorchEngine(source, at, pooled, device=best_device())
    path = graph_path(graph_key(source, at, pooled))
    for one in tuple(_last):
        if one.graph.path == path:
            return one
    if not path.exists():
        close_last()  # compiling takes memory enough
    with contextlib.closing(open_store()) as store:
        graph = compiled(source, at, pooled=pooled, store=store, sample=data_sample)
    if graph.is_faithful:
        return OnnxEngine(graph, ONNX_BATCH[source.modality], stays=True)
    with track("compiling") as tracked:
        tracked.note(f"{source.uri}: {graph.reason}; PyTorch runs it instead, which is slower.")
    return TorchEngine(source, at, pooled, device="cpu")


def close_last() -> None:
    """Let go of the trunk that was opened last, before what needs memory."""
    _last.clear()


def engine_of(graph: Graph, source: Source) -> "OnnxEngine":
    """Return what runs a compiled trunk that came from elsewhere: with a bundle."""
    return OnnxEngine(graph, batch=ONNX_BATCH[source.modality])


class OnnxEngine:
    """ONNX Runtime on the compiled graph.

    Each call computes on the thread that makes it: several callers fill the cores as well as one
    call on several threads does, while decoding balances itself against inference, nothing
    spins, and the numbers do not depend on how many threads there are.

    Parameters
    ----------
    graph
        The compiled trunk.
    batch
        How many rows to give it at once.
    stays
        Whether it may stay open in this process when whoever asked for it is done.
    """

    name = "onnxruntime"
    tokens = ONNX_TOKENS
    precision = "float32"

    def __init__(self, graph: Graph, batch: int, *, stays: bool = False) -> None:
        self.stays = stays
        self.graph = graph
        self.key = graph.key
        self.boundaries = graph.boundaries
        self.n_stages = graph.n_stages
        self.batch = batch
        self.opening = threading.Lock()
        self.session: ort.InferenceSession | None = None

    def run(self, inputs: Arrays) -> tuple[NDArray[np.float32], ...]:
        """Return the features of a batch, one array of shape (n, …) a boundary."""
        with self.opening:
            if self.session is None:
                self._open()
        assert self.session is not None
        return tuple(told(self.session, inputs, self.graph.outputs))

    def _open(self) -> None:
        if self.stays:
            close_last()
        try:
            opened = session(self.graph.path)
        finally:  # not before: it can be replaced while it is opened
            self.graph.check(self.graph.path)
        self.session = opened
        if self.stays:
            _last[:] = [self]


class TorchEngine:
    """PyTorch: on a GPU, in bfloat16 and channels-last; on the processor where ONNX cannot.

    Parameters
    ----------
    source
        The pretrained model; read at first use.
    boundaries
        How many stages to run; None: all.
    pooled
        Whether to return a vector a row.
    device
        "cuda", "mps" or "cpu".
    """

    name = "torch"

    def __init__(
        self, source: Source, boundaries: Boundaries | None, pooled: bool, device: str
    ) -> None:
        self.source = source
        self.pooled = pooled
        self.device = device
        self.batch = ONNX_BATCH[source.modality] * 4 if device == "cpu" else TORCH_BATCH
        self.tokens = ONNX_TOKENS * 4 if device == "cpu" else TORCH_TOKENS
        self.precision = "float32" if device == "cpu" else "bfloat16"
        self.key = graph_key(source, boundaries, pooled)
        self.n_stages = self.backbone.n_stages
        self.boundaries = resolved(boundaries, self.backbone.blocks, self.n_stages)
        self.running = threading.Lock()

    @cached_property
    def backbone(self) -> "Backbone":
        """The network, in evaluation mode, on the device."""
        import torch

        from headstart.sources.catalog import open_backbone

        backbone: Backbone = open_backbone(self.source).eval().to(self.device)
        if self.source.modality is Modality.IMAGE and self.device != "cpu":
            backbone = backbone.to(memory_format=torch.channels_last)
        return backbone

    def run(self, inputs: Arrays) -> tuple[NDArray[np.float32], ...]:
        """Return the features of a batch, one array of shape (n, …) a boundary."""
        import torch

        state = self._tensors(inputs)
        autocast = torch.autocast(
            self.device, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"
        )
        with self.running, torch.inference_mode(), autocast:
            outputs = outputs_at(self.backbone, state, self.boundaries, self.pooled)
            return tuple(output.float().cpu().numpy() for output in outputs)

    def _tensors(self, inputs: Arrays) -> tuple["torch.Tensor", ...]:
        import torch

        if "pixels" in inputs:
            inputs = {"pixels": inputs_for(self.source.preprocess).normalize(inputs["pixels"])}
        tensors = [torch.from_numpy(inputs[name]) for name in self.backbone.input_names]
        if "pixels" in inputs and self.device != "cpu":
            tensors = [x.contiguous(memory_format=torch.channels_last) for x in tensors]
        return tuple(x.to(self.device) for x in tensors)


class IdentityEngine:
    """Rows that are vectors already."""

    name = "identity"
    key = "identity"
    boundaries: tuple[int, ...] = (0,)
    n_stages = 0
    batch = ONNX_BATCH[Modality.VECTOR]
    tokens = ONNX_TOKENS
    precision = "float32"

    def run(self, inputs: Arrays) -> tuple[NDArray[np.float32], ...]:
        """Return the vectors."""
        return (inputs["vectors"],)


class Pieces:
    """Runs batches through an engine; in pieces, once memory does not suffice for the whole.

    A row's numbers keep their bits in pieces of two rows or more: the padding stays that of the
    whole batch, and the last piece takes in rows that were run before rather than be smaller. A row
    alone is multiplied in another order, so that a text's last bit may change (measured: 1.4e-7 of
    the largest number; pictures keep theirs).

    Parameters
    ----------
    engine
        What runs a piece.
    progress
        Where it is told that memory ran out.
    """

    def __init__(self, engine: Engine, progress: Progress) -> None:
        self.engine = engine
        self.progress = progress
        self.most = engine.batch
        self.shrinking = threading.Lock()

    def run(self, inputs: Arrays) -> tuple[NDArray[np.float32], ...]:
        """Return the features of a batch, one array of shape (n, …) a boundary.

        Raises
        ------
        ResourceError
            There is not enough memory for a single row.
        """
        n = len(next(iter(inputs.values())))
        while True:
            size = min(self.most, n)
            try:
                return self._run(inputs, n, size)
            except Exception as error:  # ONNX Runtime's are of no kind that can be named here
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise ResourceError(
                        "Memory ran out while the network read a single row.\n"
                        "Give a smaller source, or free some memory; what is finished is kept."
                    ) from error
            self._shrink(math.ceil(size / 2))

    def _run(self, inputs: Arrays, n: int, size: int) -> tuple[NDArray[np.float32], ...]:
        if size == n:
            return self.engine.run(inputs)
        said = []
        for start in range(0, n, size):
            at = min(start, n - size)
            outputs = self.engine.run({name: x[at : at + size] for name, x in inputs.items()})
            said.append([output[start - at :] for output in outputs])
        return tuple(np.concatenate(parts) for parts in zip(*said, strict=True))

    def _shrink(self, most: int) -> None:
        with self.shrinking:  # of several threads one tells
            if most < self.most:
                self.most = most
                self.progress.note(f"Memory ran out: going on in batches of {most}.")
