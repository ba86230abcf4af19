"""How often `headstart.checks` cries wolf, and how often it hears one.

A/A: splits drawn at random, so nothing has shifted; a finding is a false alarm. Real features are
those of photos of ants and bees, of bank customers' questions, and of scikit-learn's digits (raw
pixels); synthetic ones have tails and clusters of known kinds. Where something is known to have
changed (another drawing style, pictures saved anew), what is found is counted, too.
"""

import csv
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.measure import Row, Skip, Study, data_folder, own_home

#: A/A splits a law and a repeat.
N_STUDIES = 300

PICTURES, TEXTS = "pkg:efficientnet-lite0", "pkg:all-minilm-l6-v2"

Law = Callable[[np.random.Generator, int], NDArray[np.float32]]
Rows = NDArray[np.float32]


def study(repeats: int) -> Study:
    """Measure false alarms, power, and how many known copies are found."""
    with own_home():
        real = _real()
        laws = _laws() | {name: _drawn_from(rows) for name, rows in real.items()}
        rows = [*_false_alarms(laws, repeats), *_power(real, repeats), *_copies(), *_seconds()]
    return Study(
        "Checks: false alarms on A/A splits, power where something changed.",
        tuple(rows),
        (
            f"{N_STUDIES} A/A splits a law and a repeat; a true 5 % exceeds a bound once in 300 "
            "times, and there are 18 of them",
            "copies: a fifth of the ants and bees of `val`, changed, beside all of `train`",
        ),
    )


# A/A ---------------------------------------------------------------------------------------------


def _laws() -> dict[str, Law]:
    centers = np.random.default_rng(1).normal(size=(20, 64)) * 3
    shares = np.arange(1, 21) / 210
    return {
        "normal, 64 columns": lambda rng, n: rng.normal(size=(n, 64)),
        "Student 3, 12 columns": lambda rng, n: rng.standard_t(3, size=(n, 12)),
        "log-normal, 12 columns": lambda rng, n: np.exp(rng.normal(size=(n, 12))),
        "20 uneven clusters, 64 columns": lambda rng, n: (
            centers[rng.choice(20, size=n, p=shares)] + rng.normal(size=(n, 64))
        ),
        "every row twice, kept together": lambda rng, n: np.repeat(
            rng.normal(size=(n // 2, 64)), 2, axis=0
        ),
    }


def _drawn_from(rows: Rows) -> Law:
    return lambda rng, n: rows[rng.choice(len(rows), size=min(n, len(rows)), replace=False)]


def _false_alarms(laws: dict[str, Law], repeats: int) -> list[Row]:
    """Return the share of false alarms a law, and over all of them."""
    drawn = {
        name: np.mean([_alarms(law, at) for at in range(repeats)], axis=0)  # (2,)
        for name, law in laws.items()
    }
    found, n = [], N_STUDIES * repeats
    for at, what in enumerate(("train–test", "predict")):
        each = {name: float(alarms[at]) for name, alarms in drawn.items()}
        found += [Row(f"A/A, {what}: {name}", (x,), at_most=_bound(n)) for name, x in each.items()]
        mean = float(np.mean(list(each.values())))
        found.append(Row(f"A/A, {what}, all laws", (mean,), at_most=_bound(n * len(each))))
    return found


def _bound(n: int) -> float:
    """Return what the share of n draws of a true 5 % exceeds once in 300 times."""
    return round(0.05 + 2.71 * (0.05 * 0.95 / n) ** 0.5, 4)


def _alarms(law: Law, repeat: int) -> tuple[float, float]:
    """Return the share of A/A splits, and of A/A predictions, in which anything is found."""
    from headstart.checks.shift import Reference, between_splits
    from headstart.data.dataset import Dataset
    from headstart.features.features import Features
    from headstart.task import Modality

    split = np.repeat(["train", "validation", "test"], [140, 40, 60])
    said = []
    for at in range(N_STUDIES):
        rng = np.random.default_rng([repeat, at])
        rows = np.asarray(law(rng, len(split)), dtype=np.float32)
        data = Dataset(Modality.VECTOR, rows, split=split)
        reference = Reference.of(Features.of(rows[:180]), seed=at)
        assert reference is not None
        shift = reference.judge(Features.of(rows[180:]), seed=at)
        said.append((bool(between_splits(data, Features.of(rows), at)), bool(shift.findings(str))))
    return tuple(np.mean(said, axis=0).tolist())


# Power -------------------------------------------------------------------------------------------


def _power(real: dict[str, Rows], repeats: int) -> list[Row]:
    """Return how often photos' model hears of drawings, and what share of those it flags."""
    try:
        photos, *others = (_pacs(domain) for domain in ("photo", "cartoon", "sketch"))
    except Skip:
        return []
    found = []
    for name, drawn in zip(("cartoon", "sketch"), others, strict=True):
        for n in (10, 50):
            heard, flagged = zip(
                *(_heard(photos, drawn, n, seed) for seed in range(20 * repeats)), strict=True
            )
            found += [
                Row(f"PACS photo → {n} {name}: heard", (float(np.mean(heard)),), at_least=0.9),
                Row(f"PACS photo → {n} {name}: rows flagged", (float(np.mean(flagged)),)),
            ]
    return [*found, *_mixed(real["ants and bees"], repeats)]


def _heard(known: Rows, new: Rows, n: int, seed: int) -> tuple[bool, float]:
    from headstart.checks.shift import Reference
    from headstart.features.features import Features

    reference = Reference.of(Features.of(known), seed=seed)
    assert reference is not None
    some = new[np.random.default_rng(seed).choice(len(new), size=n, replace=False)]
    shift = reference.judge(Features.of(some), seed=seed)
    return bool(shift.findings(str)), float(shift.unlike.mean())


def _mixed(insects: Rows, repeats: int) -> list[Row]:
    """One photo of PACS among 30 ants and bees: how often it, and how often another, is flagged."""
    from headstart.checks.shift import Reference
    from headstart.features.features import Features

    strangers, hits, others = _pacs("photo"), [], []
    for seed in range(50 * repeats):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(insects))
        reference = Reference.of(Features.of(insects[order[:300]]), seed=seed)
        assert reference is not None
        new = np.concatenate([insects[order[300:330]], strangers[[rng.integers(len(strangers))]]])
        unlike = reference.judge(Features.of(new), seed=seed).unlike
        hits.append(unlike[-1])
        others.append(unlike[:-1].any())
    return [
        Row("one stranger among 30 ants and bees: flagged", (float(np.mean(hits)),)),
        Row("… and a usual row flagged beside it", (float(np.mean(others)),)),
    ]


# Copies ------------------------------------------------------------------------------------------


def _copies() -> list[Row]:
    """Return which share of changed copies of training pictures is found, and of other rows."""
    root = data_folder("hymenoptera")
    train, test = (sorted((root / part).glob("*/*.jpg")) for part in ("train", "val"))
    copied = train[::5]
    found = []
    for name, change in CHANGES.items():
        copies = [_jpeg(change(Image.open(path).convert("RGB"))) for path in copied]
        share, other = _found([*train], [*test, *copies], len(copies))
        found.append(Row(f"copies found: {name}", (share,)))
        found.append(Row(f"other test rows called copies, beside: {name}", (other,), at_most=0.02))
    return found


def _found(train: Sequence[Any], test: Sequence[Any], n_copies: int) -> tuple[float, float]:
    from headstart.checks import duplicates as module
    from headstart.data.dataset import from_arrays
    from headstart.features.extract import extract
    from headstart.sources.catalog import resolve

    data = from_arrays([*train, *test], modality="image")
    data = data.with_split(["train"] * len(train) + ["test"] * len(test))
    features = extract(resolve(PICTURES), data)
    split = (data.split == "test").astype(np.int64)
    near = module._search(features, split, np.zeros_like(split), 0)
    alike = near.asked[near.across.similarity >= module.ALIKE]
    at = np.arange(len(data))
    is_copy = at >= len(data) - n_copies
    hit = np.isin(at, alike)
    return float(hit[is_copy].mean()), float(hit[(split == 1) & ~is_copy].mean())


def _cut(share: float) -> Callable[[Image.Image], Image.Image]:
    def cut(picture: Image.Image) -> Image.Image:
        w, h = picture.size
        return picture.crop((int(w * share), int(h * share), int(w * (1 - share)), h))

    return cut


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved anew": lambda picture: picture,
    "brighter": lambda picture: picture.point(lambda value: min(255, int(value * 1.15))),
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "cut by a few percent": _cut(0.025),
    "half the size": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
}


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=75)
    return file.getvalue()


