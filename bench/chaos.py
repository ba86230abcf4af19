"""The long tier of the fault tests: `make chaos`, or

    python -m bench.chaos [--share 0.1] [TRIAL …]
    python -m bench.chaos fuzz/t.jsonl

Each trial runs the machinery of `tests/faults` with the counts of a release; `--share` takes a part
of them. What was run, with its counts, is kept in `bench/reliability/TRIAL.json`, and
`bench/RELIABILITY.md` is written anew from all files there. One parser alone may be tried again
after a fault was mended; its line takes the place of the old one. Exit 1 where anything was lost.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.measure import Skip, machine_facts

HERE = Path(__file__).parent
RESULTS = HERE / "reliability"


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Parameters
    ----------
    what
        What was done.
    n
        How often.
    unit
        Of what: kills, points, flips.
    wrong
        How often something was lost, doubled, or silently wrong.
    told
        What a reader should know: the first failures, or how it came out.
    """

    what: str
    n: int
    unit: str
    wrong: int
    told: str = ""


Trial = Callable[..., list[Line]]


def some(n: int, share: float) -> int:
    """Return a share of a count, at least one."""
    return max(1, round(n * share))


def kills(share: float, folder: Path) -> list[Line]:
    """R1: kill -9 at a random time of fit (probe and fine-tune), prove, rank, extract."""
    from tests.faults.killer import killed, material
    from tests.faults.server import Server

    def one(name: str, job: Any) -> Line:
        with Server(HEADSTART_THREADS="1") as server:
            found = killed(server, job, some(400, share), folder / name, seed=int(time.time()))
        told = f"{found.n_rounds} runs ended, each with the bytes of one that was not killed"
        return _line(job.what, found.n_kills, "kills", found.lost, told)

    jobs = material(folder / "material")
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # a core each
        return list(pool.map(one, jobs, jobs.values()))


def stops(share: float, folder: Path) -> list[Line]:
    """R4: SIGTERM and Ctrl-C at a random time of a fine-tuning: exit 143 and 130, same bytes."""
    from tests.faults.killer import killed, material
    from tests.faults.server import Server

    ways = ((signal.SIGTERM, 143), (signal.SIGINT, 130))
    with Server() as server:
        job = material(folder / "material")["finetune"]
        found = killed(server, job, some(200, share), folder / "stops", ways=ways)
    return [_line(job.what, found.n_kills, "signals", found.lost, f"{found.n_rounds} runs ended")]


def points(share: float, folder: Path) -> list[Line]:
    """R2: a kill at every call that makes something last; R18: in a migration too."""
    return _swept("signal=SIGKILL", share, folder, "killed at")


def errors(share: float, folder: Path) -> list[Line]:
    """R8: EIO and ENOSPC at every write, fsync and rename."""
    lines = []
    for error in ("EIO", "ENOSPC"):
        lines += _swept(f"error={error}", share, folder / error, f"{error} at")
    return lines


def _swept(fault: str, share: float, folder: Path, what: str) -> list[Line]:
    from tests.faults.points import OPERATIONS, swept

    lines = []
    for name in (name for name in OPERATIONS if name != "everything"):
        found = swept(name, folder / name, fault=fault, every=max(1, round(1 / share)))
        told = f"old state {found.n_old}, new state {found.n_new}"
        lines.append(
            _line(f"{name}: {what} every call", found.n_points, "points", found.wrong, told)
        )
    return lines


def crowds(share: float, folder: Path) -> list[Line]:
    """R5, R6, R15, R16: many writers, owners and claims at once, some killed."""
    from tests.faults import crowd

    written = crowd.writers(folder / "writers", some(1000, share))
    owned = crowd.owners(folder / "owners", some(100, share))
    claimed = crowd.claims(folder / "claims", 8, some(500, share))
    again = crowd.reclaims(folder / "reclaims", some(500, share))
    return [
        _line("writers of one store killed", written.n_kills, "kills", written.wrong,
              f"{written.n:,} facts they had been told are written, all there"),
        _line("races for a run folder", owned.n, "races", owned.wrong,
              f"{owned.n_kills} of the owners killed"),
        _line("claims of jobs by 8 processes", claimed.n, "claims", claimed.wrong),
        _line("doers of jobs killed", again.n_kills, "kills", again.wrong,
              f"{again.n:,} jobs, each done"),
    ]  # fmt: skip


def full(share: float, folder: Path) -> list[Line]:
    """R7: a disk that is full at every level, and has room again."""
    from tests.faults.full import filled, limited, may_mount

    step = max(1, round(1 / share))
    if not may_mount():
        found = limited("everything", range(1_000, 300_000, 4_000 * step), folder)
    else:
        found = filled("everything", range(64 << 10, 1 << 20, (8 << 10) * step), folder)
    told = f"{found.n_refused} refused with path and bytes, the others had room"
    return [_line(found.what, found.n_levels, "levels", found.wrong, told)]


