"""The waist: features from decoded pictures, against raw ONNX Runtime and PyTorch.

All sides see pictures that are decoded already. `extract` is the whole way: hash, look up, crop,
run, round, write verified shards; raw ONNX Runtime runs the same graph in a bare loop over
ready-made batches of the same size, on all cores; PyTorch runs the network eagerly at 32.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.measure import Row, Study, alternate, own_home, ratios, seconds_of

SOURCE = "pkg:efficientnet-lite0"
N_ROWS = 384
TORCH_BATCH = 32
BORDER = 16  # the network sees the 224 pixels in the middle of 256, so nothing is resized


def study(repeats: int) -> Study:
    """Time the three sides in turn; every repeat of ours gets pictures no cache has seen."""
    with own_home():
        from headstart.features.engine import engine_for
        from headstart.sources.catalog import resolve

        source = resolve(SOURCE)
        engine: Any = engine_for(source)
        pictures = _pictures(seed=0)
        raw, eager = _raw(engine, pictures), _eager(source, pictures)
        fresh = iter(range(1, repeats + 2))
        sides = {
            "extract": lambda: _extract(source, _pictures(next(fresh))),
            "raw": lambda: seconds_of(raw),
            "eager": lambda: seconds_of(eager),
        }
        alternate(sides, 1)  # the first call opens files and fills caches
        rates = {k: [N_ROWS / s for s in v] for k, v in alternate(sides, repeats).items()}
    return Study(
        f"{SOURCE} at 224 × 224, {N_ROWS} decoded pictures, cache written.",
        (
            Row("`extract`", tuple(rates["extract"]), "pictures/s"),
            Row(f"raw ONNX Runtime, batch {engine.batch}", tuple(rates["raw"]), "pictures/s"),
            Row(f"PyTorch eager, batch {TORCH_BATCH}", tuple(rates["eager"]), "pictures/s"),
            ratios("`extract` / raw ONNX Runtime", rates["extract"], rates["raw"], at_least=0.9),
            ratios("`extract` / PyTorch eager", rates["extract"], rates["eager"], at_least=3),
        ),
    )


def _pictures(seed: int) -> np.ndarray:
    shape = (N_ROWS, 256, 256, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _middle(pictures: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pictures[:, BORDER:-BORDER, BORDER:-BORDER])


def _extract(source: Any, pictures: np.ndarray) -> float:
    from headstart.data.dataset import Dataset
    from headstart.features.extract import extract
    from headstart.task import Modality

    data = Dataset(Modality.IMAGE, list(pictures))
    return seconds_of(lambda: _complete(extract(source, data)))


def _complete(features: Any) -> None:
    if features.n_computed != N_ROWS:
        raise RuntimeError(f"computed {features.n_computed} rows, not {N_ROWS}")


def _raw(engine: Any, pictures: np.ndarray) -> Callable[[], object]:
    import onnxruntime as ort

    from headstart.machine import n_threads

    options = ort.SessionOptions()
    options.intra_op_num_threads = n_threads()
    session = ort.InferenceSession(
        str(engine.graph.path), options, providers=["CPUExecutionProvider"]
    )
    seen, name = _middle(pictures), session.get_inputs()[0].name
    batches = [seen[i : i + engine.batch] for i in range(0, N_ROWS, engine.batch)]
    return lambda: [session.run(None, {name: batch}) for batch in batches]


def _eager(source: Any, pictures: np.ndarray) -> Callable[[], object]:
    import torch

    from headstart.features.inputs import inputs_for
    from headstart.machine import n_threads
    from headstart.sources.catalog import open_backbone

    torch.set_num_threads(n_threads())
    network = open_backbone(source).eval()
    normal = inputs_for(source.preprocess).normalize(_middle(pictures))
    batches = torch.from_numpy(normal).split(TORCH_BATCH)

    def run() -> None:
        with torch.inference_mode():
            for batch in batches:
                network(batch)

    return run