# Rows --------------------------------------------------------------------------------------------


def _real() -> dict[str, Rows]:
    from sklearn.datasets import load_digits

    insects = sorted(data_folder("hymenoptera").glob("*/*/*.jpg"))
    return {
        "digits": load_digits().data.astype(np.float32),
        "ants and bees": _features(PICTURES, insects),
        "banking77": _features(TEXTS, _questions()),
    }


def _questions(n: int = 2000) -> list[str]:
    path = data_folder("banking77") / "train.csv"
    with path.open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    order = np.random.default_rng(0).permutation(len(texts))[:n]
    return [texts[i] for i in order]


def _pacs(domain: str) -> Rows:
    folders = sorted(path for path in (data_folder("pacs") / domain).iterdir() if path.is_dir())
    return _features(PICTURES, [p for folder in folders for p in sorted(folder.iterdir())[:25]])


def _features(uri: str, rows: Sequence[str | Path]) -> Rows:
    from headstart.data.dataset import from_arrays
    from headstart.features.extract import extract
    from headstart.sources.catalog import resolve

    return extract(resolve(uri), from_arrays([str(row) for row in rows])).array()


def _seconds() -> list[Row]:
    """Return what `examine` takes for 20,000 rows of 384 features."""
    from headstart.checks.examine import examine
    from headstart.data.dataset import Dataset
    from headstart.features.features import Features
    from headstart.task import Modality

    rows = np.random.default_rng(0).normal(size=(20_000, 384)).astype(np.float32)
    split = np.repeat(["train", "test"], [16_000, 4_000])
    data = Dataset(Modality.VECTOR, rows, split=split)
    start = time.perf_counter()
    examine(data, Features.of(rows))
    return [Row("examine, 20,000 rows of 384", (time.perf_counter() - start,), "s")]
