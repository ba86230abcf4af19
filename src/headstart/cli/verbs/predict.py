"""Predict: ask a saved model."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.cli.options import ImageColumn, Json, Quiet, TextColumn, path_named
from headstart.task import Kind, Modality

if TYPE_CHECKING:
    from headstart.data.dataset import Dataset


def predict(
    model: Annotated[Path, typer.Argument(help="A run's folder, or the model inside it.")],
    inputs: Annotated[
        list[str], typer.Argument(help="Pictures, folders, tables, or texts; -: lines of stdin.")
    ],
    text: TextColumn = None,
    image: ImageColumn = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to show a row.")] = 3,
    csv: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the predictions here too.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict new rows with a saved model."""
    from headstart.bundle.load import load
    from headstart.cli import show
    from headstart.cli.bars import bars
    from headstart.data.tags import types_of
    from headstart.data.unlabelled import read_rows
    from headstart.errors import DataError

    csv = None if csv is None else path_named(csv)
    _refuse_inputs(csv, _paths_in(inputs))
    bundle = load(model)
    asked = [_meant(given, bundle.modality) for given in inputs]
    rows = read_rows(asked, bundle.modality, text=text, image=image, columns=bundle.columns)
    _refuse_inputs(csv, _files_of(rows))
    with bars(quiet):
        show.notes(rows.notes)
        answers = bundle.answers(rows, top=top)
        show.notes(map(str, answers.findings))
    found = answers.records
    if csv is not None:
        show.write_csv(csv, found)
    types = types_of(bundle.task) if bundle.task.kind is Kind.TAGS else ()
    show.as_json(found) if json else show.predictions(found, types)
    if all("error" in record for record in found):
        raise typer.Exit(DataError.exit_code)


def _meant(given: str, modality: Modality) -> str:
    """Return what an input stands for: "-" for lines, of texts or of the paths of pictures.

    Raises
    ------
    UsageError
        Where rows are numbers: no line says which column a number is of.
    """
    from headstart.data.unlabelled import STDIN
    from headstart.errors import UsageError

    if given != "-":
        return given
    if modality is Modality.VECTOR:
        raise UsageError(
            "-: lines of stdin are texts or the paths of pictures, and this model reads numbers.\n"
            "Expected a table with the columns it learned from: headstart predict MODEL new.csv"
        )
    return str(STDIN)


def _refuse_inputs(csv: Path | None, paths: Iterable[str | Path]) -> None:
    """Refuse to write the predictions over what they are of.

    Raises
    ------
    UsageError
        Naming the input.
    """
    from headstart.errors import UsageError

    if csv is None or not csv.exists():
        return
    target = csv.stat()
    for path in dict.fromkeys(paths):
        if _is_file(path, target):
            raise UsageError(
                f"--csv {csv} would be written over an input, {path}.\nName another file."
            )


def _paths_in(inputs: Sequence[str]) -> Iterator[str]:
    """Yield what may be a path among inputs, and what patterns match."""
    from headstart.data.folders import home_expanded

    for one in inputs:
        named = str(home_expanded(one))
        yield from (named, *glob.glob(named, recursive=True))  # noqa: PTH207 (as it is read)


def _files_of(rows: "Dataset") -> Iterator[str | Path]:
    """Yield what may be the file of a row: its name, as in a folder, or where a table leads."""
    yield from (*(rows.names or ()), *(skipped.row for skipped in rows.skipped))
    yield from (row for row in rows.rows if isinstance(row, Path))


def _is_file(path: str | Path, target: os.stat_result) -> bool:
    try:
        return os.path.samestat(Path(path).stat(), target)
    except (OSError, ValueError):  # a text, or a file that is not there
        return False
