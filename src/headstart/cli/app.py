"""The command line: a function a verb, no logic of its own.

Results go to stdout, progress and notes to stderr; `--json` prints one JSON document. Exit codes:
0 done, 1 failed, 2 usage, 3 data, 4 integrity, 5 resources, 6 transfer required but not best,
75 busy, 130 and 143 stopped by the user.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from headstart.errors import HeadstartError, TransferRefused, UsageError

#: What a shell gives a process that a signal ended.
INTERRUPTED, TERMINATED = 130, 143

app = typer.Typer(
    name="headstart",
    help="Transfer learning, with proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
Seed = Annotated[int, typer.Option(help="Of splits, folds, views and random weights.")]
TextColumn = Annotated[str | None, typer.Option("--text", help="The column that holds the text.")]
ImageColumn = Annotated[
    str | None, typer.Option("--image", help="The column that holds the picture's path.")
]
LabelColumn = Annotated[
    str | None,
    typer.Option("--label", help="The column to predict; several, separated by commas: 0/1 each."),
]
Separator = Annotated[
    str | None, typer.Option("--separator", help="What separates several labels in one cell.")
]
MaxSkipped = Annotated[
    float, typer.Option(help="The share of rows that may be unreadable and left out.")
]


def _version(asked: bool) -> None:
    """Print the version and stop."""
    if asked:
        from importlib.metadata import version

        from headstart.cli.show import out

        out(f"headstart {version('headstart')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Transfer learning, with proof."""
    if debug:
        os.environ["HEADSTART_DEBUG"] = "1"