def damage(share: float, folder: Path) -> list[Line]:
    """R10, R11: flipped bits, cuts, zeros and tails in every kind of file."""
    import numpy as np

    from headstart.transfer.transfer import Transfer
    from tests.faults.damage import CUTS, FLIPS, damaged, kinds

    rows = np.random.default_rng(0).normal(size=(60, 4))
    model = Transfer().fit(rows, (rows[:, 0] > 0).astype(int)).save(folder / "model")
    lines = []
    for name, kind in kinds(model).items():
        for what, ways in (("bit flips", FLIPS), ("cuts, zeros, tails", CUTS)):
            found = damaged(name, kind, ways, some(1000, share), folder / f"{name} {what}")
            told = ", ".join(f"{answer} {n}" for answer, n in sorted(found.found.items()))
            lines.append(_line(f"{name}: {what}", found.n, "files", found.wrong, told))
    return lines


def mutants(share: float, folder: Path) -> list[Line]:
    """R12: damaged pictures and tables."""
    from tests.faults.mutants import counted, objects, pictures, tables

    folder.mkdir(parents=True, exist_ok=True)
    found = [pictures(some(5000, share)), tables(some(5000, share), folder)]
    found.append(objects(some(100_000, share), folder))
    found.append(counted(folder / "counts", some(500, share), some(500, share)))
    return [
        _line(one.what, one.n, "inputs", one.wrong, f"{one.n_read:,} read, {one.n_named:,} named")
        for one in found
    ]


def training(share: float, folder: Path) -> list[Line]:
    """R13, R14, R21: losses that are not finite, memory that runs out, the same seed again."""
    from tests.faults.training import broken, same, scarce, starved

    found = [
        broken(some(200, share)),
        scarce(some(50, share)),
        starved(some(50, share), folder / "starved"),
        same(some(20, share), folder),
    ]
    return [
        _line(one.what, one.n, "runs", one.wrong,
              ", ".join(f"{name} {value:g}" for name, value in one.told.items()))
        for one in found
    ]  # fmt: skip


def fuzz(share: float, folder: Path, only: str = "") -> list[Line]:
    """S3, S20: changed files of every format at its parser, 10 minutes each."""
    from tests.faults.fuzz import fuzzed
    from tests.faults.guided import guided, is_there

    if is_there():
        return [
            _fuzzed(one, f", chosen by coverage: {first} edges of the code at first, {last} then")
            for one, first, last in guided(folder, 600 * share, only)
        ]
    if only:
        raise Skip(f"{only} alone is for guided changes: install bench/requirements-fuzz.txt.")
    found = fuzzed(folder, sys.maxsize, seed=int(time.time()), seconds=600 * share)
    return [_fuzzed(one, ", changed blindly: no atheris") for one in found]


def _fuzzed(one: Any, how: str) -> Line:
    told = f"{one.n_read:,} read, {one.n_named:,} refused{how}"
    return _line(one.what, one.n, "files", one.wrong, told)


#: The rivals, by what `bench/rivals.py` calls them.
RIVALS = {
    "trainer": "Hugging Face Trainer, resume_from_checkpoint=True",
    "lightning": 'Lightning, ckpt_path="last"',
    "headstart": "Headstart, the same command",
}


def rivals(share: float, folder: Path) -> list[Line]:
    """The same killer at Hugging Face's Trainer, Lightning and Headstart: who could not go on?"""
    from tests.faults.server import Server

    python = os.environ.get("HEADSTART_RIVALS_PYTHON", sys.executable)
    if not _has_rivals(python):
        raise Skip(
            f"{python} lacks accelerate or lightning, and one side alone is no comparison. Install "
            "bench/requirements-rivals.txt and name its Python in HEADSTART_RIVALS_PYTHON."
        )
    with Server("bench.rivals", python) as server:
        return [_rival(server, name, some(200, share), folder / name) for name in RIVALS]


def _has_rivals(python: str) -> bool:
    code = "import sys; from importlib.util import find_spec; "
    code += "sys.exit(not all(map(find_spec, ('accelerate', 'lightning'))))"
    return not subprocess.run([python, "-c", code], capture_output=True, check=False).returncode


def _rival(server: Any, name: str, n_kills: int, folder: Path) -> Line:
    chance, n, failed, differs, ends = random.Random(name), 0, [], 0, 0
    (folder / "whole").mkdir(parents=True)
    began = time.perf_counter()
    child = server.run(name, [folder / "whole" / "run"], folder, folder / "whole")
    assert child.wait() == 0, child.said()
    seconds = time.perf_counter() - began
    expected = (folder / "whole" / "run" / "done.txt").read_text(encoding="ascii")
    at = folder / "killed"
    while n < n_kills:
        at.mkdir(exist_ok=True)
        child = server.run(name, [at / "run"], folder, at)
        if child.kill_after(chance.uniform(0, seconds)):
            child.wait()
            n += 1
            continue
        if child.wait():
            failed.append(child.said().strip().splitlines()[-1][:300])
        else:
            ends += 1
            differs += (at / "run" / "done.txt").read_text(encoding="ascii") != expected
        shutil.rmtree(at)  # by hand, where it failed: then it begins anew
    told = f"{ends} runs ended, {differs} of them with other weights than without a kill"
    reasons = "; ".join(f"{reason} ({k})" for reason, k in Counter(failed).most_common(2))
    return Line(RIVALS[name], n, "kills", len(failed), f"{told}. {reasons}".strip())


