"""The waist: features from decoded pictures, against raw ONNX Runtime, PyTorch and the machine.

All sides see pictures that are decoded already. `extract` is the whole way: hash, look up, crop,
run, round, write verified shards; raw ONNX Runtime runs the same graph in a bare loop over
ready-made batches of the same size, on all cores; PyTorch runs the network eagerly, in
channels-last order, in bfloat16 and compiled, each at the batch size that suited it best, and as
most people run it: eagerly, in batches of 32, which is what the target is about. The machine's
peak is the fastest multiplication of two large matrices that any library manages.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bench.measure import Row, Study, alternate, own_home, ratios, seconds_of
from bench.peak import flops, peaks

SIZES = {
    "tiny": {"n_rows": 8, "batches": (4,), "largest": 512, "ways": ("eager",)},
    "quick": {"n_rows": 192, "batches": (4, 16), "ways": ("eager", "channels last, bfloat16")},
    "full": {},
}
SOURCE = "pkg:efficientnet-lite0"
BORDER = 16  # the network sees the 224 pixels in the middle of 256, so nothing is resized
WAYS = ("eager", "channels last", "channels last, bfloat16", "compiled")
UNTUNED, UNTUNED_BATCH = "eager, untuned", 32
Side = Callable[[], object]


def study(
    repeats: int,
    n_rows: int = 384,
    ways: tuple[str, ...] = WAYS,
    batches: tuple[int, ...] = (1, 4, 8, 16, 32),
    largest: int = 4096,
) -> Study:
    """Time the sides in turn; every repeat of ours gets pictures no cache has seen."""
    with own_home():
        from headstart.features.engine import engine_for
        from headstart.sources.catalog import resolve

        source = resolve(SOURCE)
        engine: Any = engine_for(source)
        fresh = iter(range(1, repeats + 2))
        torch_sides = _torch_sides(source, _pictures(n_rows, 0), ways, batches)
        raw = _raw(engine, _pictures(n_rows, 0))
        sides: dict[str, Callable[[], float]] = {
            "extract": lambda: _extract(source, _pictures(n_rows, next(fresh))),
            "raw": lambda: seconds_of(raw),
        }
        for way, (_, side) in torch_sides.items():
            sides[way] = lambda side=side: seconds_of(side)
        alternate(sides, 1)  # the first call opens files and fills caches
        rates = {k: [n_rows / s for s in v] for k, v in alternate(sides, repeats).items()}
        peak, cost = peaks(largest), _cost(source)
    best = {way: batch for way, (batch, _) in torch_sides.items()}
    return Study(
        f"{SOURCE} at 224 × 224, {n_rows} decoded pictures, cache written.",
        (*_rates(rates, engine.batch, best), *_shares(rates, peak, cost)),
        (f"one picture takes {cost / 1e9:.3f} billion operations, a multiplication and an addition "
         "counting as two",),
        facts={"peaks": peak, "flops": cost, "batches": best},
    )  # fmt: skip


def _rates(rates: Mapping[str, list[float]], batch: int, best: Mapping[str, int]) -> list[Row]:
    ours = rates["extract"]
    return [
        Row("`extract`", tuple(ours), "pictures/s"),
        Row(f"raw ONNX Runtime, batch {batch}", tuple(rates["raw"]), "pictures/s"),
        *(
            Row(f"PyTorch {way}, batch {best[way]}", tuple(rates[way]), "pictures/s")
            for way in best
        ),
        ratios("`extract` / raw ONNX Runtime", ours, rates["raw"], at_least=0.9),
        *(
            ratios(f"`extract` / PyTorch {way}", ours, rates[way], **_target(way))
            for way in best
        ),
    ]  # fmt: skip


def _target(way: str) -> dict[str, float]:
    return {"at_least": 3} if way == UNTUNED else {}


def _shares(
    rates: Mapping[str, list[float]], peak: Mapping[str, Mapping[str, float]], cost: float
) -> list[Row]:
    rows = []
    for number, by_name in peak.items():
        name = max(by_name, key=lambda key: by_name[key])
        rows.append(Row(f"peak in {number}: {name}", (by_name[name] / 1e9,), "GFLOP/s"))
        share = tuple(rate * cost / by_name[name] for rate in rates["extract"])
        rows.append(Row(f"`extract`, share of the peak in {number}", share))
    return rows


def _cost(source: Any) -> float:
    """Return the operations of one picture."""
    import torch

    from headstart.sources.catalog import open_backbone

    network, p = open_backbone(source).eval(), source.preprocess
    return flops(lambda: network(torch.zeros(1, 3, p.height, p.width)))


def _pictures(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 256, 256, 3), dtype=np.uint8)


def _middle(pictures: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pictures[:, BORDER:-BORDER, BORDER:-BORDER])


def _extract(source: Any, pictures: np.ndarray) -> float:
    from headstart.data.dataset import Dataset
    from headstart.features.extract import extract
    from headstart.task import Modality

    data = Dataset(Modality.IMAGE, list(pictures))
    return seconds_of(lambda: _complete(extract(source, data), len(pictures)))


def _complete(features: Any, n: int) -> None:
    if features.n_computed != n:
        raise RuntimeError(f"computed {features.n_computed} rows, not {n}")


def _raw(engine: Any, pictures: np.ndarray) -> Side:
    import onnxruntime as ort

    from headstart.machine import n_threads

    options = ort.SessionOptions()
    options.intra_op_num_threads = n_threads()
    session = ort.InferenceSession(
        str(engine.graph.path), options, providers=["CPUExecutionProvider"]
    )
    seen, name = _middle(pictures), session.get_inputs()[0].name
    batches = [seen[i : i + engine.batch] for i in range(0, len(seen), engine.batch)]
    return lambda: [session.run(None, {name: batch}) for batch in batches]


# PyTorch -----------------------------------------------------------------------------------------


def _torch_sides(
    source: Any, pictures: np.ndarray, ways: tuple[str, ...], batches: tuple[int, ...]
) -> dict[str, tuple[int, Side]]:
    """Return each way's best batch size, found on a few pictures, and the way at that size."""
    import torch

    from headstart.features.inputs import inputs_for
    from headstart.machine import n_threads

    torch.set_num_threads(n_threads())
    values = torch.from_numpy(inputs_for(source.preprocess).normalize(_middle(pictures)))
    sides = {}
    for way in ways:
        runs = {batch: _torch(source, way, batch) for batch in batches}
        few = values[: 2 * max(batches)]
        best = min(runs, key=lambda batch: _second_time(runs[batch], few))
        sides[way] = best, lambda run=runs[best]: run(values)
    untuned = _torch(source, "eager", UNTUNED_BATCH)
    sides[UNTUNED] = UNTUNED_BATCH, lambda: untuned(values)
    return sides


def _second_time(run: Callable[[Any], object], values: Any) -> float:
    run(values)
    return seconds_of(lambda: run(values))


def _torch(source: Any, way: str, batch: int) -> Callable[[Any], object]:
    import torch

    from headstart.sources.catalog import open_backbone

    network: Any = open_backbone(source).eval()
    order = torch.contiguous_format if way == "eager" else torch.channels_last
    network = network.to(memory_format=order)
    if way == "compiled":
        network = torch.compile(network)
    half = "bfloat16" in way

    def run(values: Any) -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            for part in values.split(batch):
                network(part.contiguous(memory_format=order))

    return run
