"""A ranking as a person reads it: what to choose, what it costs, and what else was computed."""

import shlex
from collections.abc import Callable, Sequence
from typing import Any

from headstart.cli.show import out, table

#: Scores that train no head: its name in the record, the column, how it is written.
SCORES: tuple[tuple[str, str, str], ...] = (
    ("logme", "LogME", ".3f"),
    ("h_score", "H-score", ".2f"),
    ("transrate", "TransRate", ".2f"),
    ("neighbors", "5-NN", ".3f"),
    ("linear_mse", "linear MSE", ".3g"),
    ("leep", "LEEP", ".2f"),
    ("nce", "NCE", ".2f"),
)

#: What is said where the best score is that of a source's lower stages; a shell skips it.
WHOLE = "  # all of it, not only up to its best boundary; --source auto ranks whole sources"


def ranking(found: Any, data: Sequence[str]) -> None:
    """Print the sources, the one to start from first.

    Parameters
    ----------
    found
        The ranking.
    data
        What was ranked on, and the options that say what is in it, as a person typed them.
    """
    _measured(found)
    out("")
    _computed(found)
    out("")
    for one in found.left_out:
        out(f"left out   {one.uri}: {one.reason}")
    for note in found.notes:
        out(f"note       {note}")
    whole = "" if found.rows[0].boundary is None else WHOLE
    words = ["headstart", "fit", *data, "--source", found.best.uri]
    out(f"next       {shlex.join(words)}{whole}")


def _measured(found: Any) -> None:
    """Print what was measured, and what a source costs."""
    is_tuned = any(row.finetuned is not None for row in found.rows)
    columns: dict[str, Callable[[Any], str]] = {
        "source": lambda row: row.source.uri,
        f"{found.measure}, 95 %": lambda row: format(row.score, ".3f"),
        "difference": _difference,
        "boundary": lambda row: "top" if row.boundary is None else str(row.boundary),
        "latency": lambda row: f"{row.latency_ms:.1f} ms",
        "memory": lambda row: f"{row.memory_bytes / 1e6:.0f} MB",
        "parameters": lambda row: f"{row.source.n_parameters / 1e6:.1f} M",
        "license": lambda row: row.source.license.partition(" (")[0],
        "trained on": lambda row: row.source.trained_on,
        "distance": lambda row: "" if row.distance is None else f"{row.distance:.2f}",
    }
    if is_tuned:
        columns["fine-tuned"] = lambda row: _or_blank(row.finetuned, ".3f")
    table(
        tuple(columns),
        [[say(row) for say in columns.values()] for row in found.rows],
    )


def _difference(row: Any) -> str:
    if tuple(row.difference) == (0, 0, 0):  # to itself; of two equal ones the interval is wider
        return "best"
    return f"{row.difference}" + (" (within noise)" if row.is_tied else "")


def _computed(found: Any) -> None:
    """Print the scores that train no head, those that some source has."""
    there = [one for one in SCORES if any(getattr(row.trainless, one[0]) is not None
                                          for row in found.rows)]  # fmt: skip
    header = ["source", *(name for _, name, _ in there), "classes of agreement"]
    rows = []
    for row in found.rows:
        said = [_or_blank(getattr(row.trainless, name), how) for name, _, how in there]
        n = row.trainless.n_agreeing
        rows.append([row.source.uri, *said, "" if n is None else f"{n} of {found.n_classes}"])
    if there:
        table(header, rows)


def _or_blank(value: Any, how: str) -> str:
    return "" if value is None else format(value, how)