@app.command()
def fit(
    data: Annotated[str, typer.Argument(help="A folder of class folders, or a table (CSV, …).")],
    source: Annotated[str, typer.Option(help="What to transfer from; see `sources`.")] = "auto",
    text: TextColumn = None,
    image: ImageColumn = None,
    label: LabelColumn = None,
    separator: Separator = None,
    finetune: Annotated[
        str, typer.Option(help="auto, no, last:25%, stage:NAME or all: what may move in step 5.")
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
    max_skipped: MaxSkipped = 0.01,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Transfer a pretrained source to DATA in five steps, and save the model."""
    from headstart.cli import show
    from headstart.data.readers import read
    from headstart.transfer.transfer import Transfer

    folder = out or _default_folder(data)
    rows = read(
        data, text=text, image=image, label=label, separator=separator, max_skipped=max_skipped
    )
    asked = {"epochs": epochs, "rate": rate, "optimizer": optimizer, "cache_gb": cache_max}
    model = Transfer(
        source,
        head=head,
        finetune=finetune,
        phase=_phase(source, rows.modality, asked),
        seed=seed,
        max_skipped=max_skipped,
        run=folder,
    )
    with show.bars(quiet):
        show.notes(rows.notes)
        model.fit(rows)
        _record(data, folder)
        model.save(folder / "model")
    found = show.fitted(model, folder)
    show.as_json(found) if json else show.fit(found, model.plan_)


#: Names that say nothing of the data they are of.
_COMMON_NAMES = frozenset(
    "train training test val valid validation dev data dataset datasets image images img imgs "
    "picture pictures photo photos text texts csv labels labeled labelled all raw".split()
)


def _default_folder(data: str) -> Path:
    """Return the run's folder by the name of the data, unless a model of other data is there."""
    from headstart.io import read_json

    folder = Path("runs") / _name_of(_absolute(data))
    record = folder / _RECORD
    if (folder / "model").exists() and record.exists():
        other = read_json(record).get("data")
        if other != str(_absolute(data)):
            raise UsageError(
                f"{folder} holds a model of other data: {other}.\n"
                "Name the folder with --out (that one too, if its model is to be replaced)."
            )
    return folder


#: Says of a run which data it is about.
_RECORD = "run.json"


def _record(data: str, folder: Path) -> None:
    from headstart.io import write_json

    write_json(folder / _RECORD, {"data": str(_absolute(data))})


def _absolute(data: str) -> Path:
    """Return a path with neither "~" nor ".." in it; links keep their names."""
    return Path(os.path.abspath(os.path.expanduser(data)))  # noqa: PTH100, PTH111 (never raises)


def _name_of(path: Path) -> str:
    """Return the name of the data, after the folders' that tell it from others of that name.

    >>> _name_of(Path("/work/pets/train.csv")), _name_of(Path("/work/reviews.csv"))
    ('pets-train', 'reviews')
    """
    names = [path.name if path.is_dir() else path.stem]
    for parent in path.parents:
        if names[-1].lower() not in _COMMON_NAMES or not parent.name:
            break
        names.append(parent.name)
    return "-".join(reversed(names)).strip(".") or "data"


def _phase(source: str, modality: Any, asked: dict[str, Any]) -> Any:
    """Return step 5's default phase with what was asked changed; None where nothing was."""
    from headstart.steps.phase import default_phase

    changed = {name: value for name, value in asked.items() if value is not None}
    if not changed:
        return None
    return dataclasses.replace(default_phase(source, modality), **changed).check()


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A run's folder, or the model inside it.")],
    inputs: Annotated[list[str], typer.Argument(help="Pictures, folders, tables, or texts.")],
    text: TextColumn = None,
    image: ImageColumn = None,
    top: Annotated[int, typer.Option(help="How many classes to show a row.")] = 3,
    csv: Annotated[Path | None, typer.Option(help="Write the predictions here too.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict new rows with a saved model."""
    from headstart.bundle import load
    from headstart.cli import show
    from headstart.data.readers import read_rows

    bundle = load(model)
    rows = read_rows(inputs, bundle.source.modality, text=text, image=image, columns=bundle.columns)
    with show.bars(quiet):
        found = bundle.predictions(rows, top=top)
    if csv is not None:
        show.write_csv(csv, found)
    show.as_json(found) if json else show.predictions(found)


@app.command()
def sources(
    uri: Annotated[str | None, typer.Argument(help="One source: its card and stages.")] = None,
    json: Json = False,
) -> None:
    """List the shelf: what can be transferred from; or one source, with its stages."""
    from headstart.cli import show
    from headstart.sources.catalog import resolve, shelf

    if uri is not None:
        card = show.card(resolve(uri))
        show.as_json(card) if json else show.fields(card)
        return
    found = [show.shelved(entry) for entry in shelf()]
    show.as_json(found) if json else show.shelf(found)


@app.command()
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


@app.command()
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


@app.command()
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
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank the sources by how well they suit DATA, measured on a sample of it."""
    from headstart.cli import show
    from headstart.data.readers import read
    from headstart.ranking.rank import rank as ranked

    rows = read(data, text=text, image=image, label=label, separator=separator)
    with show.bars(quiet):
        show.notes(rows.notes)
        found = ranked(
            rows,
            sources=None if sources is None else sources.split(","),
            budget_s=_seconds(budget),
            license=license,
            max_params=None if max_params is None else max_params * 1e6,
            max_latency_ms=max_latency,
            seed=seed,
        )
    show.as_json(found.to_json()) if json else show.ranking(found)


@app.command()
def prove(
    data: Annotated[str, typer.Argument(help="Labelled data, as for `fit`.")],
    source: Annotated[str, typer.Option(help="What to transfer from; see `sources`.")] = "auto",
    seeds: Annotated[int, typer.Option(help="How many times every arm is fitted.")] = 5,
    budget: Annotated[str, typer.Option(help="Time for the fits: 15m, 90s or none.")] = "15m",
    worth: Annotated[float, typer.Option(help="The gain from which it is worth it.")] = 0.0,
    target: Annotated[
        float | None, typer.Option(help="The validation score whose time is measured.")
    ] = None,
    best_effort: Annotated[
        bool, typer.Option("--best-effort", help="Prove what too few rows allow.")
    ] = False,
    require_transfer: Annotated[
        bool, typer.Option("--require-transfer", help="Exit 6 where a control is to be shipped.")
    ] = False,
    text: TextColumn = None,
    image: ImageColumn = None,
    label: LabelColumn = None,
    separator: Separator = None,
    finetune: Annotated[str, typer.Option(help="What may move in step 5, as for `fit`.")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The run's folder; by default `runs/` and DATA's name."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure what the transfer gains over not transferring, with intervals and a verdict."""
    from headstart.cli import show
    from headstart.data.readers import read
    from headstart.evidence.prove import prove as proved
    from headstart.evidence.report import write
    from headstart.evidence.saved import keep
    from headstart.transfer.transfer import Transfer

    rows = read(data, text=text, image=image, label=label, separator=separator)
    folder = out or _default_folder(data)
    with show.bars(quiet, plans=False):
        show.notes(rows.notes)
        found = proved(
            Transfer(source, finetune=finetune), rows, seeds=seeds, budget_s=_seconds(budget),
            worth=worth, target=target, best_effort=best_effort,
        )  # fmt: skip
    keep(found, folder)
    page = write(found, folder, run=str(folder), rows=rows.by_name())
    show.as_json(found.to_json()) if json else show.evidence(found, page)
    if require_transfer:
        _require_transfer(found)


def _require_transfer(found: Any) -> None:
    """Refuse where validation prefers a control."""
    if found.verdict.is_shipped_control:
        raise TransferRefused(
            f"Validation prefers {found.verdict.shipped}, which transfers nothing.\n"
            "Try another source (`headstart rank DATA`) or more rows, or leave out "
            "--require-transfer to ship it."
        )


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="The folder that `prove` named.")],
    json: Json = False,
) -> None:
    """Write the report of a proof again: HTML, Markdown and JSON."""
    from headstart.cli import show
    from headstart.evidence.report import document, write
    from headstart.evidence.saved import kept

    found = kept(run)
    page = write(found, run, run=str(run))
    show.as_json(document(found)) if json else show.out(str(page))


def _seconds(budget: str) -> float | None:
    """Return seconds for "90s", "15m", "2h"; None for "none"."""
    if budget == "none":
        return None
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = budget[:-1], budget[-1:]
    if unit in units and number.replace(".", "", 1).isdigit():
        return float(number) * units[unit]
    raise UsageError(f"budget={budget!r} is no time.\nExpected such as 90s, 15m, 2h, or none.")


def main() -> None:
    """Run the command line; turn errors into a message and an exit code."""
    # Threads that wait should sleep: beside another busy program, spinning ones made training
    # ten times slower. It must be said before the first library that has such threads is read.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, _stop)
    try:
        said = app(standalone_mode=False)
        code = said if isinstance(said, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except _Terminated:
        code = TERMINATED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        code = _failed(error)
    if code in (INTERRUPTED, TERMINATED):
        _say("Stopped. What was finished is kept; the same command goes on from there.", code)
    sys.exit(code)


class _Terminated(BaseException):
    """SIGTERM came."""


def _stop(*_: object) -> None:
    raise _Terminated


def _failed(error: Exception) -> int:
    """Say what went wrong; the traceback only where it was asked for."""
    if os.environ.get("HEADSTART_DEBUG"):
        raise error
    if isinstance(error, HeadstartError):
        return _say(f"error: {error}", error.exit_code)
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # usage, in the words of typer
        error.show()
        return int(error.exit_code)
    if isinstance(error, MemoryError):
        return _say("error: out of memory.\nGive a smaller source, or fewer rows at a time.", 5)
    return _say(
        f"error: {type(error).__name__}: {error}\nThis is a fault of Headstart. "
        "`headstart --debug …` shows where; please report it.",
        1,
    )


def _say(text: str, code: int) -> int:
    from headstart.cli.show import err

    err(text)
    return code
