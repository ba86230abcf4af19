"""Run the studies, print a table, keep the numbers.

    python -m bench.run [--full | --tiny] [--repeats N] [--more | --ours] [STUDY | STUDY/PART …]

A study is a file `study_NAME.py` with a function `study(repeats, …) -> Study`. What else it takes
is told by its `SIZES`: the arguments of each size it can be run in, quick (the default), full and
tiny. Without names all studies of that size are run; one without SIZES is long, and full alone.
A full study that takes hours has `PARTS` too, the arguments of each: they are run and kept one by
one. One that takes `known`, the facts of its first rounds, is kept after every round of its full
size; `--more` goes on where it was stopped. Another processor is told of beside its rounds: a
ratio is of one round. Other versions of libraries, or another number of cores, begin anew.
`--ours` runs our sides again on the draws of the rounds that are kept, where peers take hours and
have not changed; it is told that such a ratio is of two runs.
Results go to `bench/results/`, a file a study or part; `bench/RESULTS.md` is written anew from all
files there. A quick run never takes the place of a full one: it is kept in `bench/results/quick/`.
A tiny run is a rehearsal: it shows that every part runs, judges no target and keeps nothing.
"""

import argparse
import functools
import importlib
import inspect
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.measure import Row, Skip, Study, machine_facts

HERE = Path(__file__).parent
RESULTS = HERE / "results"
#: How often each side is run in a size.
REPEATS = {"tiny": 1, "quick": 3, "full": 5}


def names() -> list[str]:
    """Return the studies, in the order of their names."""
    return sorted(path.stem.removeprefix("study_") for path in HERE.glob("study_*.py"))


def named(study: str) -> ModuleType:
    """Return the file of a study."""
    return importlib.import_module(f"bench.study_{study}")


