"""Prove: what the transfer gains."""

from typing import Annotated, Any

import typer

from headstart.cli.folders import record, run_folder
from headstart.cli.options import (
    MAX_SKIPPED,
    SEEDS,
    Budget,
    Fresh,
    ImageColumn,
    Json,
    KindOfLabels,
    LabelColumn,
    MaxSkipped,
    Out,
    Quiet,
    Remedies,
    Seeds,
    Separator,
    SourceName,
    TextColumn,
    columns_of,
    time_to_prove,
)
from headstart.cli.step5 import Finetune


def prove(
    data: Annotated[str, typer.Argument(help="Labelled data, as for `fit`.")],
    source: SourceName = "auto",
    seeds: Seeds = SEEDS,
    budget: Budget = None,
    worth: Annotated[
        float, typer.Option(min=0, help="The gain from which it is worth it: 0.02 is two points.")
    ] = 0.0,
    target: Annotated[
        float | None, typer.Option(help="The validation score whose time is measured.")
    ] = None,
    best_effort: Annotated[
        bool, typer.Option("--best-effort", help="Prove what too few rows allow.")
    ] = False,
    remedies: Remedies = None,
    also: Annotated[
        str | None,
        typer.Option(help="Labelled rows of another domain: what are they worth?"),
    ] = None,
    require_transfer: Annotated[
        bool, typer.Option("--require-transfer", help="Exit 6 where a control is to be shipped.")
    ] = False,
    text: TextColumn = None,
    image: ImageColumn = None,
    label: LabelColumn = None,
    separator: Separator = None,
    kind: KindOfLabels = None,
    max_skipped: MaxSkipped = MAX_SKIPPED,
    finetune: Finetune = "auto",
    out: Out = None,
    fresh: Fresh = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure what the transfer gains over not transferring, with intervals and a verdict."""
    from headstart.cli import proof, show
    from headstart.cli.bars import bars
    from headstart.data.readers import read
    from headstart.evidence.prove import check_worth
    from headstart.steps.train import labelled
    from headstart.transfer.plan import check_finetune
    from headstart.transfer.transfer import Transfer

    columns: dict[str, Any] = {
        "text": text, "image": image, "label": label, "separator": separator, "kind": kind,
        "max_skipped": max_skipped,
    }  # fmt: skip
    check_finetune(finetune)  # of rows of numbers no arm would ask what it means
    times = time_to_prove(budget, remedies)
    rows = read(data, **columns)
    more = None if also is None else read(also, **columns_of(also, data, columns))
    model = Transfer(source, finetune=finetune, max_skipped=max_skipped)
    task = labelled(rows)
    check_worth(worth, task)
    folder = run_folder(out, data, task, "evidence")
    with bars(quiet, plans=False):
        show.notes(rows.notes)
        found, page = proof.proved(
            model, rows, folder, seeds=seeds, worth=worth, target=target,
            best_effort=best_effort, also=more, fresh=fresh, **times,
        )  # fmt: skip
    record(data, folder, task, source)
    show.as_json(found.to_json()) if json else show.evidence(found, page)
    if require_transfer:
        proof.require_transfer(found)
