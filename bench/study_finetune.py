"""Step 5 against a plain PyTorch loop in float32 and Hugging Face's Trainer: rows a second, score.

Every side is a process of its own, on the same files and weights. The peers' rows a second leave
out imports, reading and evaluation. Ours is all of step 5: the export of the trunk, the activations
of every augmented view, validation and checkpoints count; its epochs are the default's.
Run as `python -m bench.study_finetune FOLDER SOURCE SPEC EPOCHS SEED`, this file is our side.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import cases
from bench.against import MARGIN, NOT_WORSE, lower_end, peer
from bench.measure import Row, Study, itself, own_home, ratios, rounds, scratch_folder

SOURCES = {"pictures": "pkg:efficientnet-lite0", "texts": "pkg:all-minilm-l6-v2"}
DATA = {"pictures": "hymenoptera", "texts": "banking77"}
SPECS = {"all": "all", "quarter": "last:25%"}
#: Kind → what the whole study runs: training rows a class, epochs of each side; None: all rows, or
#: the default's epochs.
FULL = {
    "pictures": {"a_class": None, "loop": 10, "trainer": 10, "ours": None},
    "texts": {"a_class": 26, "loop": 5, "trainer": 5, "ours": None},
}
SIZES = {
    "tiny": {
        "asked": {
            "pictures": {"a_class": 8, "n_test": 8, "loop": 1, "ours": 1},
            "texts": {"a_class": 2, "n_test": 1, "loop": 1, "trainer": 1, "ours": 1},
        },
    },
    "quick": {"asked": {"pictures": {"a_class": 20, "loop": 1, "ours": None}}},
    "full": {},
}
PARTS = {kind: {"asked": {kind: how}} for kind, how in FULL.items()}
#: A plain loop takes batches as large as ours.
BATCH = 32
Asked = Mapping[str, Mapping[str, Any]]


def study(repeats: int, asked: Asked = FULL, known: Mapping[str, Any] | None = None) -> Study:
    """Time the sides in turn, on pictures and on texts."""
    rows: list[Row] = []
    facts: dict[str, Any] = {}
    with scratch_folder() as folder:
        for kind, how in asked.items():
            data = _written(kind, how, folder / kind)
            facts[kind] = rounds(
                lambda seed, kind=kind, how=how, data=data: _sides(kind, how, data, seed),
                repeats,
                (known or {}).get(kind),
            )
            rows += _told(kind, facts[kind])
    return Study(
        f"{', '.join(f'{SOURCES[kind]} on {DATA[kind]}' for kind in asked)}; rows a second.",
        tuple(rows),
        (
            NOT_WORSE,
            "the score of a peer is that of its last or best epoch on the very test rows; ours "
            "never saw them",
            "the Trainer's fine-tuning of its guide on batches of 16; the loop's are of "
            f"{BATCH}, as ours",
        ),
        facts,
    )


def _written(kind: str, how: Mapping[str, Any], folder: Path) -> Path:
    write = cases.pictures if kind == "pictures" else cases.texts
    return write(DATA[kind], folder, how["a_class"], how.get("n_test"))


def _sides(
    kind: str, how: Mapping[str, Any], data: Path, seed: int
) -> dict[str, Callable[[], Any]]:
    sides: dict[str, Callable[[], Any]] = {}
    epochs = str(how["ours"] or 0)
    for part, spec in SPECS.items():
        sides[f"ours, {part}"] = lambda spec=spec: (
            itself("study_finetune", data, SOURCES[kind], spec, epochs, str(seed)).json
        )
        for name in ("loop", "trainer"):
            if name in how:
                batch = ("--batch", BATCH) if name == "loop" else ()
                options = ("--part", part, "--epochs", how[name], *batch, "--seed", seed)
                sides[f"{name}, {part}"] = lambda name=name, options=options: peer(
                    f"{name}_{kind}", data, *options
                )
    return sides


def _told(kind: str, found: Mapping[str, list[dict[str, Any]]]) -> list[Row]:
    rates = {name: [float(one["rate"]) for one in runs] for name, runs in found.items()}
    rows = [Row(f"{kind}: {name}", tuple(rate), "rows/s") for name, rate in rates.items()]
    base = rates["loop, all"]
    whole, quarter = rates["ours, all"], rates["ours, quarter"]
    rows.append(ratios(f"{kind}: whole network, ours / loop", whole, base, at_least=2))
    rows.append(
        ratios(f"{kind}: our last quarter / whole network of the loop", quarter, base, at_least=6)
    )
    rows.append(
        ratios(f"{kind}: last quarter, ours / loop", quarter, rates["loop, quarter"])
    )  # fmt: skip
    for name, runs in found.items():
        scores = tuple(sum(one["right"]) / len(one["right"]) for one in runs)
        rows.append(Row(f"{kind}: {name}, right", scores))
    return rows + [row for part in SPECS for row in _gains(kind, part, found)]


def _gains(kind: str, part: str, found: Mapping[str, Sequence[dict[str, Any]]]) -> list[Row]:
    """Return the lower ends of ours − theirs, on the same test rows."""
    names = [name for name in (f"loop, {part}", f"trainer, {part}") if name in found]
    return [
        Row(
            f"{kind}: lower end of ours − {name}",
            (lower_end(found[f"ours, {part}"], found[name]),),
            at_least=-MARGIN,
        )
        for name in names
    ]


# Our side ----------------------------------------------------------------------------------------


def main(data: Path, source: str, spec: str, epochs: int, seed: int) -> dict[str, Any]:
    """Fine-tune in an empty home; rows a second of step 5, and which test rows are right."""
    import headstart as hs
    from headstart.sources.catalog import resolve
    from headstart.steps.phase import default_phase

    with own_home():
        card = resolve(source)
        phase = default_phase(card.uri, card.modality)
        if epochs:
            phase = dataclasses.replace(phase, epochs=epochs)
        rows = _read(data / "train", card)
        model = hs.Transfer(source, finetune=f"only:{spec}", phase=phase, seed=seed).fit(rows)
        test = _read(data / "test", card)
        said = model.predict(test)
        right = [str(a) == test.task.labels[b] for a, b in zip(said, test.targets, strict=True)]
        seen, taken = model.curve_.seen[-1], model.plan_.taken_s
    return {"rate": seen / taken["finetune"], "right": right, "seen": seen, "taken_s": taken}


def _read(at: Path, card: Any) -> Any:
    import headstart as hs

    if at.is_dir():
        return hs.read(str(at))
    return hs.read(str(at.with_suffix(".csv")), text="text", label="label")


if __name__ == "__main__":
    given = sys.argv[1:]
    json.dump(main(Path(given[0]), given[1], given[2], int(given[3]), int(given[4])), sys.stdout)
