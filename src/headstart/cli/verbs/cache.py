"""Cache: what is kept, what can go, whether it is whole."""

from dataclasses import asdict
from typing import Annotated

import typer

from headstart.cli.options import Json, seconds
from headstart.errors import UsageError


def cache(
    action: Annotated[
        str, typer.Argument(help="size, gc (remove what nothing names), or verify.")
    ] = "size",
    older_than: Annotated[
        str | None,
        typer.Option(help="With gc: remove too what was not used for so long, as 30d or 12h."),
    ] = None,
    json: Json = False,
) -> None:
    """Show what Headstart keeps on disk, remove what nothing names, or check every byte of it."""
    from headstart.cli import cache as kept
    from headstart.cli import show

    if action not in ("size", "gc", "verify"):
        raise UsageError(f"action={action!r} is unknown; expected size, gc or verify.")
    if older_than is not None and action != "gc":
        raise UsageError("--older-than says what gc removes.\nExpected: headstart cache gc …")
    if action == "size":
        parts = kept.size()
        show.as_json([asdict(part) for part in parts]) if json else show.parts(parts)
    elif action == "gc":
        swept = kept.collect(None if older_than is None else seconds(older_than))
        show.as_json(asdict(swept)) if json else show.swept(swept)
        if swept.left:
            raise typer.Exit(5)
    else:
        found = kept.verify()
        show.as_json(asdict(found)) if json else show.verified(found)
        if found.damaged:
            raise typer.Exit(4)
