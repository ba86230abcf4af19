"""Progress: events from long work to whoever listens; silent unless someone does."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol


class Listener(Protocol):
    """Who hears of long work: a progress bar, a log, a page."""

    def start(self, name: str, total: int | None, unit: str) -> Any:
        """Return a token that names this piece of work in the calls below."""

    def advance(self, token: Any, n: int) -> None:
        """Say that `n` more units are done."""

    def note(self, token: Any, text: str) -> None:
        """Say something a person should know."""

    def finish(self, token: Any) -> None:
        """Say that the work has ended, well or not."""


class Silent:
    """The listener that is there when nobody listens."""

    def start(self, name: str, total: int | None, unit: str) -> None:
        """Hear nothing."""

    def advance(self, token: Any, n: int) -> None:
        """Hear nothing."""

    def note(self, token: Any, text: str) -> None:
        """Hear nothing."""

    def finish(self, token: Any) -> None:
        """Hear nothing."""


_SILENT = Silent()
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


class Progress:
    """One piece of work under way; it may be handed to other threads."""

    def __init__(self, listener: Listener, token: Any) -> None:
        self._listener = listener
        self._token = token

    def advance(self, n: int = 1) -> None:
        """Say that `n` more units are done."""
        self._listener.advance(self._token, n)

    def note(self, text: str) -> None:
        """Say something a person should know, in one line."""
        self._listener.note(self._token, text)


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """Send the events of the work inside to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def track(name: str, total: int | None = None, unit: str = "rows") -> Iterator[Progress]:
    """Tell the listener of a piece of work.

    Parameters
    ----------
    name
        What is being done, for people: "extracting features".
    total
        How many units there are; None where nobody knows.
    unit
        What is counted: "rows", "steps".

    Examples
    --------
    >>> with track("counting", total=2) as progress:
    ...     progress.advance()
    ...     progress.note("half done")
    """
    listener = _listener.get() or _SILENT
    token = listener.start(name, total, unit)
    try:
        yield Progress(listener, token)
    finally:
        listener.finish(token)
