"""Growth: what 1,000 to 1,000,000 rows take, in time, memory and disk; and 1 % more of them.

The trunk is synthetic, one convolution from 8 × 8 pixels, so that what is measured is everything
around it: hashing, looking up, decoding, writing, the linear head with its penalty path. Rows are
made as they are asked for, so that the data themselves take no memory. A number of rows is a
process of its own. Run as `python -m bench.study_growth N N_FEATURES FOLDER`, this file is one.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from bench.measure import Row, Study, itself, scratch_folder
from bench.study_memory import N_CLASSES, SIDE, write_source

SIZES = {
    "tiny": {"counts": (200, 1000), "n_features": 64},
    "quick": {"counts": (1000, 10_000, 50_000)},
    "full": {},
}
N_FEATURES, MORE = 256, 0.01
#: From here on memory is to be flat and the way straight: what starts up no longer shows.
SETTLED = 10_000


def study(
    repeats: int,
    counts: Sequence[int] = (1000, 10_000, 100_000, 1_000_000),
    n_features: int = N_FEATURES,
) -> Study:
    """Run every number of rows once; the counts are what varies."""
    del repeats
    runs = [_measured(n, n_features) for n in counts]
    settled = [run for run in runs if run["rows"] >= SETTLED] or runs
    first, last = settled[0], settled[-1]
    grown = 1e9 * (last["extract_gb"] - first["extract_gb"]) / max(1, last["rows"] - first["rows"])
    return Study(
        f"{counts[0]:,} to {counts[-1]:,} rows × {n_features} features, a process each.",
        (
            *(row for run in runs for row in _rows(run)),
            Row("exponent of the time to extract", (_exponent(settled, "extract_s"),),
                at_most=1.05),
            Row("exponent of its processor time", (_exponent(settled, "extract_cpu_s"),)),
            Row("exponent of the time to fit", (_exponent(settled, "fit_s"),), at_most=1.05),
            Row("memory of extraction a row more", (grown,), "bytes"),
            Row("peak of extraction, largest / first settled",
                (last["extract_peak_gb"] / first["extract_peak_gb"],), "×", at_most=1.1),
            Row("rows computed when 1 % come", tuple(run["more_computed"] for run in runs)),
            Row("of them not new", tuple(run["more_computed"] - run["more"] for run in runs),
                at_most=0),
        ),
        (
            f"exponents: the slope of log(seconds) over log(rows), from {SETTLED:,} rows on",
            "peaks are of resident memory, above that of a process with torch loaded; the ratio "
            "is of whole processes",
        ),
        facts={"runs": runs},
    )  # fmt: skip


def _rows(run: dict[str, float]) -> list[Row]:
    n = f"{run['rows']:,} rows: "
    return [
        Row(f"{n}extract", (run["extract_s"],), "s"),
        Row(f"{n}fit", (run["fit_s"],), "s"),
        Row(f"{n}1 % more rows", (run["more_s"],), "s"),
        Row(f"{n}1 % more rows, processor time", (run["more_cpu_s"],), "s"),
        Row(f"{n}peak of extraction", (run["extract_gb"],), "GB"),
        Row(f"{n}peak", (run["peak_gb"],), "GB"),
        Row(f"{n}cache, of which values {run['values_mb']:.1f}", (run["cache_mb"],), "MB"),
    ]


def _exponent(runs: Sequence[dict[str, float]], name: str) -> float:
    rows, seconds = ([np.log(run[key]) for run in runs] for key in ("rows", name))
    return float(np.polyfit(rows, seconds, 1)[0])


def _measured(n: int, n_features: int) -> dict[str, float]:
    with scratch_folder() as folder:
        env = {"HEADSTART_HOME": str(folder / "home")}
        return itself("study_growth", str(n), str(n_features), folder, env=env).json


# One number of rows ------------------------------------------------------------------------------


class Made(Sequence[Any]):
    """Pictures of 8 × 8 pixels, made when asked for; no two are alike."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.noise = np.random.default_rng(0).integers(0, 200, 2**20, dtype=np.uint8)
        self.targets = np.random.default_rng(1).integers(0, N_CLASSES, n)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: Any) -> Any:
        if not 0 <= i < self.n:
            raise IndexError(i)
        size = SIDE * SIDE * 3
        start = i * 7919 % (len(self.noise) - size)
        pixels = self.noise[start : start + size].copy()
        pixels[-4:] = np.frombuffer(int(i).to_bytes(4, "little"), dtype=np.uint8)
        # A class brightens a few pixels of its own, among noise: learnable, not perfectly.
        pixels[self.targets[i] * 7] = 100 + pixels[self.targets[i] * 7] // 2
        return pixels.reshape(SIDE, SIDE, 3)


def run(n: int, n_features: int, folder: Path) -> dict[str, float]:
    """Extract, extract 1 % more, fit: seconds, gigabytes, rows computed."""
    import torch  # noqa: F401

    before = _peak_gb()
    from headstart.features.extract import extract
    from headstart.sources.catalog import resolve
    from headstart.steps.train import train

    write_source(folder, n_features)
    source = resolve(f"file:{folder / 'card.toml'}")
    extract(source, _data(64), cache=False)  # opens and compiles
    data = _data(n)
    clock, cpu = time.perf_counter(), time.process_time()
    features = extract(source, data)
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    facts = {"extract_s": clock, "extract_cpu_s": cpu, "extract_peak_gb": _peak_gb()}
    facts |= {"extract_gb": _peak_gb() - before, **_disk(folder / "home", n * n_features)}
    start = time.perf_counter()
    trained = train("linear", features, data)
    facts |= {"fit_s": time.perf_counter() - start, "peak_gb": _peak_gb() - before}
    start, cpu, more = time.perf_counter(), time.process_time(), round(n * MORE)
    grown = extract(source, _data(n + more))
    return {
        **facts,
        "more_cpu_s": time.process_time() - cpu,
        "rows": n,
        "more": more,
        "more_s": time.perf_counter() - start,
        "more_computed": grown.n_computed,
        "converged": bool(trained.facts["converged"]),
    }


def _data(n: int) -> Any:
    from headstart.data.dataset import Dataset
    from headstart.task import Kind, Modality, Task

    rows = Made(n)
    task = Task(Kind.MULTICLASS, tuple(f"class {i}" for i in range(N_CLASSES)))
    return Dataset(Modality.IMAGE, cast(Any, rows), task, rows.targets)


def _disk(home: Path, n_values: int) -> dict[str, float]:
    n_bytes = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    return {"cache_mb": n_bytes / 1e6, "values_mb": 2 * n_values / 1e6}


def _peak_gb() -> float:
    from headstart.machine import peak_memory_bytes

    return peak_memory_bytes() / 1e9


if __name__ == "__main__":
    json.dump(run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])), sys.stdout)
