"""Rank: which source suits the data."""

from typing import Annotated

import typer

from headstart.cli.options import (
    ImageColumn,
    Json,
    KindOfLabels,
    LabelColumn,
    Quiet,
    Seed,
    Separator,
    TextColumn,
    seconds,
)


def rank(
    data: Annotated[str, typer.Argument(help="Labelled data, as for `fit`.")],
    sources: Annotated[
        str | None, typer.Option(help="URIs, separated by commas; the whole shelf if not given.")
    ] = None,
    budget: Annotated[
        str, typer.Option(help="Time for forward passes: 10m, 90s or none.")
    ] = "none",
    license: Annotated[
        str | None, typer.Option(help="permissive, or names separated by commas.")
    ] = None,
    max_params: Annotated[float | None, typer.Option(help="Millions of parameters.")] = None,
    max_latency: Annotated[float | None, typer.Option(help="Milliseconds a row.")] = None,
    text: TextColumn = None,
    image: ImageColumn = None,
    label: LabelColumn = None,
    separator: Separator = None,
    kind: KindOfLabels = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank the sources by how well they suit DATA, measured on a sample of it."""
    from headstart.cli import show
    from headstart.data.readers import read
    from headstart.ranking.rank import rank as ranked

    rows = read(data, text=text, image=image, label=label, separator=separator, kind=kind)
    with show.bars(quiet):
        show.notes(rows.notes)
        found = ranked(
            rows,
            sources=None if sources is None else sources.split(","),
            budget_s=seconds(budget),
            license=license,
            max_params=None if max_params is None else max_params * 1e6,
            max_latency_ms=max_latency,
            seed=seed,
        )
    show.as_json(found.to_json()) if json else show.ranking(found)
