"""Rank: which source suits the data."""

from typing import Annotated, Any

import typer

from headstart.cli.options import (
    MAX_SKIPPED,
    Fresh,
    ImageColumn,
    Json,
    KindOfLabels,
    LabelColumn,
    MaxSkipped,
    Quiet,
    Seed,
    Separator,
    TextColumn,
    budget_seconds,
    given,
)
from headstart.units import milliseconds


def rank(
    data: Annotated[str, typer.Argument(help="Labelled data, as for `fit`.")],
    sources: Annotated[
        str | None, typer.Option(help="URIs, separated by commas; the whole shelf if not given.")
    ] = None,
    budget: Annotated[
        str, typer.Option(help="Time for forward passes: 10m, 90s or none.")
    ] = "none",
    license: Annotated[
        str | None,
        typer.Option("--license", "--licence", help="permissive, or names separated by commas."),
    ] = None,
    max_params: Annotated[str | None, typer.Option(help="Parameters at most: 10M.")] = None,
    max_latency: Annotated[str | None, typer.Option(help="Time a row at most: 20ms.")] = None,
    finetune: Annotated[
        bool, typer.Option("--finetune", help="Fine-tune the last two for a short while too.")
    ] = False,
    text: TextColumn = None,
    image: ImageColumn = None,
    label: LabelColumn = None,
    separator: Separator = None,
    kind: KindOfLabels = None,
    max_skipped: MaxSkipped = MAX_SKIPPED,
    seed: Seed = 0,
    fresh: Fresh = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank the sources by how well they suit DATA, measured on a sample of it."""
    from headstart.cli import ranked, show
    from headstart.cli.bars import bars
    from headstart.data.readers import read
    from headstart.ranking.rank import rank as measure

    columns: dict[str, Any] = {
        "text": text, "image": image, "label": label, "separator": separator, "kind": kind,
    }  # fmt: skip
    rows = read(data, **columns, max_skipped=max_skipped)
    with bars(quiet):
        show.notes(rows.notes)
        found = measure(
            rows,
            sources=None if sources is None else [uri.strip() for uri in sources.split(",")],
            budget_s=budget_seconds(budget),
            license=license,
            max_params=max_params,
            max_latency_ms=None if max_latency is None else milliseconds(max_latency),
            finetune=finetune,
            max_skipped=max_skipped,
            seed=seed,
            fresh=fresh,
        )
    if json:
        return show.as_json(found.to_json())
    allowed = None if max_skipped == MAX_SKIPPED else max_skipped
    ranked.ranking(found, [data, *given({**columns, "max_skipped": allowed})])
