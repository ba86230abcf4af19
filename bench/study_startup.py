"""What a person waits and pays for: start-up, a first prediction, what lies on the disk."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import ROOT, Process, Row, Study, headstart, process, scratch_folder

SIZES = {"tiny": {"a_repeat": 1}, "quick": {"a_repeat": 3}, "full": {}}
SOURCES = {"picture": "pkg:efficientnet-lite0", "text": "pkg:all-minilm-l6-v2"}
N_ROWS = 16

IMPORT = (
    "import time; start = time.perf_counter(); import headstart; print(time.perf_counter() - start)"
)

#: Runs the command line inside this process, then tells what it had to import.
IMPORTED = """
import contextlib, io, sys
from headstart.cli.app import main
with contextlib.redirect_stdout(io.StringIO()):
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
print(int("torch" in sys.modules))
"""


def study(repeats: int, a_repeat: int = 5) -> Study:
    """Start fresh processes, `a_repeat` each; the first of a kind only fills caches."""
    n = a_repeat * repeats
    with scratch_folder() as folder:
        helps = [headstart("--help", home=folder, cwd=folder).seconds for _ in range(n + 1)]
        imports = [_import_seconds() for _ in range(n + 1)]
        bare = [process([sys.executable, "-c", "pass"]).seconds for _ in range(n + 1)]
        rows = (
            Row("`headstart --help`, whole process", _ms(helps), "ms", at_most=250),
            Row("`import headstart`, inside Python", _ms(imports), "ms", at_most=150),
            Row("an empty Python process", _ms(bare), "ms"),
            *(row for kind in SOURCES for row in _first_prediction(kind, folder, n)),
            *_installed(),
        )
        wheel, note = _wheel(folder)
    notes = (
        "a first prediction: one process that loads a saved model and predicts one row",
        "dependencies: all that `pip install headstart` brings, bytes of their files, without the "
        "packages of weights",
        *note,
    )
    return Study("What there is to wait and to pay for.", (*rows, *wheel), notes)


def _import_seconds() -> float:
    return float(process([sys.executable, "-c", IMPORT], cwd=Path.home()).output)


def _ms(seconds: list[float]) -> tuple[float, ...]:
    return tuple(1000 * value for value in seconds[1:])


def _first_prediction(kind: str, folder: Path, n: int) -> Iterator[Row]:
    """Yield the seconds of one prediction by a model from the disk, and whether torch came in."""
    run, row = folder / kind, _write(kind, folder / f"{kind}s")
    options = ("--source", SOURCES[kind], "--finetune", "no", "--json")
    table = (row.parent / "rows.csv",) if kind == "text" else (row.parent.parent,)
    headstart("fit", *table, "--out", run, *options, home=folder / "home", cwd=folder)
    asked = "card lost" if kind == "text" else row
    # An empty home: nothing may be left from the fit that a stranger would not have.
    asks: list[Any] = ["predict", run, asked, "--json", "--quiet"]
    done = [headstart(*asks, home=folder / "other", cwd=folder) for _ in range(n + 1)]
    yield Row(f"a first prediction, {kind}", tuple(d.seconds for d in done[1:]), "s")
    here = {"HEADSTART_HOME": str(folder / "other")}
    told: Process = process([sys.executable, "-c", IMPORTED, *asks], cwd=folder, env=here)
    yield Row(f"torch imported by it, {kind}", (float(told.output),), at_most=0)
    yield Row(f"saved model, {kind}", (_megabytes(run.rglob("*")),), "MB")


def _write(kind: str, folder: Path) -> Path:
    """Write a few rows of two classes; return one of them."""
    if kind == "text":
        lines = [f"{word} {i},{word}" for i in range(N_ROWS) for word in ("card", "transfer")]
        folder.mkdir()
        (folder / "rows.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
        return folder / "rows.csv"
    from PIL import Image

    random = np.random.default_rng(0)
    for i in range(2 * N_ROWS):
        at = folder / ("dark", "light")[i % 2] / f"{i}.jpg"
        at.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 128, (256, 256, 3), dtype=np.uint8) + 127 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(at)
    return at


# What lies on the disk ---------------------------------------------------------------------------


def _installed() -> Iterator[Row]:
    spec = importlib.util.find_spec("headstart")
    folder = Path(str(spec and spec.origin)).parent
    own = _megabytes(p for p in folder.rglob("*") if "__pycache__" not in p.parts)
    needed = {name: _size(name) for name in _dependencies("headstart")}
    yield Row("installed: headstart itself", (own,), "MB")
    yield Row("installed: its dependencies", (sum(needed.values()),), "MB")
    yield Row("of which torch", (needed.get("torch", 0.0),), "MB")


def _size(distribution: str) -> float:
    files = importlib.metadata.files(distribution) or []
    return _megabytes(Path(str(file.locate())) for file in files)


def _megabytes(paths: Any) -> float:
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def _dependencies(distribution: str) -> set[str]:
    """Return the names of all that a distribution asks for, without extras, near and far."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: set[str] = set()
    waiting = [distribution]
    while waiting:
        for line in importlib.metadata.requires(waiting.pop()) or []:
            asked = Requirement(line)
            name = canonicalize_name(asked.name)
            if asked.marker is None or asked.marker.evaluate({"extra": ""}):
                waiting += [name] if name not in found else []
                found.add(name)
    return found


def _wheel(folder: Path) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Build the wheel; its size, or a note why it cannot be built here."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT]
    try:
        process(command)
    except (RuntimeError, subprocess.SubprocessError) as error:
        return (), (f"no wheel: {str(error).strip().splitlines()[-1]}",)
    return (Row("wheel", (_megabytes(folder.glob("headstart-*.whl")),), "MB"),), ()
