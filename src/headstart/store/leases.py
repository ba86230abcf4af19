"""Leases: who does a job, so that two processes that share a study never do the same one.

A dead owner is known at once on its own machine: its process number is free, or belongs to a
process that began at another time, or the machine was started since. Elsewhere, and where a system
does not tell when a process began (macOS) and its number is in use, it is known by its silence: an
owner says every few seconds that it lives. No clock is compared with another clock, so that none
that jumps makes a living owner look dead.
"""

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from headstart.errors import HeadstartError
from headstart.machine import is_in_use, name_of, this_machine
from headstart.store.store import Lease, Store

#: Seconds between two signs of life; and how long there is none before an owner counts as dead.
BEAT_S, SILENT_S = 10.0, 60.0

#: Seconds of waiting for others after which a person should know.
LONG_S = 10.0

#: When a process began, where the system does not tell: its number is in use, maybe by another.
_IN_USE = "alive"

#: The owners in this process that are inside their `with` block. A lease of another one of this
#: process was not given back: the disk was full, or somebody stopped it.
_at_work: set[str] = set()


@dataclass(frozen=True)
class Owner:
    """A process on a machine that was started once, and one piece of work in it.

    >>> Owner.of(str(Owner.here())).pid == os.getpid()
    True
    """

    machine: str
    pid: int
    began: str
    name: str

    @classmethod
    def here(cls) -> "Owner":
        """Return a new owner in this process."""
        return cls(this_machine(), os.getpid(), _began(os.getpid()), secrets.token_hex(4))

    @classmethod
    def of(cls, text: str) -> "Owner":
        """Read back what `str` wrote."""
        machine, pid, began, name = text.rsplit(" ", 3)
        return cls(machine, int(pid), began, name)

    def __str__(self) -> str:
        return f"{self.machine} {self.pid} {self.began} {self.name}"

    def is_dead(self) -> bool:
        """Say whether the process, or its work, has ended; elsewhere, nobody here knows."""
        if self.machine != this_machine():
            return False
        if _began(self.pid) != self.began:
            return True
        return self.pid == os.getpid() and str(self) not in _at_work

    def is_known(self) -> bool:
        """Say whether it can be known here at once that it lives, or not."""
        return self.machine == this_machine() and self.began != _IN_USE

    def whom(self) -> str:
        """Return who it is, for people."""
        return f"process {self.pid} on {name_of(self.machine)}"


class Leases:
    """The jobs of a study that this process does; inside a `with` block others see that it lives.

    Parameters
    ----------
    store
        Where leases are kept.
    study
        What the jobs belong to.
    """

    def __init__(self, store: Store, study: str) -> None:
        self.store, self.study = store, study
        self.owner = str(Owner.here())
        self.other: Owner | None = None  # who had the last job that was not free
        self._held: set[str] = set()
        self._heard: dict[Lease, float] = {}
        self._ended = threading.Event()

    def __enter__(self) -> "Leases":
        _at_work.add(self.owner)
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give back what is still held: others may go on with it."""
        self._ended.set()
        try:
            if self._held:
                self.store.release(self.study, self.owner)
        finally:
            _at_work.discard(self.owner)

    def take(self, job: str) -> bool:
        """Take a job, if nobody who lives has it; say whether it is ours."""
        self._held.add(job)  # before it is: whoever is stopped in between gives it back
        held = self.store.claim(self.study, job, self.owner)
        if held is not None and self._is_dead(held):
            held = self.store.claim(self.study, job, self.owner, dead=held)
        if held is not None:
            self._held.discard(job)
        return held is None

    def give_back(self, job: str) -> None:
        """Let others have a job."""
        self.store.release(self.study, self.owner, job)
        self._held.discard(job)

    def _is_dead(self, held: Lease) -> bool:
        if _is_known_dead(held):
            return True
        owner = self.other = Owner.of(held.owner)
        since = self._heard.setdefault(held, time.monotonic())
        return not owner.is_known() and time.monotonic() - since > SILENT_S

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            with contextlib.suppress(HeadstartError):  # the next one may come through
                if self._held:
                    self.store.beat(self.study, self.owner)


def is_under_way(store: Store, study: str) -> bool:
    """Say whether somebody who is not known to be dead does a job of a study."""
    return any(not _is_known_dead(lease) for lease in store.held(study))


def _is_known_dead(lease: Lease) -> bool:
    try:
        return Owner.of(lease.owner).is_dead()
    except ValueError:
        return True  # it was damaged: nobody says any more that they live


def waits(tell: Callable[[], None]) -> Iterator[float]:
    """Yield the seconds to wait before looking again, short ones first; tell once it is long.

    >>> pauses = waits(lambda: print("long"))
    >>> [round(next(pauses), 2) for _ in range(11)]
    long
    [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 2.0, 2.0]
    """
    pause, waited = 0.05, 0.0
    while True:
        yield pause
        if waited < LONG_S <= waited + pause:
            tell()
        waited, pause = waited + pause, min(2.0, 2 * pause)


def _began(pid: int) -> str:
    """Return when a process began, in the kernel's own count; "" if there is none."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        state, *rest = status.rpartition(")")[2].split()
        return "" if state in "ZX" else rest[18]
    except OSError:
        is_told = Path("/proc/self/stat").exists()
        return "" if is_told or not is_in_use(pid) else _IN_USE
