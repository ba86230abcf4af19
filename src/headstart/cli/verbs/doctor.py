"""Doctor: what is wrong, and the fix."""

from typing import Annotated

import typer

from headstart.cli.options import Json


def doctor(
    data: Annotated[str | None, typer.Argument(help="Data to look at, too.")] = None,
    json: Json = False,
) -> None:
    """Find what is wrong with this installation, or with DATA, and say the fix."""
    from headstart.cli import show
    from headstart.cli.doctor import examine

    found = examine(data)
    show.as_json([vars(finding) for finding in found]) if json else show.findings(found)
    if any(finding.is_bad for finding in found):
        raise typer.Exit(1)
