"""Sources: the shelf."""

from typing import Annotated

import typer

from headstart.cli.options import Json


def sources(
    uri: Annotated[str | None, typer.Argument(help="One source: its card and stages.")] = None,
    json: Json = False,
) -> None:
    """List the shelf: what can be transferred from; or one source, with its stages."""
    from headstart.cli import show
    from headstart.sources.catalog import resolve, shelf

    if uri is not None:
        card = show.card(resolve(uri))
        show.as_json(card) if json else show.fields(card)
        return
    found = [show.shelved(entry) for entry in shelf()]
    show.as_json(found) if json else show.shelf(found)
