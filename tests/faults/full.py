"""R7: a disk that is full, at every level: nothing is lost, and it goes on when there is room.

A tmpfs of a size where this may be mounted; elsewhere a limit on the size of a file, which fails in
the middle of a write just as a full disk does.
"""

import os
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.points import OPERATIONS, ROOT


@dataclass
class Full:
    """What came of an operation at every fill level."""

    what: str
    n_levels: int = 0
    n_refused: int = 0
    wrong: list[str] = field(default_factory=list)


def may_mount():
    """Whether a tmpfs can be mounted here."""
    if os.geteuid() or shutil.which("mount") is None:
        return False
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return done.returncode == 0


@contextmanager
def tmpfs(folder, n_bytes):
    """A file system of so many bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={n_bytes}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def enlarge(folder, n_bytes):
    """Give a file system more room."""
    subprocess.run(["mount", "-o", f"remount,size={n_bytes}", folder], check=True)


def limited(name, levels, folder):
    """Do an operation where no file may grow beyond each of some sizes; then without a limit."""
    operation, found = OPERATIONS[name](), Full(f"{name}, limited files")
    start = folder / "start"
    start.mkdir(parents=True)
    operation.before(start)
    for level in levels:
        here = Path(shutil.copytree(start, folder / f"at{level}"))
        done = _run(name, here, lambda level=level: _limit(level))
        _judge(found, operation, here, done, f"{level} bytes")
        shutil.rmtree(here)
    return found


def filled(name, levels, folder):
    """Do an operation on a file system of each of some sizes; then give it more room."""
    operation, found = OPERATIONS[name](), Full(f"{name}, full disk")
    start = folder / "start"
    start.mkdir(parents=True)
    operation.before(start)
    for level in levels:
        with tmpfs(folder / "disk", level) as disk:
            try:
                here = Path(shutil.copytree(start, disk / "at"))
            except (OSError, shutil.Error):
                continue  # not even what was there before fits
            done = _run(name, here)
            try:
                enlarge(disk, 64 << 20)
                _judge(found, operation, here, done, f"{level} bytes")
            except Exception as error:
                found.wrong.append(f"{level} bytes: {type(error).__name__}: {error}")
    return found


def _judge(found, operation, here, done, level):
    found.n_levels += 1
    said = done.stderr.decode(errors="replace")
    if done.returncode == 0:
        if operation.state(here) != "new":
            found.wrong.append(f"{level}: it said that it was done")
        return
    found.n_refused += 1
    if done.returncode != 5 or "needed" not in said or str(here) not in said:
        found.wrong.append(f"{level}: exit {done.returncode}: {said[-400:]}")
    try:
        operation.state(here)
        operation.do(here)
        if operation.state(here) != "new":
            found.wrong.append(f"{level}: it did not go on")
    except Exception as error:
        found.wrong.append(f"{level}: afterwards {type(error).__name__}: {error}")


def _run(name, folder, before=None):
    env = {
        **os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "tests.faults.points", name, folder],
        capture_output=True, env=env, cwd=ROOT, timeout=120, preexec_fn=before,
    )  # fmt: skip


def _limit(n_bytes):
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
