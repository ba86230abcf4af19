"""Which arm ships, by held-out rows alone: the simpler one, unless the other is surely better.

Of few texts it is the other way round (`unless_worse`).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.heads.head import Head
from headstart.metrics.interval import is_clear, one_standard_error, surely_above
from headstart.metrics.scores import held_out_scores
from headstart.sources.source import Source
from headstart.task import Kind, Task

#: The error of a head on n rows falls as n ** −FALLS. Few texts: 0.1 to 0.4.
FALLS = 0.25


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
    n_taught: int | None = None,
    is_asked: bool = False,
) -> Choice:
    """Return the simpler arm unless the other is surely better: 95 %, one-sided.

    What the rows held out would teach the simpler one counts for it, where it learns from them too
    if it is kept. Of tags, where step 5 is known to pay, one standard error is enough.

    Parameters
    ----------
    simple, other
        The probe, and the fine-tuned network if there is one.
    targets
        Of the validation rows; shape (n,) or (n, k).
    among
        Of all rows that are learned from or validate, as in `headstart.metrics.scores.row_scores`;
        `targets` if None.
    n_taught
        How many rows of their kind taught the simpler arm, where those held out would teach it too.
    is_asked
        Whether the other is to be kept whatever these rows say; the reason tells what they said.

    Notes
    -----
    The rule for tags is that of Breiman et al. 1984 (CART, §3.4.3), read for a pair. On pictures
    and texts it let luck choose: of five networks that it kept none was better on test rows
    (NOTES.md of the bench). The rows held out also stopped the other arm, so that even this is
    said a little too often.

    References
    ----------
    Hestness et al. 2017, Deep learning scaling is predictable, empirically: how error falls with
    the number of rows, for `FALLS`.
    """
    if other is None or targets is None:
        return Choice(simple, f"{simple.name}: nothing else was tried")
    found = _compared(simple, other, task, targets, among)
    if is_asked:
        return Choice(other, f"{other.name}, as asked: {found}")
    if task.kind is Kind.TAGS:
        is_better, why = is_clear(found.gain, found.noise), str(found)
    else:
        to_learn = 0.0
        if n_taught and task.kind is Kind.MULTICLASS:  # of other errors much is noise
            to_learn = still_to_learn(1 - found.score, n_taught, found.n)
        is_better, needed = found.low > to_learn, found.gain - found.low + to_learn
        why = f"{found}, {needed:+.3f} needed" if found.n > 1 else str(found)
    if is_better:
        return Choice(other, f"{other.name}: {why}")
    return Choice(simple, f"{simple.name}, the simpler: {why}")


def still_to_learn(error: float, n_taught: int, n_more: int) -> float:
    """Return by how much the error of a head likely falls once more rows teach it.

    >>> round(still_to_learn(0.2, 80, 20), 4)
    0.0109
    """
    return max(error, 0.0) * (1 - (n_taught / (n_taught + n_more)) ** FALLS)


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
    found = _compared(simple, other, task, targets)
    if is_asked:
        return Choice(other, f"{other.name}, as asked: {found}")
    if is_clear(-found.gain, found.noise):
        return Choice(simple, f"{simple.name}: {found}")
    return Choice(other, f"{other.name}, not worse: {found}")


@dataclass(frozen=True, eq=False)
class Compared:
    """What rows held out say of two arms.

    Parameters
    ----------
    names
        Of the other arm, and of the simpler one.
    gains
        By how much more the other scores, a row; shape (n,).
    score
        Of the simpler one.
    """

    names: tuple[str, str]
    gains: NDArray[np.float64]
    score: float

    @property
    def n(self) -> int:
        """How many rows were held out."""
        return len(self.gains)

    @property
    def gain(self) -> float:
        """The gain of the other arm."""
        return float(self.gains.mean())

    @property
    def noise(self) -> float:
        """Its standard error; one row does not show how large that is."""
        return one_standard_error(self.gains) if self.n > 1 else math.inf

    @property
    def low(self) -> float:
        """What the gain surely exceeds."""
        return surely_above(self.gains)

    def __str__(self) -> str:
        """Say it to a person."""
        said = f"{' − '.join(self.names)} = {self.gain:+.3f}"
        if self.n < 2:
            return f"{said} on one row held out, which does not show how sure that is"
        return f"{said} ± {self.noise:.3f} on {self.n} rows held out"


def _compared(
    simple: Candidate,
    other: Candidate,
    task: Task,
    targets: NDArray[Any],
    among: NDArray[Any] | None = None,
) -> Compared:
    """Compare the other arm with the simpler one, row by row."""
    each = _each(simple, task, targets, among)  # (n,)
    gains = _each(other, task, targets, among) - each
    return Compared((other.name, simple.name), gains, float(each.mean()))


def _each(
    arm: Candidate, task: Task, targets: NDArray[Any], among: NDArray[Any] | None
) -> NDArray[np.float64]:
    """Return an arm's score a row; shape (n,)."""
    assert arm.validation is not None
    return held_out_scores(task, targets, arm.validation, among)
