"""Drafts: what is being written, under another name, and what a dead writer left of it."""

import hashlib
import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

from headstart.machine import is_in_use, this_machine

#: What is being written is called `.NAME.MACHINE-PID-TOKEN.tmp`; older versions had no MACHINE.
_DRAFT = re.compile(r"\..+\.(?:(?P<machine>[0-9a-f]{8})-)?(?P<pid>[0-9]{1,9})-[0-9a-f]{8}\.tmp")
#: Seconds without a change after which what another machine was writing counts as left behind.
QUIET_S = 86_400.0


def temporary(path: Path) -> Path:
    """Return where to write what is to go to a path; the name tells `sweep` whose it is."""
    writer = f"{_here()}-{os.getpid()}"
    return path.with_name(f".{path.name[:80]}.{writer}-{secrets.token_hex(4)}.tmp")


def _here() -> str:
    return hashlib.sha256(this_machine().encode()).hexdigest()[:8]


def sweep(folder: Path) -> None:
    """Remove what writers that no longer live have left half-written in `folder`.

    Which processes live is known on this machine alone. What another one was writing counts as
    left behind once nothing of it has changed for a day.
    """
    for draft in folder.glob(".*.tmp"):
        if _is_left(draft):
            # Moved at once: whoever writes there after all must not go on with a part of it.
            aside = temporary(draft)
            with suppress(OSError):  # another sweep had it
                draft.rename(aside)
                remove(aside)


def is_draft(path: Path) -> bool:
    """Say whether a file or folder, or one above it, is being written: `sweep` sees to it.

    >>> is_draft(Path("a/.x.npy.1234abcd-17-0123abcd.tmp")), is_draft(Path("a/x.npy"))
    (True, False)
    """
    return any(_DRAFT.fullmatch(part) for part in path.parts)


def _is_left(draft: Path) -> bool:
    match = _DRAFT.fullmatch(draft.name)
    if match is None:
        return False
    if match["machine"] == _here():
        return not is_in_use(int(match["pid"]))
    try:
        changed = max(path.lstat().st_mtime for path in (draft, *draft.rglob("*")))
    except OSError:  # it has just been finished
        return False
    return time.time() - changed > QUIET_S


def remove(path: Path) -> None:
    """Remove a file or a folder; one that is gone already, or cannot go, is left."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
