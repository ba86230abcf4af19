"""Doctor: what is wrong, and the fix."""

from typing import Annotated

import typer

from headstart.cli.options import (
    ImageColumn,
    Json,
    KindOfLabels,
    LabelColumn,
    Quiet,
    Separator,
    TextColumn,
)


def doctor(
    data: Annotated[str | None, typer.Argument(help="Data to look at, too.")] = None,
    text: TextColumn = None,
    image: ImageColumn = None,
    label: LabelColumn = None,
    separator: Separator = None,
    kind: KindOfLabels = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find what is wrong with this installation, or with DATA, and say the fix."""
    from headstart.cli import show
    from headstart.cli.bars import bars
    from headstart.cli.doctor import examine, examine_data

    found = examine()
    if data is not None:
        columns = {"text": text, "image": image, "label": label, "separator": separator}
        with bars(quiet):
            found += examine_data(data, kind=kind, **columns)
    show.as_json([vars(finding) for finding in found]) if json else show.findings(found)
    if any(finding.is_bad for finding in found):
        raise typer.Exit(1)
