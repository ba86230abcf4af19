"""Fit: transfer a source to data, and save the model."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli.folders import default_folder, record, started
from headstart.cli.options import (
    Also,
    Budget,
    Fresh,
    ImageColumn,
    Json,
    KindOfLabels,
    LabelColumn,
    MaxSkipped,
    Quiet,
    Remedies,
    Seed,
    Seeds,
    Separator,
    Strict,
    Tests,
    TextColumn,
    time_to_prove,
)


def fit(
    data: Annotated[str, typer.Argument(help="A folder of class folders, or a table (CSV, …).")],
    source: Annotated[str, typer.Option(help="What to transfer from; see `sources`.")] = "auto",
    text: TextColumn = None,
    image: ImageColumn = None,
    label: LabelColumn = None,
    separator: Separator = None,
    kind: KindOfLabels = None,
    finetune: Annotated[
        str,
        typer.Option(help="auto, no, few, last:25%, stage:NAME or all: what may move in step 5."),
    ] = "auto",
    head: Annotated[str, typer.Option(help="linear or mlp.")] = "linear",
    epochs: Annotated[int | None, typer.Option(help="Of step 5, at most.")] = None,
    rate: Annotated[float | None, typer.Option(help="The peak learning rate of step 5.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="Of step 5: adamw or sgd.")] = None,
    cache_max: Annotated[
        float | None, typer.Option(help="Gigabytes that activations of step 5 may take.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The run's folder; by default `runs/` and the name of DATA."
        ),
    ] = None,
    seed: Seed = 0,
    also: Also = None,
    test: Tests = None,
    max_skipped: MaxSkipped = 0.01,
    strict: Strict = False,
    prove: Annotated[
        bool, typer.Option("--prove", help="Then measure what the transfer gains, as `prove` does.")
    ] = False,
    seeds: Seeds = 5,
    budget: Budget = None,
    remedies: Remedies = None,
    fresh: Fresh = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Transfer a pretrained source to DATA in five steps, and save the model."""
    from headstart.cli import show
    from headstart.cli.bars import bars
    from headstart.data.dataset import untested
    from headstart.data.readers import read
    from headstart.transfer.transfer import Transfer

    times = _times_to_prove(source, budget, remedies) if prove else {}
    folder = out or default_folder(data)
    columns: dict[str, Any] = {
        "text": text, "image": image, "label": label, "separator": separator, "kind": kind,
        "max_skipped": max_skipped, "strict": strict,
    }  # fmt: skip
    rows = _together(read(data, **columns), *(
        None if path is None else read(path, **columns) for path in (also, test)
    ))  # fmt: skip
    asked = {"epochs": epochs, "rate": rate, "optimizer": optimizer, "cache_gb": cache_max}
    model = Transfer(
        source,
        head=head,
        finetune=finetune,
        phase=_phase(source, rows.modality, finetune, asked),
        seed=seed,
        max_skipped=max_skipped,
        run=started(folder, fresh),
    )
    with bars(quiet):
        show.notes(rows.notes)
        # With a proof to come the test rows are left to it: it reads their labels once.
        model.fit(untested(rows) if prove else rows)
        record(data, folder)
        model.save(folder / "model")
    found = show.fitted(model, folder)
    if not json:
        show.fit(found, model.plan_)
    if prove:
        from headstart.cli import proof

        with bars(quiet, plans=False):
            evidence, page = proof.proved(model, rows, folder, seeds=seeds, fresh=fresh, **times)
        found["evidence"] = evidence.to_json()
        if not json:
            show.evidence(evidence, page)
    if json:
        show.as_json(found)


def _together(rows: Any, also: Any, tests: Any) -> Any:
    """Return the rows with those to learn from beside them, and those to test on."""
    from headstart.data.also import beside, with_tests

    if tests is not None:
        rows = with_tests(rows, tests)
    return (rows if also is None else beside(rows, also)).check()


def _times_to_prove(source: str, budget: str | None, remedies: str | None) -> dict[str, Any]:
    """Return the seconds of a proof; what cannot be proved is refused before anything is fitted."""
    from headstart.errors import UsageError

    if source.startswith("scratch:"):
        raise UsageError(
            f"--prove with --source {source}: random weights transfer nothing.\n"
            "Name the source without 'scratch:'; scratch is one of the arms."
        )
    return time_to_prove(budget, remedies)


def _phase(source: str, modality: Any, finetune: str, asked: dict[str, Any]) -> Any:
    """Return step 5's default phase with what was asked changed; None where nothing was."""
    from headstart.steps.phase import FEW_TEXTS, default_phase
    from headstart.transfer.plan import FEW

    changed = {name: value for name, value in asked.items() if value is not None}
    if not changed:
        return None
    base = FEW_TEXTS if finetune == FEW else default_phase(source, modality)
    return dataclasses.replace(base, **changed).check()
