"""Options that several verbs share, and how their words are read."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.errors import UsageError
from headstart.task import Kind
from headstart.units import SECONDS, amount


def path_named(text: str | Path) -> Path:
    """Return the path that a word names, "~" being one's home: shells leave it in `--out=~/runs`.

    >>> path_named("~/runs") == Path.home() / "runs"
    True
    """
    from headstart.data.folders import home_expanded

    return home_expanded(str(text))


def named_folder(text: str | Path) -> Path:
    """Return the folder that an option names; "" would be the current one, unasked.

    Raises
    ------
    BadParameter
        Of no name, or the name of a file.

    Examples
    --------
    >>> str(named_folder("runs/pets"))
    'runs/pets'
    """
    if not str(text):
        raise typer.BadParameter("expected the name of a folder, got none.")
    folder = path_named(text)
    if folder.is_file():
        raise typer.BadParameter(f"{folder} is a file; expected a folder, there or to be made.")
    return folder


SourceName = Annotated[str, typer.Option("--source", help="What to transfer from; see `sources`.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        parser=named_folder,
        metavar="FOLDER",
        help="The run's folder; by default `runs/` and the name of DATA.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
Seed = Annotated[int, typer.Option(min=0, help="Of splits, folds, views and random weights.")]
TextColumn = Annotated[str | None, typer.Option("--text", help="The column that holds the text.")]
ImageColumn = Annotated[
    str | None, typer.Option("--image", help="The column that holds the picture's path.")
]
LabelColumn = Annotated[
    str | None,
    typer.Option("--label", help="The column to predict; several, separated by commas: 0/1 each."),
]
Separator = Annotated[
    str | None, typer.Option("--separator", help="What separates several labels in one cell.")
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Start anew: do not go on from what was kept before.")
]
Seeds = Annotated[int, typer.Option(min=1, help="How many times a proof fits every arm.")]
Budget = Annotated[
    str | None,
    typer.Option(help="Time for the fits of a proof: 90s, 2h or none; 15m if not given."),
]
Remedies = Annotated[
    str | None,
    typer.Option(
        help="Time, on top, to try what else there is, where transfer does not win; 10m if not "
        "given, 0s where --budget gives so much time."
    ),
]
KindOfLabels = Annotated[
    Kind | None, typer.Option("--kind", help="What the labels are, where the guess is wrong.")
]
Also = Annotated[
    str | None,
    typer.Option(
        "--also", help="Labelled rows of another domain or language, to learn from beside DATA."
    ),
]
Tests = Annotated[str | None, typer.Option("--test", help="Labelled rows to test on.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse broken tags and spans instead of mending them.")
]
MaxSkipped = Annotated[
    float, typer.Option(min=0, max=1, help="The share of rows that may be unreadable and left out.")
]


#: The share of rows that are left out, where a person says nothing.
MAX_SKIPPED = 0.01

#: The time for a proof and, on top of it, for remedies, where a person says nothing.
BUDGET, REMEDIES = "15m", "10m"

#: How many times a proof fits every arm, where a person says nothing.
SEEDS = 5


def seconds(budget: str) -> float | None:
    """Return seconds for "90s", "15m", "2h"; None for "none"."""
    if budget == "none":
        return None
    return amount(budget, "time", SECONDS, "90s, 15m, 2h or none")


def unlimited(budget: str) -> float:
    """Return seconds as `seconds` does; "none" is without end.

    >>> unlimited("10m"), unlimited("none")
    (600.0, inf)
    """
    found = seconds(budget)
    return math.inf if found is None else found


def budget_seconds(budget: str) -> float | None:
    """Return seconds as `seconds` does; none at all are no budget.

    >>> budget_seconds("0s")
    Traceback (most recent call last):
    headstart.errors.UsageError: --budget 0s leaves no time.
    Expected more, for example 90s, or none for as long as it takes.
    """
    found = seconds(budget)
    if found == 0:
        raise UsageError(
            f"--budget {budget} leaves no time.\n"
            "Expected more, for example 90s, or none for as long as it takes."
        )
    return found


def time_to_prove(budget: str | None, remedies: str | None) -> dict[str, Any]:
    """Return what `prove` is asked: seconds for the fits, and those for remedies on top.

    A budget that was given is all the time there is, unless remedies are given time too.

    >>> time_to_prove(None, None)
    {'budget_s': 900.0, 'remedies_s': 600.0}
    >>> time_to_prove("90s", None)
    {'budget_s': 90.0, 'remedies_s': 0.0}
    >>> time_to_prove("none", None)
    {'budget_s': None, 'remedies_s': 600.0}
    """
    if remedies is None:
        remedies = REMEDIES if budget in (None, "none") else "0s"
    return {
        "budget_s": budget_seconds(BUDGET if budget is None else budget),
        "remedies_s": unlimited(remedies),
    }


def given(options: Mapping[str, Any]) -> list[str]:
    """Return options as a person types them; those of no value were not given.

    >>> given({"text": "body", "image": None, "kind": Kind.REGRESSION, "max_skipped": 0.05})
    ['--text', 'body', '--kind', 'regression', '--max-skipped', '0.05']
    """
    return [
        word
        for name, value in options.items()
        if value is not None
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]


def columns_of(path: str, data: str, columns: dict[str, Any]) -> dict[str, Any]:
    """Return how to read rows that come beside the data: columns of a table are none of a folder.

    Parameters
    ----------
    path, data
        The rows beside, and the data.
    columns
        How the data are read.
    """
    if path_named(data).is_dir() or not path_named(path).is_dir():
        return columns
    of_tables = ("text", "image", "label", "separator")
    return {name: value for name, value in columns.items() if name not in of_tables}
