"""Fit: transfer a source to data, and save the model."""

from typing import Annotated, Any

import typer

from headstart.cli import step5
from headstart.cli.folders import HELD, record, run_folder, started
from headstart.cli.options import (
    MAX_SKIPPED,
    SEEDS,
    Also,
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
    Seed,
    Separator,
    SourceName,
    Strict,
    Tests,
    TextColumn,
    columns_of,
    time_to_prove,
)
from headstart.cli.step5 import CacheMax, Epochs, Finetune, Optimizer, Rate


def fit(
    data: Annotated[str, typer.Argument(help="A folder of class folders, or a table (CSV, …).")],
    source: SourceName = "auto",
    text: TextColumn = None,
    image: ImageColumn = None,
    label: LabelColumn = None,
    separator: Separator = None,
    kind: KindOfLabels = None,
    finetune: Finetune = "auto",
    head: Annotated[str, typer.Option(help="linear or mlp.")] = "linear",
    epochs: Epochs = None,
    rate: Rate = None,
    optimizer: Optimizer = None,
    cache_max: CacheMax = None,
    out: Out = None,
    seed: Seed = 0,
    also: Also = None,
    test: Tests = None,
    max_skipped: MaxSkipped = MAX_SKIPPED,
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
    from headstart.heads.head import head_named
    from headstart.transfer.transfer import Transfer

    to_prove = _asked_to_prove(prove, source, seeds, budget, remedies)
    given = step5.asked(
        source, finetune, epochs=epochs, rate=rate, optimizer=optimizer, cache_gb=cache_max
    )
    head_named(head)  # an unknown one is told before sources are ranked
    columns: dict[str, Any] = {
        "text": text, "image": image, "label": label, "separator": separator, "kind": kind,
        "max_skipped": max_skipped, "strict": strict,
    }  # fmt: skip
    rows = _read(data, also, test, columns, to_prove)
    folder = run_folder(out, data, rows.task, *HELD if prove else ("model",))
    model = Transfer(
        source,
        head=head,
        finetune=finetune,
        phase=step5.phase(source, rows.modality, finetune, given),
        seed=seed,
        max_skipped=max_skipped,
        run=started(folder, fresh),
    )
    with bars(quiet):
        show.notes(rows.notes)
        # With a proof to come the test rows are left to it: it reads their labels once.
        model.fit(untested(rows) if prove else rows)
        record(data, folder, rows.task, source)
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


def _read(
    data: str,
    also: str | None,
    test: str | None,
    columns: dict[str, Any],
    to_prove: dict[str, Any],
) -> Any:
    """Return the labelled rows, with those to learn from beside them and those to test on.

    Rows that are too few for the proof that was asked for, if one was, are refused.
    """
    from headstart.data.also import beside, with_tests
    from headstart.data.readers import read
    from headstart.steps.train import labelled

    rows = read(data, **columns)
    others, tests = (
        None if path is None else read(path, **columns_of(path, data, columns))
        for path in (also, test)
    )
    if tests is not None:
        rows = with_tests(rows, tests)
    rows = (rows if others is None else beside(rows, others)).check()
    labelled(rows)
    if to_prove:
        from headstart.evidence.parting import check_rows

        check_rows(rows, to_prove["seeds"])
    return rows


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
