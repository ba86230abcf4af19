"""Demo: the main job on packaged data."""

from pathlib import Path
from typing import Annotated

import typer

from headstart.cli.options import Json, Quiet


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the runs go.")] = Path("runs"),
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Do the main job on packaged pictures and texts with packaged weights."""
    from headstart.cli import show
    from headstart.cli.demo import run

    found = []
    with show.bars(quiet):
        for model, folder in run(out, tell=show.err):
            found.append(show.fitted(model, folder))
            if not json:
                show.fit(found[-1], model.plan_)
    if json:
        show.as_json(found)
