"""How long a person waits before anything happens: `headstart --help`, `import headstart`."""

import sys
from pathlib import Path

from bench.measure import Row, Study, headstart, process, scratch_folder

IMPORT = (
    "import time; start = time.perf_counter(); import headstart; print(time.perf_counter() - start)"
)


def study(repeats: int) -> Study:
    """Start fresh processes, five a repeat; the first of a kind only fills caches."""
    n = 5 * repeats
    with scratch_folder() as folder:
        helps = [headstart("--help", home=folder, cwd=folder).seconds for _ in range(n + 1)]
    imports = [_import_seconds() for _ in range(n + 1)]
    bare = [process([sys.executable, "-c", "pass"]).seconds for _ in range(n + 1)]
    return Study(
        "Seconds before anything happens.",
        (
            Row("`headstart --help`, whole process", _ms(helps), "ms", at_most=250),
            Row("`import headstart`, inside Python", _ms(imports), "ms", at_most=150),
            Row("an empty Python process", _ms(bare), "ms"),
        ),
    )


def _import_seconds() -> float:
    return float(process([sys.executable, "-c", IMPORT], cwd=Path.home()).output)


def _ms(seconds: list[float]) -> tuple[float, ...]:
    return tuple(1000 * value for value in seconds[1:])
