"""`headstart fit` against the well-known tutorial recipe, on its own ants and bees.

The peer is the tutorial's "network as fixed feature extractor" in plain torch, torchvision and
timm: 25 epochs, batches of 4, SGD with rate 0.001 and momentum 0.9, a tenth of it every 7 epochs,
random resized crop and flip, every picture decoded every epoch, the weights with the best
validation accuracy kept. Only the network differs: EfficientNet-Lite0 (ImageNet) on both sides.
"""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.against import peer
from bench.measure import (
    Process,
    Row,
    Study,
    alternate,
    data_folder,
    headstart,
    ratios,
    scratch_folder,
)

SIZES = {"tiny": {"epochs": 1}, "full": {}}
SOURCE = "pkg:efficientnet-lite0"


def study(repeats: int, epochs: int = 25) -> Study:
    """Run the peer, Headstart cold and Headstart with only the compiled trunk kept, in turn."""
    data = data_folder("hymenoptera")
    with scratch_folder() as folder:
        seeds = iter(range(repeats))
        sides: dict[str, Callable[[], Any]] = {
            "peer": lambda: peer("loop_pictures", data, "--seed", next(seeds), "--epochs", epochs),
            "headstart": lambda: _cold_then_warm(data, folder),
        }
        found = alternate(sides, repeats)
        return _study(found["peer"], found["headstart"], sorted((data / "val").glob("*/*.jpg")))


def _cold_then_warm(data: Path, folder: Path) -> dict[str, Any]:
    """Fit in an empty home; again with all features dropped; again with nothing dropped."""
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    cold = _fit(data, home, folder)
    drop_features(home)
    warm, again = _fit(data, home, folder), _fit(data, home, folder)
    if warm.json["n_computed"] != cold.json["n_computed"]:
        raise RuntimeError("the features were not dropped: the warm run did not compute all rows")
    right = _right(Path(folder, cold.json["run"]), sorted((data / "val").glob("*/*.jpg")))
    return {"cold": cold, "warm": warm, "again": again, "right": right}


def _fit(data: Path, home: Path, cwd: Path) -> Process:
    shutil.rmtree(cwd / "run", ignore_errors=True)
    options = ("--source", SOURCE, "--finetune", "no", "--out", "run", "--json")
    return headstart("fit", data, *options, home=home, cwd=cwd)


def drop_features(home: Path) -> None:
    """Forget every cached feature; keep compiled trunks and unpacked weights."""
    for path in home.iterdir():
        if path.name not in ("graphs", "sources") and not path.name.startswith("store.sqlite"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with closing(sqlite3.connect(home / "store.sqlite")) as store, store:
        store.execute("DELETE FROM feature_rows")
        store.execute("DELETE FROM shards")


def _right(run: Path, pictures: list[Path]) -> list[bool]:
    import headstart as hs

    predicted = hs.load(run).predict([str(path) for path in pictures])
    return [str(label) == path.parent.name for label, path in zip(predicted, pictures, strict=True)]


def _study(peers: list[dict[str, Any]], ours: list[dict[str, Any]], pictures: list[Path]) -> Study:
    from headstart.metrics.interval import paired_interval

    n = len(pictures)
    theirs = [one["right"] for one in peers]
    gains = [paired_interval(o["right"], t) for o, t in zip(ours, theirs, strict=True)]
    seconds = {k: [o[k].seconds for o in ours] for k in ("cold", "warm", "again")}
    slow = [one["seconds"] for one in peers]
    rights, computed = tuple(float(sum(o["right"])) for o in ours), _computed(ours)
    return Study(
        f"Ants and bees, {SOURCE}, frozen, process start to exit.",
        (
            Row("peer", tuple(slow), "s"),
            Row("headstart, cold cache", tuple(seconds["cold"]), "s"),
            Row("headstart, compiled trunk kept", tuple(seconds["warm"]), "s"),
            Row("headstart, features kept too", tuple(seconds["again"]), "s"),
            ratios("peer / cold", slow, seconds["cold"], at_least=10),
            ratios("peer / trunk kept", slow, seconds["warm"], at_least=25),
            Row(f"headstart, right of {n}", rights, at_least=144),
            Row(f"peer, right of {n}", tuple(float(sum(t)) for t in theirs)),
            Row("upper end of headstart − peer", tuple(g.high for g in gains), at_least=0),
            Row("rows computed, trunk kept", computed["warm"]),
            Row("rows computed, features kept too", computed["again"], at_most=0),
        ),
        notes=(
            "headstart − peer, accuracy on the same pictures: " + "; ".join(map(str, gains)),
            "the peer's accuracy is its best epoch on these very pictures: it looked",
        ),
        facts={"peer": [one["curve"] for one in peers], "fits": [o["cold"].json for o in ours]},
    )


def _computed(ours: list[dict[str, Any]]) -> dict[str, tuple[float, ...]]:
    return {k: tuple(float(o[k].json["n_computed"]) for o in ours) for k in ("warm", "again")}
