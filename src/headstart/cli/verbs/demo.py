"""Demo: the main job on packaged data, and the proof."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from headstart.cli.options import Json, Quiet, Seeds, budget_seconds, named_folder


def demo(
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", parser=named_folder, metavar="FOLDER", help="Where the runs go."
        ),
    ] = Path("runs"),
    prove: Annotated[
        bool, typer.Option("--prove/--no-prove", help="Measure what the transfer gains, too.")
    ] = True,
    seeds: Seeds = 3,
    budget: Annotated[
        str, typer.Option(help="Time for the fits of the proof: 90s, 15m or none.")
    ] = "90s",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Do the main job on packaged pictures and texts with packaged weights, and prove the texts."""
    from headstart.cli import demo as parts
    from headstart.cli import proof, show
    from headstart.cli.bars import bars
    from headstart.machine import home
    from headstart.units import plural

    budget_s = budget_seconds(budget)
    found = []
    with bars(quiet):
        for part in parts.run(out, show.err, parts.NAMES if prove else ""):
            found.append(show.fitted(part.model, part.folder))
            if not json:
                show.fit(found[-1], part.model.plan_)
    if prove:
        show.err(
            f"\nThe proof, on the names: up to {plural(seeds, 'seed')} of every arm, "
            f"{budget} for all fits.\n"
            "The pictures take longer; theirs is: headstart prove "
            f"{shlex.quote(str(parts.pictures(home())))}\n"
        )
        with bars(quiet, plans=False):
            evidence, page = proof.proved(
                part.model, part.data, part.folder, seeds=seeds, budget_s=budget_s, remedies_s=0
            )
        found[-1]["evidence"] = evidence.to_json()
        if not json:
            show.evidence(evidence, page)
    if json:
        show.as_json(found)
