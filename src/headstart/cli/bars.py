"""Bars: what a person sees of work under way, on stderr."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, Self

from headstart.cli.show import printable
from headstart.progress import listen

#: A terminal of fewer columns has no room for a long bar, the unit and the time gone.
WIDE = 90


class Bars:
    """Listens to progress: rich bars with the time left on stderr, or notes where no one looks.

    Parameters
    ----------
    quiet
        Draw nothing; notes are still printed.
    plans
        Print the plan of every fit; a study of many fits had better not.
    """

    def __init__(self, quiet: bool = False, plans: bool = True) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self.bars = Progress(
            *columns(console.width),
            console=console,
            transient=True,
            disable=quiet or not sys.stderr.isatty(),
        )
        self.plans = plans
        self.started: dict[Any, tuple[str, float]] = {}

    def __enter__(self) -> Self:
        """Begin to draw."""
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""
        self.bars.stop()

    def start(self, name: str, total: int | None, unit: str) -> Any:
        """Add a bar."""
        token = self.bars.add_task(name.lower(), total=total, unit=unit, last="")
        self.started[token] = (name, time.perf_counter())
        return token

    def advance(self, token: Any, n: int) -> None:
        """Move a bar."""
        self.bars.advance(token, n)

    def note(self, token: Any, text: str) -> None:
        """Print what a person should know; short news of a running bar stay on its line."""
        name, _ = self.started[token]
        if name == "plan" and not self.plans:
            return
        if name == "train":
            self.bars.update(token, last=printable(text))
        else:
            self.bars.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def finish(self, token: Any) -> None:
        """Take a bar away."""
        self.bars.remove_task(token)


@contextlib.contextmanager
def bars(quiet: bool = False, plans: bool = True) -> Iterator[None]:
    """Show progress while a verb works."""
    with Bars(quiet, plans) as listener, listen(listener):
        yield


def columns(width: int) -> list[Any]:
    """Return what stands on a bar's line: the time left always, the rest as there is room."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )  # fmt: skip
    from rich.table import Column

    is_wide = width >= WIDE
    left = max(1, width - (80 if is_wide else 42))  # for news: the others need so many
    more = [TextColumn("{task.fields[unit]}"), TimeElapsedColumn()] if is_wide else []
    return [
        SpinnerColumn(),
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=28 if is_wide else 8),
        MofNCompleteColumn(),
        *more,
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}", table_column=Column(no_wrap=True, max_width=left)),
    ]