def sizes(study: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the sizes a study can be run in, and the arguments of each."""
    return getattr(named(study), "SIZES", {"full": {}})


def parts(study: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the parts that a study's full size is run in, and the arguments of each."""
    return getattr(named(study), "PARTS", {})


def in_parts(name: str, size: str) -> list[str]:
    """Return what is run of a study, each to be kept by itself; of a part nothing but that."""
    if size != "full" or "/" in name:
        return []
    return [f"{name}/{part}" for part in parts(name)]


@dataclass(frozen=True)
class Round:
    """One time that all sides of a study were run in turn.

    Parameters
    ----------
    date, commit
        When, and of what.
    seconds
        How long it took.
    processor
        What it ran on.
    n
        How many rounds it was: older results were kept in one piece; 0: our sides, run again.
    """

    date: str
    commit: str
    seconds: float
    processor: str
    n: int = 1

    @classmethod
    def now(cls, seconds: float, n: int = 1) -> "Round":
        """Return the round that has just ended."""
        processor = machine_facts()["processor"]
        return cls(time.strftime("%Y-%m-%d"), _commit(), seconds, processor, n)


def run(
    name: str, size: str, repeats: int | None = None, more: bool = False, ours: bool = False
) -> bool:
    """Run a study, or a part, print and keep what it found; False if it fell short or broke."""
    print(f"\n== {name} ({size})", flush=True)
    study, _, part = name.partition("/")
    n = repeats or usual(name, size)
    try:
        arguments = parts(study)[part] if part else sizes(study).get(size, {})
        work = named(study).study
        if size == "full" and "known" in inspect.signature(work).parameters:
            if ours:
                return _ours_again(name, functools.partial(work, **arguments))
            return _in_rounds(name, n, functools.partial(work, **arguments), more)
        return _once(name, size, n, functools.partial(work, n, **arguments))
    except Skip as reason:
        print(f"skipped: {reason}")
        return True
    except Exception as error:  # one broken study must not take the others' numbers with it
        print(f"FAILED: {type(error).__name__}: {error}")
        return False


def usual(name: str, size: str) -> int:
    """Return how often the sides of a study are run in a size, unless told."""
    most = getattr(named(name.partition("/")[0]), "MOST_REPEATS", REPEATS[size])
    return min(most, REPEATS[size])


def _in_rounds(name: str, n: int, work: Callable[..., Study], more: bool) -> bool:
    """Run the rounds that are missing, each kept as it ends: they take hours."""
    rounds, facts = _begun(name) if more else ([], None)
    there = sum(one.n for one in rounds)
    if there >= n:
        print(f"{there} rounds are kept; --repeats asks for more")
    reached = True
    for number in range(there, n):
        found, seconds = _timed(functools.partial(work, number + 1, known=facts))
        rounds.append(Round.now(seconds))
        facts = found.facts
        _keep(name, found, "full", n, rounds)
        reached = _is_reached(found)
    return reached


def _ours_again(name: str, work: Callable[..., Study]) -> bool:
    """Run our sides in the rounds that are kept; what the others came to stays."""
    rounds, facts = _begun(name)
    if facts is None:
        raise ValueError(f"no rounds of {name} are kept; run it without --ours")
    n = sum(one.n for one in rounds)
    found, seconds = _timed(functools.partial(work, n, known=_without_ours(facts)))
    _keep(name, found, "full", n, [*rounds, Round.now(seconds, n=0)])
    return _is_reached(found)


def _without_ours(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the others came to, of every case.

    >>> _without_ours({"data": {"ours": [1], "ours, frozen": [2], "theirs": [3]}})
    {'data': {'theirs': [3]}}
    """
    return {
        name: _without_ours(value) if isinstance(value, Mapping) else value
        for name, value in facts.items()
        if name.partition(",")[0] != "ours"
    }


def _begun(name: str) -> tuple[list[Round], Mapping[str, Any] | None]:
    """Return the rounds that are kept, and the facts of all; none where there is no result."""
    path = _path(name)
    if not path.exists():
        return [], None
    kept = json.loads(path.read_text(encoding="utf-8"))
    if not (kept["size"] == "full" and kept.get("rounds")):
        raise ValueError(f"{path.name} was not kept in rounds; run it anew, without --more")
    processor = {"processor": kept["machine"]["processor"]}
    if kept["machine"] != machine_facts() | processor:
        raise ValueError(f"{path.name} is of another machine, or of other versions of libraries")
    return [Round(**processor | one) for one in kept["rounds"]], kept["facts"]


def _once(name: str, size: str, repeats: int, work: Callable[[], Study]) -> bool:
    found, seconds = _timed(work)
    if size == "tiny":
        return True
    _keep(name, found, size, repeats, [Round.now(seconds)])
    return _is_reached(found)


def _timed(work: Callable[[], Study]) -> tuple[Study, float]:
    start = time.perf_counter()
    found = work()
    seconds = round(time.perf_counter() - start, 1)
    print("\n".join([found.title, *table(found), *(f"note: {note}" for note in found.notes)]))
    print(f"{seconds:.0f} s in all", flush=True)
    return found, seconds


def _is_reached(found: Study) -> bool:
    return all(row.is_reached is not False for row in found.rows)


def _commit() -> str:
    """Return the commit that is measured; empty outside a repository."""
    command = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


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


def _keep(name: str, found: Study, size: str, repeats: int, rounds: Sequence[Round]) -> None:
    words = [
        *([] if size == "quick" else [f"--{size}"]),
        *([] if repeats == usual(name, size) else [f"--repeats {repeats}"]),
        name,
    ]
    facts: dict[str, Any] = {
        **asdict(found),
        "size": size,
        "rounds": [asdict(one) for one in rounds],
        "command": " ".join(["python -m bench.run", *words]),
        "machine": machine_facts(),
    }
    path = _path(name)
    if size == "quick" and path.exists() and _of_size(path) == "full":
        path = RESULTS / "quick" / path.name
        print(f"kept in {path.relative_to(HERE)}: the full result stays")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written(facts) + "\n", encoding="utf-8")
    write_report()


def _of_size(path: Path) -> str:
    return str(json.loads(path.read_text(encoding="utf-8"))["size"])


def _path(name: str) -> Path:
    return RESULTS / f"{name.replace('/', '-')}.json"


def written(facts: Any) -> str:
    """Return facts as JSON, a list of numbers or truths in one line: thousands of rows are judged.

    >>> print(written({"right": [1, 0], "of": [{"s": 0.5}]}))
    {
     "right": [1, 0],
     "of": [
      {
       "s": 0.5
      }
     ]
    }
    """
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    value = r"\s*(?:true|false|-?[\d.]+(?:[eE][+-]?\d+)?)\s*"
    values = rf"\[{value}(?:,{value})*\]"
    return re.sub(values, lambda found: json.dumps(json.loads(found[0])), text)


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
        f"* `{facts['command']}` ({facts['size']}): {_when(facts['rounds'])}.",
        f"* {where}, {machine['memory_gb']} GB, {machine['system']}; {versions}.",
    ]


def _when(rounds: Sequence[Mapping[str, Any]]) -> str:
    """Return when, of which commit and for how long each round was run; on what, if it differs."""
    several = len({one.get("processor") for one in rounds}) > 1
    told = (
        f"{one['date']}{' of ' * bool(one['commit'])}{one['commit']}, {one['seconds']:g} s"
        f"{' on ' + one['processor'] if several else ''}"
        f"{'' if one.get('n', 1) else ' (our sides alone, again: ratios of times are of two runs)'}"
        for one in rounds
    )
    return "; ".join(told)


def main() -> int:
    """Read the command line; 0 if every target was reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    told = ", ".join(names())
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"{told}; or STUDY/PART")
    either = parser.add_mutually_exclusive_group()
    for other in ("full", "tiny"):
        either.add_argument(f"--{other}", dest="size", action="store_const", const=other)
    parser.add_argument("--repeats", type=int, help=f"instead of those of the size, {REPEATS}")
    told = "go on after the rounds of a full study that are kept"
    further = parser.add_mutually_exclusive_group()
    further.add_argument("--more", action="store_true", help=told)
    told = "run our sides again in the rounds of a full study that are kept"
    further.add_argument("--ours", action="store_true", help=told)
    options = parser.parse_args()
    size = options.size or "quick"
    known = {*names(), *(part for name in names() for part in in_parts(name, size))}
    if unknown := sorted(set(options.studies) - known):
        parser.error(f"no {size} study {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    asked = options.studies or [name for name in names() if size in sizes(name)]
    chosen = [part for name in asked for part in in_parts(name, size) or [name]]
    reached = [run(name, size, options.repeats, options.more, options.ours) for name in chosen]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
