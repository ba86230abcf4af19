"""Sources: the shelf, what may be put on it, and where to look for more."""

from typing import Annotated

import typer

from headstart.cli.options import Json
from headstart.errors import UsageError

#: What may be done beside looking.
ACTIONS = ("add", "remove", "search")


def sources(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[URI | add URI | remove URI | search WORD]",
            help="One source: its card and stages; or what to do.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="The URI to add or remove, or the word to search for."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the shelf, show a source, put one on the shelf or off it, or search for names."""
    from headstart.cli import shelf

    if what in ACTIONS:
        if not name:
            raise UsageError(f"`headstart sources {what}` needs a name.\nExpected {_needed(what)}.")
        getattr(shelf, what)(name, json)
    elif name:
        raise UsageError(f"{what!r} is nothing to do.\nExpected one of {', '.join(ACTIONS)}.")
    elif what:
        shelf.one(what, json)
    else:
        shelf.whole(json)


def _needed(action: str) -> str:
    return "a word, as resnet18" if action == "search" else "a URI, as timm:resnet18.a1_in1k"
