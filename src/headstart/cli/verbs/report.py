"""Report: the page of a proof."""

from pathlib import Path
from typing import Annotated

import typer

from headstart.cli.options import Json, path_named


def report(
    run: Annotated[
        Path,
        typer.Argument(parser=path_named, metavar="RUN", help="The folder that `prove` named."),
    ],
    json: Json = False,
) -> None:
    """Write the report of a proof again: HTML, Markdown and JSON."""
    from headstart.cli import show
    from headstart.evidence.report import document, write
    from headstart.evidence.saved import kept, kept_rows

    found = kept(run)
    page = write(found, run, run=str(run), rows=kept_rows(run))
    show.as_json(document(found)) if json else show.out(str(page))
