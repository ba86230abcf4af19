"""Stopping: Ctrl-C and SIGTERM wait for the next safe point, a few seconds at most.

Between two steps of a training everything that a checkpoint needs is consistent; within one it is
not. Work that has such points says so by `safe_points`; elsewhere a signal stops at once, as a
second one does.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: How long a safe point is waited for.
PATIENCE_S = 3.0


class Terminated(BaseException):
    """SIGTERM came."""


class _Asked:
    """The signal that is waiting, and how many pieces of work may make it wait."""

    number = 0
    n_waiting = 0


def listen() -> None:
    """Take the signals of this process; for the command line, never for a library."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _heard)
    signal.signal(signal.SIGALRM, _end)


@contextmanager
def safe_points() -> Iterator[None]:
    """Let a signal wait until the work inside calls `stop_if_asked`."""
    _Asked.n_waiting += 1
    try:
        yield
    finally:
        _Asked.n_waiting -= 1
        if _Asked.number:
            _end()


def is_asked() -> bool:
    """Say whether a signal waits for the next safe point."""
    return _Asked.number != 0


def _heard(number: int, _: FrameType | None) -> None:
    if not _Asked.n_waiting or _Asked.number:
        _Asked.number = number
        _end()
    _Asked.number = number
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)


def stop_if_asked() -> None:
    """End the work where a signal waits."""
    if _Asked.number:
        _end()


def _end(*_: object) -> None:
    number, _Asked.number = _Asked.number, 0
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
