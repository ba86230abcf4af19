"""Which arm ships, by held-out rows alone: the simpler one, unless the other is clearly better.

Of few texts it is the other way round (`unless_worse`).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.heads.head import Head
from headstart.metrics.interval import is_clear, one_standard_error
from headstart.metrics.scores import held_out_scores
from headstart.sources.source import Source
from headstart.task import Task


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to have transferred.

    Parameters
    ----------
    name
        "probe", "finetuned" or "scratch".
    source
        The network; a fine-tuned one is a source of its own.
    head
        The head on it.
    validation
        Shape (n, k): what it says of the validation rows; None without such rows.
    """

    name: str
    source: Source
    head: Head
    validation: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Choice:
    """The kept arm, and the reason in words."""

    kept: Candidate
    why: str


def prefer(
    simple: Candidate,
    other: Candidate | None,
    task: Task,
    targets: NDArray[Any] | None,
    among: NDArray[Any] | None = None,
    *,
    is_asked: bool = False,
) -> Choice:
    """Return the simpler arm unless the other is better by more than one standard error.

    Parameters
    ----------
    simple, other
        The probe, and the fine-tuned network if there is one.
    targets
        Of the validation rows; shape (n,) or (n, k).
    among
        Of all rows that are learned from or validate, as in `headstart.metrics.scores.row_scores`;
        `targets` if None.
    is_asked
        Whether the other is to be kept whatever these rows say; the reason tells what they said.

    Notes
    -----
    The standard error is that of the mean difference of the paired row scores; the rule is that
    of Breiman et al. 1984 (CART, §3.4.3), read for a pair.
    """
    if other is None or targets is None:
        return Choice(simple, f"{simple.name}: nothing else was tried")
    gain, noise, said = _compared(simple, other, task, targets, among)
    if is_asked:
        return Choice(other, f"{other.name}, as asked: {said}")
    if is_clear(gain, noise):
        return Choice(other, f"{other.name}: {said}")
    return Choice(simple, f"{simple.name}, the simpler: {said}")


def unless_worse(
    simple: Candidate,
    other: Candidate,
    task: Task,
    targets: NDArray[Any],
    *,
    is_asked: bool = False,
) -> Choice:
    """Return the other arm unless it is worse than the simpler one by more than a standard error.

    For rows too few to show a gain, of a kind where gains were found before (NOTES.md of the
    bench): what they cannot tell does not speak against it, a loss that they show does. `is_asked`
    as in `prefer`.
    """
    gain, noise, said = _compared(simple, other, task, targets)
    if is_asked:
        return Choice(other, f"{other.name}, as asked: {said}")
    if is_clear(-gain, noise):
        return Choice(simple, f"{simple.name}: {said}")
    return Choice(other, f"{other.name}, not worse: {said}")


def _compared(
    simple: Candidate,
    other: Candidate,
    task: Task,
    targets: NDArray[Any],
    among: NDArray[Any] | None = None,
) -> tuple[float, float, str]:
    """Return the gain of the other arm, its standard error, and both in words."""
    gaps = _each(other, task, targets, among) - _each(simple, task, targets, among)  # (n,)
    gain, said = float(gaps.mean()), f"{other.name} − {simple.name} = {gaps.mean():+.3f}"
    if len(gaps) < 2:
        return gain, math.inf, f"{said} on one row held out, which does not show how sure that is"
    noise = one_standard_error(gaps)
    return gain, noise, f"{said} ± {noise:.3f} on {len(gaps)} rows held out"


def _each(
    arm: Candidate, task: Task, targets: NDArray[Any], among: NDArray[Any] | None
) -> NDArray[np.float64]:
    """Return an arm's score a row; shape (n,)."""
    assert arm.validation is not None
    return held_out_scores(task, targets, arm.validation, among)
