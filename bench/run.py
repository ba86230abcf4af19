"""Run the studies, print a table, keep the numbers.

    python -m bench.run [--full] [--repeats N] [STUDY …]

Without names every study is run, 3 repeats each; with --full 5, and the studies that take hours. A
study is a file `study_NAME.py` with a function `study(repeats) -> Study`. Results go to
`bench/results/NAME.json`; `bench/RESULTS.md` is written anew from all files there.
"""

import argparse
import importlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.measure import Row, Skip, Study, machine_facts

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def names() -> list[str]:
    """Return the studies, in the order of their names."""
    return sorted(path.stem.removeprefix("study_") for path in HERE.glob("study_*.py"))


def usual(is_full: bool) -> list[str]:
    """Return the studies that are run unasked; those of hours only where all is to be run."""
    modules = {name: importlib.import_module(f"bench.study_{name}") for name in names()}
    return [name for name, one in modules.items() if is_full or not hasattr(one, "FULL_ONLY")]


def run(name: str, repeats: int) -> bool:
    """Run one study, print and keep what it found; False if it fell short or broke."""
    print(f"\n== {name}")
    start = time.perf_counter()
    try:
        found = importlib.import_module(f"bench.study_{name}").study(repeats)
    except Skip as reason:
        print(f"skipped: {reason}")
        return True
    except Exception as error:  # one broken study must not take the others' numbers with it
        print(f"FAILED: {type(error).__name__}: {error}")
        return False
    print("\n".join([found.title, *table(found), *(f"note: {note}" for note in found.notes)]))
    _keep(name, found, time.perf_counter() - start)
    return all(row.is_reached is not False for row in found.rows)


def table(found: Study) -> list[str]:
    """Return the rows as a Markdown table."""
    head = ["| measured | median | spread | n | target | reached |", "|---|---|---|---|---|---|"]
    return head + [_line(row) for row in found.rows]


def _line(row: Row) -> str:
    reached = {None: "", True: "yes", False: "**no**"}[row.is_reached]
    spread = f"{_number(min(row.values))} – {_number(max(row.values))}"
    median = f"{_number(row.median)} {row.unit}".strip()
    return f"| {row.what} | {median} | {spread} | {len(row.values)} | {row.target} | {reached} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _keep(name: str, found: Study, seconds: float) -> None:
    facts: dict[str, Any] = {
        **asdict(found),
        "seconds": round(seconds, 1),
        "date": time.strftime("%Y-%m-%d"),
        "command": "python -m bench.run " + " ".join(sys.argv[1:]),
        "machine": machine_facts(),
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")


def write_report() -> None:
    """Write RESULTS.md from every result that was kept."""
    lines = ["# What was measured", "", "Written by `python -m bench.run`; see NOTES.md for how."]
    for path in sorted(RESULTS.glob("*.json")):
        lines += _section(path.stem, json.loads(path.read_text(encoding="utf-8")))
    (HERE / "RESULTS.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _section(name: str, facts: dict[str, Any]) -> list[str]:
    rows = tuple(Row(**(row | {"values": tuple(row["values"])})) for row in facts["rows"])
    machine = facts["machine"]
    versions = ", ".join(f"{package} {v}" for package, v in machine["versions"].items())
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads"
    return [
        *("", f"## {name}", "", facts["title"], ""),
        *table(Study(facts["title"], rows)),
        "",
        *(f"* {note}" for note in facts["notes"]),
        f"* `{facts['command'].strip()}`, {facts['date']}, {facts['seconds']} s in all.",
        f"* {where}, {machine['memory_gb']} GB, {machine['system']}; {versions}.",
    ]


def main() -> int:
    """Read the command line; 0 if every target was reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=", ".join(names()))
    parser.add_argument("--full", action="store_true", help="5 repeats, and studies of hours")
    parser.add_argument("--repeats", type=int, help="overrides both")
    options = parser.parse_args()
    unknown = set(options.studies) - set(names())
    if unknown:
        parser.error(f"no study {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    repeats = options.repeats or (5 if options.full else 3)
    reached = [run(name, repeats) for name in options.studies or usual(options.full)]
    if RESULTS.exists():
        write_report()
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
