"""Fit: transfer a source to data, and save the model."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.cli.folders import default_folder, record, started
from headstart.cli.options import (
    SEEDS,
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
    Separator,
    Strict,
    Tests,
    TextColumn,
    columns_of,
    time_to_prove,
)

#: The options of step 5, by the fields of its phase that they set.
_OPTIONS = {
    "epochs": "--epochs", "rate": "--rate", "optimizer": "--optimizer", "cache_gb": "--cache-max",
}  # fmt: skip


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
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="How many times a proof fits every arm; 5 if not given."),
    ] = None,
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

    to_prove = _asked_to_prove(prove, source, seeds, budget, remedies)
    asked = {"epochs": epochs, "rate": rate, "optimizer": optimizer, "cache_gb": cache_max}
    _check_step_5(source, finetune, asked)
    folder = out or default_folder(data)
    columns: dict[str, Any] = {
        "text": text, "image": image, "label": label, "separator": separator, "kind": kind,
        "max_skipped": max_skipped, "strict": strict,
    }  # fmt: skip
    rows = _together(read(data, **columns), *(
        None if path is None else read(path, **columns_of(path, data, columns))
        for path in (also, test)
    ))  # fmt: skip
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
            evidence, page = proof.proved(model, rows, folder, fresh=fresh, **to_prove)
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


def _asked_to_prove(
    prove: bool, source: str, seeds: int | None, budget: str | None, remedies: str | None
) -> dict[str, Any]:
    """Return what a proof is asked; what cannot be proved is refused before anything is fitted."""
    from headstart.errors import UsageError

    if not prove:
        of_proof = {"--seeds": seeds, "--budget": budget, "--remedies": remedies}
        given = [option for option, value in of_proof.items() if value is not None]
        if given:
            raise UsageError(
                f"{', '.join(given)}: how to prove, and nothing is to be proved.\n"
                f"Expected: headstart fit … --prove {given[0]} …"
            )
        return {}
    if source.startswith("scratch:"):
        raise UsageError(
            f"--prove with --source {source}: random weights transfer nothing.\n"
            "Name the source without 'scratch:'; scratch is one of the arms."
        )
    return {"seeds": SEEDS if seeds is None else seeds, **time_to_prove(budget, remedies)}


def _check_step_5(source: str, finetune: str, asked: dict[str, Any]) -> None:
    """Refuse options of step 5 where it is left out: nothing would come of them.

    Raises
    ------
    UsageError
        Naming the options.
    """
    from headstart.errors import UsageError

    given = [_OPTIONS[name] for name, value in asked.items() if value is not None]
    # A scratch source learns by them whatever is said of step 5, unless its features are used.
    is_left_out = finetune == "head" or (finetune == "no" and not source.startswith("scratch:"))
    if given and is_left_out:
        raise UsageError(
            f"{', '.join(given)}: how step 5 learns, and --finetune {finetune} leaves it out.\n"
            f"Expected no {given[0]}, or what may move: --finetune auto, last:25%, all or so."
        )


def _phase(source: str, modality: Any, finetune: str, asked: dict[str, Any]) -> Any:
    """Return step 5's default phase with what was asked changed; None where nothing was."""
    from headstart.steps.phase import FEW_TEXTS, default_phase
    from headstart.transfer.plan import FEW

    changed = {name: value for name, value in asked.items() if value is not None}
    if not changed:
        return None
    base = FEW_TEXTS if finetune == FEW else default_phase(source, modality)
    return dataclasses.replace(base, **changed).check()
