"""What every study uses: rows of results, processes timed whole, sides run in turn."""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parent.parent
#: Where other processes find the studies and this checkout of Headstart.
PATHS = os.pathsep.join(
    [str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
)
T = TypeVar("T")


class Skip(Exception):
    """A study that cannot run here; the message says why."""


@dataclass(frozen=True)
class Row:
    """One measured quantity.

    Parameters
    ----------
    what
        What was measured, for people.
    values
        One number a repeat.
    unit
        Of the values.
    at_least, at_most
        What the median must reach; None where nothing is asked.
    """

    what: str
    values: tuple[float, ...]
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def median(self) -> float:
        """The middle of the values.

        >>> Row("a", (3.0, 1.0, 2.0)).median
        2.0
        """
        return statistics.median(self.values)

    @property
    def target(self) -> str:
        """What is asked, for people.

        >>> Row("a", (1.0,), at_least=10).target
        '≥ 10'
        """
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"

    @property
    def is_reached(self) -> bool | None:
        """Whether the median reaches what is asked; None where nothing is.

        >>> Row("a", (1.0,), at_least=10).is_reached, Row("a", (1.0,)).is_reached
        (False, None)
        """
        if self.at_least is not None:
            return self.median >= self.at_least
        return None if self.at_most is None else self.median <= self.at_most


@dataclass(frozen=True)
class Study:
    """What one study found.

    Parameters
    ----------
    title
        One sentence.
    rows
        What was measured.
    notes
        What a reader must know to believe it.
    facts
        Everything else, as plain JSON values.
    """

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def ratios(what: str, above: Sequence[float], below: Sequence[float], **target: float) -> Row:
    """Return above / below, repeat by repeat: both were run next to each other.

    >>> ratios("speedup", [10.0, 12.0], [1.0, 2.0], at_least=5).values
    (10.0, 6.0)
    """
    return Row(what, tuple(a / b for a, b in zip(above, below, strict=True)), "×", **target)


def rounds(
    sides_of: Callable[[int], Mapping[str, Callable[[], T]]],
    n: int,
    known: Mapping[str, Sequence[T]] | None = None,
) -> dict[str, list[T]]:
    """Run the sides of each round in turn, in the reverse order every second: drift favors none.

    Parameters
    ----------
    sides_of
        The number of a round, from 0 → its sides.
    n
        How many rounds there are to be.
    known
        What sides came to in the first of them, run before: that is not run again.

    Examples
    --------
    >>> rounds(lambda number: {"a": lambda: number, "b": lambda: -number}, 3, {"a": [7], "b": [8]})
    {'a': [7, 1, 2], 'b': [8, -1, -2]}
    >>> rounds(lambda number: {"a": lambda: number, "b": lambda: -number}, 1, {"b": [8]})
    {'a': [0], 'b': [8]}
    """
    found = {name: list(runs) for name, runs in (known or {}).items()}
    named: dict[str, None] = {}
    for number in range(n):
        sides = sides_of(number)
        named |= dict.fromkeys(sides)
        for name in sides if number % 2 == 0 else reversed(sides):
            runs = found.setdefault(name, [])
            if len(runs) <= number:
                runs.append(sides[name]())
    return {name: found[name] for name in named | dict.fromkeys(found)}


def alternate(sides: Mapping[str, Callable[[], T]], repeats: int) -> dict[str, list[T]]:
    """Run the same sides in every round.

    >>> order = []
    >>> _ = alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    >>> "".join(order)
    'abbaab'
    """
    return rounds(lambda _: sides, repeats)


@dataclass(frozen=True)
class Process:
    """A process that ran to its end: wall seconds from start to exit, and what it printed."""

    seconds: float
    output: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.output)


def process(
    arguments: Sequence[str | Path], cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> Process:
    """Run a command, time it whole, and fail loudly if it fails."""
    start = time.perf_counter()
    done = subprocess.run(
        [str(a) for a in arguments],
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": PATHS, **(env or {})},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        command = " ".join(map(str, arguments))
        raise RuntimeError(f"{command}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    return Process(seconds, done.stdout)


def itself(study: str, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Process:
    """Run a study's own module as a process of its own; `main` of the module gets the arguments."""
    return process([sys.executable, "-m", f"bench.{study}", *arguments], env=env)


def headstart(*arguments: str | Path, home: Path, cwd: Path) -> Process:
    """Run the installed `headstart` command with its own home."""
    command = Path(sys.executable).parent / "headstart"
    if not command.exists():
        raise Skip("the `headstart` command is not installed beside this Python")
    return process([command, *arguments], cwd=cwd, env={"HEADSTART_HOME": str(home)})


def data_folder(name: str) -> Path:
    """Return a folder of real data, or skip the study."""
    root = Path(os.environ.get("HEADSTART_BENCH_DATA", ROOT.parent / "shared" / "data"))
    if not (root / name).is_dir():
        raise Skip(f"no folder {name!r} in {root}: set HEADSTART_BENCH_DATA to where it is")
    return root / name


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield an empty folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as folder:
        yield Path(folder)


@contextmanager
def own_home() -> Iterator[Path]:
    """Give this process an empty HEADSTART_HOME for a while, and yield it."""
    before = os.environ.get("HEADSTART_HOME")
    with scratch_folder() as home:
        os.environ["HEADSTART_HOME"] = str(home)
        try:
            yield home
        finally:
            if before is None:
                del os.environ["HEADSTART_HOME"]
            else:
                os.environ["HEADSTART_HOME"] = before


def seconds_of(work: Callable[[], object]) -> float:
    """Return the wall seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def machine_facts() -> dict[str, Any]:
    """Return what the numbers depend on."""
    from headstart.machine import has_bfloat16, n_threads, versions

    return {
        "processor": f"{_processor()}{'' if has_bfloat16() else ' without bfloat16'}",
        "cores": os.cpu_count(),
        "threads": n_threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "versions": versions(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
