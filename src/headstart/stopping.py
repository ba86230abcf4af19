"""Stopping: Ctrl-C and SIGTERM wait for the next safe point, a few seconds at most.

Between two steps of a training everything that a checkpoint needs is consistent; within one it is
not. Work that has such points says so by `safe_points`; elsewhere a signal stops at once, as a
second one does.

Nor, whatever the signal, is a module left between the moment it is made and the moment it is
filled: some native ones (those built with nanobind, as onnx is) end the process with a
segmentation fault where they are taken down unfilled.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: How long a safe point is waited for.
PATIENCE_S = 3.0
#: How soon an import is looked at again; what it does by itself takes milliseconds.
IMPORT_S = 0.01


class Terminated(BaseException):
    """SIGTERM came."""


class _Asked:
    """The signal that is waiting, until when, and how many pieces of work may make it wait."""

    number = 0
    until = 0.0
    is_urgent = False  # it came twice: safe points are not waited for
    n_waiting = 0


def listen() -> None:
    """Take the signals of this process; for the command line, never for a library."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _heard)
    signal.signal(signal.SIGALRM, _look)


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


def _heard(number: int, frame: FrameType | None) -> None:
    _Asked.is_urgent = _Asked.number != 0
    if not _Asked.is_urgent:
        _Asked.until = time.monotonic() + PATIENCE_S
    _Asked.number = number
    _look(number, frame)


def _look(_: int, frame: FrameType | None) -> None:
    """End the work where nothing need be waited for any longer; else look again later."""
    if not _Asked.number:  # an alarm that was under way when the safe point came
        return
    left = _Asked.until - time.monotonic()
    if left > 0 and _is_loading(frame):
        signal.setitimer(signal.ITIMER_REAL, min(IMPORT_S, left))
    elif left > 0 and _Asked.n_waiting and not _Asked.is_urgent:
        signal.setitimer(signal.ITIMER_REAL, left)
    else:
        _end()


def _is_loading(frame: FrameType | None) -> bool:
    """Say whether a module is made and not filled: Python is at work on it, or native code is."""
    is_innermost = True  # what Python itself does, until the code of a module is met
    while frame is not None:
        code = frame.f_code
        is_innermost = is_innermost and code.co_name != "<module>"
        is_native = code.co_qualname.startswith("ExtensionFileLoader.")  # it may import others
        is_importing = code.co_filename.startswith("<frozen importlib")
        if is_importing and (is_innermost or is_native):
            return True
        frame = frame.f_back
    return False


def stop_if_asked() -> None:
    """End the work where a signal waits."""
    if _Asked.number:
        _end()


def _end() -> None:
    number, _Asked.number = _Asked.number, 0
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
