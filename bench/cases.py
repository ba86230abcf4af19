"""Real data as every side reads them: `train` and `test`, as folders of classes or as tables.

The rows are drawn once a seed and written to a folder, so that all sides learn from and are judged
by the same files. Sides that want validation rows take them from `train`.
"""

import csv
import gzip
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from bench.measure import Skip, data_folder

FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's dataset-fashion-mnist
CLOTHES = "shirt trousers pullover dress coat sandal blouse sneaker bag boot".split()
N_FASHION = 2000
T = TypeVar("T")
Pairs = list[tuple[str, str]]


def some(items: Sequence[T], labels: Sequence[str], a_class: int | None, seed: int) -> list[T]:
    """Return at most `a_class` items of each label, drawn by a seed; None: all.

    >>> some(["a1", "a2", "b1"], ["a", "a", "b"], 1, seed=0)[1]
    'b1'
    """
    if a_class is None:
        return list(items)
    order = np.random.default_rng(seed).permutation(len(items))
    taken: dict[str, list[int]] = {}
    for i in order:
        of_class = taken.setdefault(labels[i], [])
        if len(of_class) < a_class:
            of_class.append(int(i))
    return [items[i] for i in sorted(i for of_class in taken.values() for i in of_class)]


# Pictures ----------------------------------------------------------------------------------------


def pictures(
    name: str, folder: Path, a_class: int | None = None, n_test: int | None = None, seed: int = 0
) -> Path:
    """Write `train/CLASS/` and `test/CLASS/` below `folder`; return it.

    Parameters
    ----------
    name
        "hymenoptera", "pacs photo" or "fashion".
    a_class, n_test
        How many pictures a class, to train on and to be judged by; None: all.
    """
    for part, classes in PICTURES[name](seed).items():
        for label, paths in classes.items():
            to = folder / part / label
            to.mkdir(parents=True)
            most = a_class if part == "train" else n_test
            few = some(paths, [label] * len(paths), most, seed)
            for path in few:
                shutil.copy(path, to / f"{path.stem}{path.suffix}")
    return folder


Classes = dict[str, dict[str, list[Path]]]


def _hymenoptera(seed: int) -> Classes:
    root = data_folder("hymenoptera")
    return {part: _in_folders(root / at) for part, at in (("train", "train"), ("test", "val"))}


def _in_folders(root: Path) -> dict[str, list[Path]]:
    found = {each.name: sorted(each.glob("*.[jp][pn]g")) for each in sorted(root.iterdir())}
    return {label: paths for label, paths in found.items() if paths}


def _photos(seed: int) -> Classes:
    return _halved(_in_folders(data_folder("pacs") / "photo"), seed)


def _halved(classes: dict[str, list[Path]], seed: int) -> Classes:
    parts: Classes = {"train": {}, "test": {}}
    for label, paths in classes.items():
        order = np.random.default_rng(seed).permutation(len(paths))
        parts["train"][label] = [paths[i] for i in sorted(order[::2])]
        parts["test"][label] = [paths[i] for i in sorted(order[1::2])]
    return parts


def _fashion(seed: int) -> Classes:
    """Write 2,000 drawings to train on and 1,000 to be judged by, once; return their paths."""
    if not FASHION.is_dir():
        raise Skip(f"no {FASHION}: apt install dataset-fashion-mnist")
    from headstart.machine import home

    root = home() / "bench-fashion"
    if not (root / "whole").exists():
        _write_fashion(root)
    return {part: _in_folders(root / part) for part in ("train", "test")}


def _write_fashion(root: Path) -> None:
    from PIL import Image

    for part, stem, n in (("train", "train", N_FASHION), ("test", "t10k", N_FASHION // 2)):
        pixels = idx(FASHION / f"{stem}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
        labels = idx(FASHION / f"{stem}-labels-idx1-ubyte.gz", 8)
        for i in range(n):
            to = root / part / CLOTHES[labels[i]]
            to.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[i]).convert("RGB").save(to / f"{i}.png")
    (root / "whole").touch()


def idx(path: Path, header: int) -> np.ndarray:
    """Return the bytes of a file of Fashion-MNIST after its header, shape (n,)."""
    with gzip.open(path) as file:
        return np.frombuffer(file.read()[header:], dtype=np.uint8)


PICTURES: dict[str, Callable[[int], Classes]] = {
    "hymenoptera": _hymenoptera,
    "pacs photo": _photos,
    "fashion": _fashion,
}


def smaller(name: str, pixels: int, folder: Path) -> str:
    """Write a card of a source of the shelf that reads smaller pictures; return its URI."""
    from headstart.sources.packages import cards

    text = cards()[name].read_text(encoding="utf-8")
    lines = [
        f"{line.split()[0]} = {pixels}" if line.startswith(("height = ", "width = ")) else line
        for line in text.splitlines()
    ]
    card = folder / f"{name}-{pixels}.toml"
    card.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"file:{card}"


# Texts -------------------------------------------------------------------------------------------


def texts(
    name: str, folder: Path, a_class: int | None = None, n_test: int | None = None, seed: int = 0
) -> Path:
    """Write `train.csv` and `test.csv`, columns `text` and `label`; return the folder.

    Parameters
    ----------
    name
        "banking77" or "names".
    a_class, n_test
        How many texts a class, to learn from and to be judged by; None: all.
    """
    train, test = TEXTS[name]()
    folder.mkdir(parents=True, exist_ok=True)
    for part, pairs, most in (("train", train, a_class), ("test", test, n_test)):
        few = some(pairs, [label for _, label in pairs], most, seed)
        write_table(folder / f"{part}.csv", few)
    return folder


def write_table(path: Path, pairs: Iterable[tuple[str, str]]) -> None:
    """Write texts and labels as a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *pairs])


def labels_of(path: Path) -> list[str]:
    """Return the labels of a table, in order."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row["label"] for row in csv.DictReader(file)]


def _banking77() -> tuple[Pairs, Pairs]:
    root = data_folder("banking77")
    train, test = (
        _pairs(root / f"{part}.csv", "text", "category") for part in ("train", "test")
    )  # fmt: skip
    return train, test


def _names() -> tuple[Pairs, Pairs]:
    from headstart.cli.demo import names

    parts = {part: _pairs(names("en"), "text", "group", part) for part in ("train", "validation")}
    return parts["train"] + parts["validation"], _pairs(names("en"), "text", "group", "test")


def _pairs(path: Path, text: str, label: str, split: str | None = None) -> Pairs:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if split is None or row["split"] == split]
    return [(row[text], row[label]) for row in rows]


TEXTS: dict[str, Callable[[], tuple[Pairs, Pairs]]] = {"banking77": _banking77, "names": _names}
