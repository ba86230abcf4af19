"""From files to features: pictures against what the cores allow, texts against a known encoder.

What the cores allow is cores / (core-seconds to decode a picture + core-seconds of the trunk): one
thread alone decodes all pictures, and runs the trunk over them at its best batch; nothing is
hashed, looked up, written or waited for. Texts: `extract` against `SentenceTransformer.encode`,
the same weights, each warm in a process of its own.
"""

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.against import peer
from bench.measure import (
    Row,
    Study,
    alternate,
    data_folder,
    itself,
    own_home,
    ratios,
    scratch_folder,
    seconds_of,
)

SIZES = {
    "tiny": {"n_pictures": 8, "n_texts": 64, "batches": (4,), "text_batches": (16,)},
    "quick": {"n_pictures": 200, "batches": (2, 4), "n_texts": 1500, "text_batches": (16,)},
    "full": {},
}
PICTURES, TEXTS = "pkg:efficientnet-lite0", "pkg:all-minilm-l6-v2"


def study(
    repeats: int,
    n_pictures: int = 397,
    n_texts: int = 10_003,
    batches: Sequence[int] = (1, 2, 4, 8),
    text_batches: Sequence[int] = (8, 16, 64, 128),
) -> Study:
    """Time pictures in this process, texts in a process a side."""
    paths = sorted(data_folder("hymenoptera").glob("*/*/*.jpg"))[:n_pictures]
    rows, facts = _pictures(paths, repeats, batches)
    return Study(
        f"{len(paths)} ants and bees from their files; {n_texts:,} texts of banking77.",
        (*rows, *_texts(n_texts, repeats, text_batches)),
        (
            "core-seconds: processor time of one thread that has the machine to itself",
            "sentence-transformers 6.2 has an ONNX backend too, in packages that ask for "
            "transformers < 5 and so do not install beside it",
        ),
        facts,
    )


# Pictures ----------------------------------------------------------------------------------------


def _pictures(
    paths: list[Path], repeats: int, batches: Sequence[int]
) -> tuple[list[Row], dict[str, Any]]:
    from headstart.features.engine import engine_for
    from headstart.features.inputs import inputs_for
    from headstart.machine import n_threads
    from headstart.sources.catalog import resolve

    source = resolve(PICTURES)
    inputs, costs = inputs_for(source.preprocess), _Costs(source, paths)
    with own_home():
        engine: Any = engine_for(source)
        costs.warm(engine, inputs)
        sides = {"alone": lambda: costs.alone(engine, inputs, batches)}
        found = alternate({**sides, "whole": lambda: costs.whole(engine)}, repeats)
    cores = n_threads()
    decoding, running = (tuple(1000 * one[k] for one in found["alone"]) for k in ("read", "run"))
    limits = [1000 * cores / (a + b) for a, b in zip(decoding, running, strict=True)]
    rows = [
        Row("decoding a picture, one thread", decoding, "core-ms"),
        Row("the trunk on a picture, one thread", running, "core-ms"),
        Row(f"what {cores} cores allow", tuple(limits), "pictures/s"),
        Row("`extract` from files, cache written", tuple(found["whole"]), "pictures/s"),
        ratios("`extract` / what the cores allow", found["whole"], limits, at_least=0.9),
    ]
    return rows, {"alone": found["alone"]}


class _Costs:
    """What pictures cost: alone in parts, and on the way that users go."""

    def __init__(self, source: Any, paths: list[Path]) -> None:
        self.source, self.paths = source, paths

    def warm(self, engine: Any, inputs: Any) -> None:
        """Open the graph and have the files in memory."""
        pixels = [inputs.row(path) for path in self.paths]
        engine.run(inputs.batch(pixels[:1]))

    def alone(self, engine: Any, inputs: Any, batches: Sequence[int]) -> dict[str, float]:
        """Return the core-seconds a picture of decoding and of the trunk at its best batch."""
        pixels: list[Any] = []
        read = _core_seconds(lambda: pixels.extend(map(inputs.row, self.paths)))
        runs = [_core_seconds(lambda n=n: _run(engine, inputs, pixels, n)) for n in batches]
        n = len(self.paths)
        return {"read": read / n, "run": min(runs) / n, "batch": batches[runs.index(min(runs))]}

    def whole(self, engine: Any) -> float:
        """Return pictures a second through `extract`, in a home where only the trunk is kept."""
        from bench.study_tutorial import drop_features
        from headstart.data.readers import read
        from headstart.features.extract import extract
        from headstart.machine import home

        data = read(list(self.paths))
        extract(self.source, data.take(range(1)))
        drop_features(home())
        features: list[Any] = []
        seconds = seconds_of(lambda: features.append(extract(self.source, data)))
        if features[0].n_computed != len(self.paths):
            raise RuntimeError(f"computed {features[0].n_computed} rows, not {len(self.paths)}")
        return len(self.paths) / seconds


def _core_seconds(work: Any) -> float:
    import time

    start = time.thread_time()
    work()
    return time.thread_time() - start


def _run(engine: Any, inputs: Any, pixels: list[Any], batch: int) -> None:
    for start in range(0, len(pixels), batch):
        engine.run(inputs.batch(pixels[start : start + batch]))


# Texts -------------------------------------------------------------------------------------------


def _texts(n: int, repeats: int, batches: Sequence[int]) -> list[Row]:
    with scratch_folder() as folder:
        table = folder / "texts.csv"
        _write(data_folder("banking77") / "train.csv", table, n)
        sides = {
            "ours": lambda: itself("study_endtoend", table).json,
            "theirs": lambda: peer("encode", table, "--batches", *batches)["rates"],
        }
        found = alternate(sides, repeats)
    ours = [one["rate"] for one in found["ours"]]
    theirs = {key: [one[key] for one in found["theirs"]] for key in found["theirs"][0]}
    fastest = [max(rates) for rates in zip(*theirs.values(), strict=True)]
    names = {key: key if key == "default" else f"batches of {key}" for key in theirs}
    return [
        Row("`extract` of texts, cache written", tuple(ours), "texts/s"),
        *(
            Row(f"sentence-transformers, {names[key]}", tuple(rates), "texts/s")
            for key, rates in theirs.items()
        ),
        ratios("`extract` / its default", ours, theirs["default"], at_least=2),
        ratios(
            "`extract` / its fastest here",
            ours,
            fastest,
        ),
    ]


def _write(given: Path, table: Path, n: int) -> None:
    with given.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)][:n]
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


def main(table: Path) -> dict[str, float]:
    """Extract the texts of a table, in an empty home but for the compiled trunk; texts a second."""
    from headstart.data.dataset import Dataset
    from headstart.features.extract import extract
    from headstart.sources.catalog import resolve
    from headstart.task import Modality

    with table.open(encoding="utf-8", newline="") as file:
        texts = list(dict.fromkeys(row["text"] for row in csv.DictReader(file)))
    with own_home():
        source = resolve(TEXTS)
        extract(source, Dataset(Modality.TEXT, [f"{i} {texts[i]}" for i in range(64)]))
        seconds = seconds_of(lambda: extract(source, Dataset(Modality.TEXT, texts)))
    return {"rate": len(texts) / seconds}


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1])), sys.stdout)
