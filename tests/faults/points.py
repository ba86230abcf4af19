"""R2 and R8: an operation is killed, or fails, at every call that makes something last.

`strace` counts the calls of one kind and sends SIGKILL (or answers with an error) at the n-th. What
is there afterwards must be the old state or the new one, and the same operation must then succeed.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]

#: Calls after which something is on disk that was not, or is called otherwise.
CALLS = (
    "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "mkdir",
    "mkdirat", "unlink", "unlinkat", "rmdir", "ftruncate",
)  # fmt: skip


@dataclass
class Sweep:
    """What came of an operation at every point."""

    what: str
    n_points: int = 0
    n_old: int = 0
    n_new: int = 0
    wrong: list[str] = field(default_factory=list)


def store_at(folder):
    from headstart.store.store import open_store

    return open_store(f"sqlite:///{folder / 'store.sqlite'}")


# -- operations: what is there before, what is done, and which state that is --------------------


class Save:
    """A sealed folder takes the place of another."""

    def before(self, folder):
        self._write(folder, 1)

    def do(self, folder):
        self._write(folder, 2)

    def state(self, folder):
        from headstart.io import read_safetensors, verify_folder

        verify_folder(folder / "model")
        value = int(read_safetensors(folder / "model" / "head.safetensors")[0]["w"][0])
        assert (folder / "model" / "README.md").read_text() == f"model {value}\n"
        return {1: "old", 2: "new"}[value]

    def _write(self, folder, value):
        from headstart.io import sealed_folder, write_safetensors, write_text

        with sealed_folder(folder / "model") as draft:
            write_safetensors(draft / "head.safetensors", {"w": np.full(8, value, np.float32)})
            write_text(draft / "README.md", f"model {value}\n")


class Finish:
    """An outcome is recorded, and its lease given back."""

    def before(self, folder):
        with store_at(folder) as store:
            store.put_outcome("study", "first", {"score": 0.25})

    def do(self, folder):
        with store_at(folder) as store:
            store.claim("study", "second", "me")
            store.put_outcome("study", "second", {"score": 0.5})
            store.release("study", "me")

    def state(self, folder):
        with store_at(folder) as store:
            store.check()
            found = store.outcomes("study")
        assert found.pop("first") == {"score": 0.25}
        assert found in ({}, {"second": {"score": 0.5}}), found
        return "new" if found else "old"


class Shard:
    """A shard of features is written and listed."""

    def before(self, folder):
        store_at(folder).close()

    def do(self, folder):
        from headstart.features.cache import Block, FeatureCache

        with store_at(folder) as store:
            cache = FeatureCache(store, folder / "features")
            cache.add("key", Block.of(np.arange(8, dtype=np.float32).reshape(4, 2)), ROWS)

    def state(self, folder):
        from headstart.features.cache import FeatureCache

        with store_at(folder) as store:
            store.check()
            cache = FeatureCache(store, folder / "features")
            found = cache.find("key", ROWS)
            if (found < 0).all():
                return "old"
            values = [cache.open(shard).values[at].tolist() for shard, at in found.tolist()]
            assert values == [[0, 1], [2, 3], [4, 5], [6, 7]]
            return "new"


ROWS = np.array([b"a" * 16, b"b" * 16, b"c" * 16, b"d" * 16], dtype="V16")


class Migration:
    """A store of the first version is opened."""

    def before(self, folder):
        from tests.test_store import FIRST_TABLES

        with sqlite3.connect(folder / "store.sqlite") as link:
            link.executescript(FIRST_TABLES)
        link.close()

    def do(self, folder):
        store_at(folder).close()

    def state(self, folder):
        with sqlite3.connect(folder / "store.sqlite") as link:
            names = {name for (name,) in link.execute("SELECT name FROM sqlite_master")}
            columns = {row[1] for row in link.execute("PRAGMA table_info(shards)")}
        link.close()
        marks = {"schema" not in names, "alembic_version" in names, "leases" in names,
                 "seal" in columns, "outcomes" in names}  # fmt: skip
        assert len(marks) == 1, f"a schema between two: {names}"
        with store_at(folder) as store:  # opens, whichever it is
            (found,) = store.find_rows("k", np.array([b"\1" * 16], dtype="V16")).tolist()
            assert found == [7, 0]
            assert store.shard(7) is not None and store.get_graph("g") is not None
        return "new" if marks == {True} else "old"


class Checkpoint:
    """A checkpoint is written after two others, of which one goes."""

    def before(self, folder):
        for step in (1, 2):
            self._write(folder, step)

    def do(self, folder):
        self._write(folder, 3)

    def state(self, folder):
        from headstart.runs import Run

        with Run(folder / "run") as run:
            arrays, facts = run.latest("train")
        assert arrays["w"].tolist() == [facts["step"]] * 4
        return {2: "old", 3: "new"}[facts["step"]]

    def _write(self, folder, step):
        from headstart.runs import Run

        with Run(folder / "run") as run:
            run.checkpoint("train", {"w": np.full(4, step, np.float32)}, {"step": step})


class Collect:
    """Garbage is collected: an orphan goes, what is named stays."""

    def before(self, folder):
        os.environ["HEADSTART_HOME"] = str(folder)
        Shard().do(folder)
        orphan = folder / "features" / "key" / "orphan.npy"
        orphan.write_bytes(b"x")

    def do(self, folder):
        from headstart.cli.cache import collect

        os.environ["HEADSTART_HOME"] = str(folder)
        orphan = folder / "features" / "key" / "orphan.npy"
        if orphan.exists():
            os.utime(orphan, (0, 0))  # copying the folder read it
        assert not collect().left

    def state(self, folder):
        assert Shard().state(folder) == "new"
        return "old" if (folder / "features" / "key" / "orphan.npy").exists() else "new"


OPERATIONS = {
    "save": Save, "finish": Finish, "shard": Shard, "migration": Migration,
    "checkpoint": Checkpoint, "collect": Collect,
}  # fmt: skip


# -- every point ----------------------------------------------------------------------------------


def swept(name, folder, fault="signal=SIGKILL", calls=CALLS, every=1):
    """Let an operation meet a fault at every call; return how often the old or new state was there.

    Parameters
    ----------
    name
        Of the operation.
    folder
        An empty folder to work in.
    fault
        As strace has it: "signal=SIGKILL", "error=EIO", "error=ENOSPC".
    calls
        The kinds of calls.
    every
        Only every so many-th point.
    """
    operation, found = OPERATIONS[name](), Sweep(f"{name}, {fault}")
    start = folder / "start"
    start.mkdir(parents=True)
    operation.before(start)
    counts = _counts(name, _copied(start, folder / "count"), calls)
    points = [(call, n) for call in calls for n in range(1, counts.get(call, 0) + 1)]

    def met(point):
        """Let a process of its own meet the fault in a folder of its own."""
        (call, n), here = point, _copied(start, folder / f"{point[0]}{point[1]}")
        inject = f"inject={call}:{fault}:when={n}"
        return call, n, here, _strace(name, here, ["-e", f"trace={call}", "-e", inject])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ended = list(pool.map(met, points[::every]))
    for call, n, here, done in ended:
        found.n_points += 1
        try:
            assert fault != "signal=SIGKILL" or done.returncode in (-9, 137), "it was not killed"
            assert b"Traceback" not in done.stderr or fault != "signal=SIGKILL", done.stderr[-500:]
            state = operation.state(here)
            if fault != "signal=SIGKILL" and done.returncode == 0:
                assert state == "new", "it said that it was done"
            found.n_old += state == "old"
            found.n_new += state == "new"
            operation.do(here)
            assert operation.state(here) == "new", "the second try came to another state"
        except Exception as error:
            found.wrong.append(f"{call} {n}: {type(error).__name__}: {error}")
        shutil.rmtree(here)
    return found


def _counts(name, folder, calls):
    log = folder.with_suffix(".log")
    done = _strace(name, folder, ["-e", f"trace={','.join(calls)}"], log)
    assert done.returncode == 0, done.stderr.decode()
    names = [line.split("(")[0].split()[-1] for line in log.read_text().splitlines() if "(" in line]
    return {call: names.count(call) for call in calls}


def _strace(name, folder, options, log=Path(os.devnull)):
    env = {
        **os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
    }  # fmt: skip
    return subprocess.run(
        ["strace", "-f", "-qq", "-o", log, *options,
         sys.executable, "-m", "tests.faults.points", name, folder],
        capture_output=True, env=env, cwd=ROOT, timeout=120,
    )  # fmt: skip


def _copied(start, folder):
    return Path(shutil.copytree(start, folder))


class Everything:
    """A model, a shard and an outcome, of some size: what a full disk is tried with."""

    def before(self, folder):
        Save().before(folder)
        Finish().before(folder)

    def do(self, folder):
        from headstart.io import sealed_folder, write_npy

        Shard().do(folder)
        with sealed_folder(folder / "large") as draft:
            write_npy(draft / "large.npy", np.zeros(150_000, np.uint8))
        Save().do(folder)
        Finish().do(folder)

    def state(self, folder):
        states = {Shard().state(folder), Save().state(folder), Finish().state(folder)}
        return "new" if states == {"new"} and (folder / "large").exists() else "old"


OPERATIONS["everything"] = Everything


def main():
    """Do an operation as the command line would: an error of ours is said, with its exit code."""
    from headstart.errors import HeadstartError

    try:
        OPERATIONS[sys.argv[1]]().do(Path(sys.argv[2]))
    except HeadstartError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