TRIALS: dict[str, Trial] = {
    "kills": kills, "stops": stops, "points": points, "errors": errors, "crowds": crowds,
    "full": full, "damage": damage, "mutants": mutants, "training": training, "fuzz": fuzz,
    "rivals": rivals,
}  # fmt: skip


def _line(what: str, n: int, unit: str, wrong: list[str], told: str = "") -> Line:
    return Line(what, n, unit, len(wrong), "; ".join([told, *wrong[:3]]).strip("; "))


# -- what is kept -----------------------------------------------------------------------------


def run(asked: str, share: float) -> bool:
    """Run a trial, print its table, keep it; say whether nothing went wrong.

    What was kept of a trial that cannot run here stays as it is.
    """
    name, _, only = asked.partition("/")  # a trial, or one line of it
    print(f"\n== {name}: {(TRIALS[name].__doc__ or '').splitlines()[0]}", flush=True)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="headstart-chaos-", dir=_fast()) as folder:
        os.environ["HEADSTART_HOME"] = str(Path(folder) / "home")
        try:
            lines = TRIALS[name](share, Path(folder) / name, *([only] if only else []))
        except Skip as reason:
            print(f"left out: {reason}", flush=True)
            return True
    print("\n".join(table(lines)), flush=True)
    facts = (
        _beside_kept(name, lines)
        if only
        else {
            "title": (TRIALS[name].__doc__ or "").splitlines()[0],
            "lines": [asdict(line) for line in lines],
            "share": share,
            "seconds": round(time.perf_counter() - began, 1),
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine_facts(),
        }
    )
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    return not any(line.wrong for line in lines if line.what not in RIVALS.values())


def _beside_kept(name: str, lines: list[Line]) -> dict[str, Any]:
    """Return what is kept of a trial, with some lines in place of the old ones."""
    kept: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    new = {line.what: asdict(line) for line in lines}
    for line in new.values():
        line["told"] += f"; tried again {time.strftime('%Y-%m-%d')}, once mended"
    return kept | {"lines": [new.get(line["what"], line) for line in kept["lines"]]}


def _fast() -> str | None:
    # In memory where that can be: what is asked is what a killed process leaves, not the disk.
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def table(lines: list[Line]) -> list[str]:
    """Return the lines as a Markdown table."""
    head = [
        "| what | n | lost or wrong | at 95 % at most | how it came out |",
        "|---|---|---|---|---|",
    ]
    return head + [
        f"| {one.what} | {one.n:,} {one.unit} | {one.wrong or '0'} | {bound(one)} | {one.told} |"
        for one in lines
    ]


def bound(line: Line) -> str:
    """Return the largest rate of failure that the count leaves likely; 3/n where none was seen.

    >>> bound(Line("a", 1000, "kills", 0)), bound(Line("a", 10, "kills", 1))
    ('0.3 %', '')
    """
    return "" if line.wrong or not line.n else f"{min(100.0, 300 / line.n):.2g} %"


def write_report() -> None:
    """Write RELIABILITY.md from every trial that was kept."""
    page = [(HERE / "reliability.head.md").read_text(encoding="utf-8").rstrip()]
    order = [*TRIALS, *sorted(path.stem for path in RESULTS.glob("*.json"))]
    for name in dict.fromkeys(order):
        path = RESULTS / f"{name}.json"
        if not path.exists():
            page.append(f"\n## {name}\n\nNot run yet.")
            continue
        facts = json.loads(path.read_text(encoding="utf-8"))
        machine = facts["machine"]
        page += [
            f"\n## {name}\n\n{facts['title']}\n",
            *table([Line(**line) for line in facts["lines"]]),
            f"\n`python -m bench.chaos --share {facts['share']:g} {name}`, {facts['date']}, "
            f"{facts['seconds']:,.0f} s on {machine['processor']}, {machine['cores']} cores, "
            f"{machine['threads']} threads.",
        ]
    (HERE / "RELIABILITY.md").write_text("\n".join(page) + "\n", encoding="utf-8")


def main() -> int:
    """Read the command line; 0 if nothing was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=", ".join(TRIALS))
    parser.add_argument("--share", type=float, default=1.0, help="of the counts of a release")
    parser.add_argument("--report", action="store_true", help="only write RELIABILITY.md anew")
    options = parser.parse_args()
    unknown = {one for one in options.trials if one not in TRIALS and one[:5] != "fuzz/"}
    if unknown:
        parser.error(f"no trial {', '.join(sorted(unknown))}; there are {', '.join(TRIALS)}")
    names = [] if options.report else options.trials or list(TRIALS)
    is_fine = [run(name, options.share) for name in names]
    write_report()
    return 0 if all(is_fine) else 1


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
    os.environ.setdefault("HEADSTART_THREADS", "2")
    sys.exit(main())
