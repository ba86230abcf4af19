"""What it costs that nothing is lost: the main job as it is, and without its durable path.

Off, in the bench alone: no fsync, no write-ahead log that waits, no checkpoint, no hash of what is
written or read, no seal on a fact. Both sides are whole processes of `headstart fit` on the ants
and bees, with the compiled trunk kept and features dropped. Each has a home of its own: facts that
one side sealed are damaged to the other, which would compile again.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measure import Row, Study, alternate, data_folder, itself, ratios, scratch_folder
from bench.study_tutorial import drop_features

SIZES = {"tiny": {"finetune": ("no",)}, "full": {}}
SOURCE = "pkg:efficientnet-lite0"
#: The most that it may cost: wall time as a share of that without it.
TARGET = 1.03


def study(repeats: int, finetune: tuple[str, ...] = ("no", "only:last:25%")) -> Study:
    """Fit with and without the durable path, in turn, for each way of fine-tuning."""
    data, rows = data_folder("hymenoptera"), []
    with scratch_folder() as folder:
        for asked in finetune:
            sides: dict[str, Callable[[], float]] = {
                side: lambda side=side, asked=asked: _fit(side, data, folder, asked)
                for side in ("on", "off")
            }
            for side in sides.values():
                side()  # compiles the trunks
            found = alternate(sides, repeats)
            rows += [
                Row(f"fit --finetune {asked}, as it is", tuple(found["on"]), "s"),
                Row(f"fit --finetune {asked}, durable path off", tuple(found["off"]), "s"),
                ratios(f"--finetune {asked}: with / without", found["on"], found["off"],
                       at_most=TARGET),
            ]  # fmt: skip
    return Study(
        "What it costs that nothing is lost: fsync, hashes, seals, checkpoints.",
        tuple(rows),
        ("Off: no fsync, synchronous=OFF, no checkpoint, no hash of files, no seal.",),
    )


def _fit(side: str, data: Path, folder: Path, finetune: str) -> float:
    """Return the wall seconds of one fit in a process of its own."""
    home, run = folder / side / "home", folder / side / "run"
    shutil.rmtree(run, ignore_errors=True)
    if (home / "features").exists():
        drop_features(home)
    done = itself("study_durable", side, data, run, finetune, env={"HEADSTART_HOME": str(home)})
    return done.seconds


def switch_off() -> None:
    """Take the durable path out of this process."""
    from headstart import io, runs
    from headstart.features import cache, compile
    from headstart.sources import weights
    from headstart.store import schema, store

    modules: tuple[Any, ...] = (io, runs, store, schema, cache, compile, weights)
    unhashed = {"sha256_file": lambda path: "0" * 64, "verify_folder": lambda path: None}
    for module in modules:
        for name, stand_in in unhashed.items():
            if hasattr(module, name):
                setattr(module, name, stand_in)
    os.fsync = lambda handle: None  # type: ignore[assignment]
    runs.Run.checkpoint = lambda *_, **__: None  # type: ignore[assignment, method-assign]
    runs.Run.latest = lambda *_, **__: None  # type: ignore[assignment, method-assign]
    weights.verify = lambda source: None  # type: ignore[assignment]
    cache.is_intact = lambda folder, entry: True  # type: ignore[assignment]
    compile._is_intact = lambda path, sha256: True
    store._seal = lambda *_: "0"
    store._shard_seal = lambda *_: "0"  # type: ignore[assignment]
    _never_waits()


def _never_waits() -> None:
    import sqlalchemy as sa

    @sa.event.listens_for(sa.Engine, "connect")
    def relax(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")


def main(side: str, data: str, run: str, finetune: str) -> None:
    """Fit as the command line does, with the durable path or without."""
    from headstart.cli.app import main as command

    if side == "off":
        switch_off()
    sys.argv = ["headstart", "fit", data, "--source", SOURCE, "--finetune", finetune, "-q",
                "--out", run]  # fmt: skip
    command()


if __name__ == "__main__":
    main(*sys.argv[1:])
