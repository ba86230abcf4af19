"""Step 5 on the command line: its options, and the phase they ask for."""

import dataclasses
from typing import Annotated, Any

import typer

from headstart.errors import UsageError

Finetune = Annotated[
    str, typer.Option(help="auto, no, few, last:25%, stage:NAME or all: what may move in step 5.")
]
Epochs = Annotated[int | None, typer.Option(help="Of step 5, at most.")]
Rate = Annotated[float | None, typer.Option(help="The peak learning rate of step 5.")]
Optimizer = Annotated[str | None, typer.Option(help="Of step 5: adamw or sgd.")]
CacheMax = Annotated[
    float | None, typer.Option(help="Gigabytes that activations of step 5 may take.")
]

#: The options, by the fields of a phase that they set.
OPTIONS = {
    "epochs": "--epochs", "rate": "--rate", "optimizer": "--optimizer", "cache_gb": "--cache-max",
}  # fmt: skip

#: What each of them expects.
EXPECTED = {
    "epochs": "1 or more", "rate": "a number above 0", "optimizer": "adamw or sgd",
    "cache_gb": "gigabytes, more than 0",
}  # fmt: skip


def asked(source: str, finetune: str, **fields: Any) -> dict[str, Any]:
    """Return the fields of a phase that were given; none where step 5 is left out.

    Raises
    ------
    UsageError
        Naming options of which nothing would come, or a value that makes no sense.

    Examples
    --------
    >>> asked("auto", "all", epochs=3, rate=None)
    {'epochs': 3}
    >>> asked("auto", "all", epochs=0)
    Traceback (most recent call last):
    headstart.errors.UsageError: --epochs 0 cannot be right.
    Expected 1 or more.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    for name, value in given.items():
        _check(name, value)
    # A scratch source learns by them whatever is said of step 5, unless its features are used.
    is_left_out = finetune == "head" or (finetune == "no" and not source.startswith("scratch:"))
    if given and is_left_out:
        option = OPTIONS[next(iter(given))]
        raise UsageError(
            f"{_options(given)}: how step 5 learns, and --finetune {finetune} leaves it out.\n"
            f"Expected no {option}, or what may move: --finetune auto, last:25%, all or so."
        )
    return given


def _check(name: str, value: Any) -> None:
    """Refuse a value in the words of the command line: a phase has those of Python."""
    from headstart.steps.phase import Phase

    try:
        dataclasses.replace(Phase(), **{name: value}).check()
    except UsageError:
        raise UsageError(
            f"{OPTIONS[name]} {value} cannot be right.\nExpected {EXPECTED[name]}."
        ) from None


def phase(source: str, modality: Any, finetune: str, given: dict[str, Any]) -> Any:
    """Return step 5's default phase with what was asked changed; None where nothing was.

    Raises
    ------
    UsageError
        Where the rows are numbers, which have no step 5.
    """
    from headstart.steps.phase import FEW_TEXTS, default_phase
    from headstart.task import Modality
    from headstart.transfer.plan import FEW, ONLY

    if not given:
        return None
    if modality is Modality.VECTOR:
        raise UsageError(
            f"{_options(given)}: how step 5 learns, and rows of numbers have no network to "
            f"fine-tune.\nExpected no {OPTIONS[next(iter(given))]}."
        )
    is_few = finetune.removeprefix(ONLY) == FEW
    base = FEW_TEXTS if is_few else default_phase(source, modality)
    return dataclasses.replace(base, **given)


def _options(given: dict[str, Any]) -> str:
    return ", ".join(OPTIONS[name] for name in given)
