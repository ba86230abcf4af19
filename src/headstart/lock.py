"""Lock: a file that one process at a time has, and that says which."""

import fcntl
import os
import time
from pathlib import Path
from typing import IO

from headstart.errors import Busy, ResourceError
from headstart.machine import is_in_use, name_of, this_machine


def own(path: Path) -> IO[str]:
    """Take the lock of a file, held until the handle is closed or this process dies.

    The kernel frees it, however the process ends. The file says who has it, for people.

    Raises
    ------
    Busy
        Where another has it; the error says who.
    ResourceError
        Where the file system has no locks.
    """
    handle = path.open("a+", encoding="utf-8", errors="replace")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        with handle:
            raise Busy(
                f"{path.parent} belongs to another run ({_owner_said_in(handle)}).\n"
                "Wait for it to end, stop it, or name another folder."
            ) from error
    except OSError as error:
        handle.close()
        raise ResourceError(
            f"{path.parent} cannot be locked ({error.strerror}): two runs could write there.\n"
            "Name a folder on a file system with locks, such as a disk of this machine."
        ) from error
    handle.truncate(0)
    handle.write(f"{os.getpid()} {this_machine()}")
    handle.flush()
    return handle


def _owner_said_in(handle: IO[str]) -> str:
    """Return who has a lock; the owner of a moment ago may not have written it yet."""
    for _ in range(100):
        handle.seek(0)
        pid, _, machine = handle.read().strip().partition(" ")  # older versions said no machine
        is_elsewhere = machine not in ("", this_machine())  # where nobody here can ask
        who = f"process {pid} on {name_of(machine or this_machine())}"
        if pid.isdecimal() and not is_elsewhere and is_in_use(int(pid)):
            return who
        time.sleep(0.01)
    return who if pid.isdecimal() and is_elsewhere else "process unknown"
