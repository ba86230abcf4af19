"""Predict: ask a saved model."""

from pathlib import Path
from typing import Annotated

import typer

from headstart.cli.options import ImageColumn, Json, Quiet, TextColumn


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
    from headstart.task import Kind

    bundle = load(model)
    asked = ["/dev/stdin" if one == "-" else one for one in inputs]
    rows = read_rows(asked, bundle.modality, text=text, image=image, columns=bundle.columns)
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
