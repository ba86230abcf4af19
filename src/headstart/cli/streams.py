"""Streams: results on stdout and notes on stderr, also where nobody takes them."""

import io
import os
import sys
from io import TextIOWrapper
from typing import Any


class Notes(io.FileIO):
    """What stderr writes to: where that fails, notes go nowhere and the work goes on."""

    def write(self, data: Any) -> int:
        """Write bytes; return how many."""
        try:
            n_written = super().write(data)
        except OSError:  # the reader is gone, its disk is full, its terminal is closed
            lead_nowhere(self.fileno())
            return len(data)
        return len(data) if n_written is None else n_written  # a reader that is slow misses some


def ready() -> None:
    """Make stdout and stderr fit to be written to, whatever they lead to.

    A closed one leads nowhere; where a terminal knows few letters, the others are named; of stderr
    no write fails, so that none who writes there (a bar, a warning, a library) ends the work.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Never closed: whatever is opened next would get its number, and be written to.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, os.fdopen(nowhere, "w", closefd=False))
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stderr, TextIOWrapper):
        told = Notes(sys.stderr.fileno(), "w", closefd=False)
        sys.stderr = TextIOWrapper(
            io.BufferedWriter(told),
            encoding=sys.stderr.encoding,
            errors=sys.stderr.errors,
            line_buffering=True,
        )


def lead_nowhere(number: int) -> None:
    """Let a stream that cannot be written to lead nowhere: Python would try again at its end.

    Parameters
    ----------
    number
        Its file descriptor.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
