"""Trainless: scores of a source that train no head; columns beside the measured probe."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from headstart.errors import HeadstartError
from headstart.features.features import Features
from headstart.machine import n_threads, one_thread
from headstart.metrics import divergence, transferability
from headstart.sources.oldhead import old_head
from headstart.sources.reference import reference_of
from headstart.sources.source import Source
from headstart.task import Kind, Task

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Trainless:
    """Scores by name; None where the task or the source has no such score.

    Parameters
    ----------
    logme, h_score, transrate
        How well the features fit the targets, see `headstart.metrics.transferability`.
    neighbors
        How well the five most similar other rows tell a row: accuracy, or R² of a number.
    linear_mse
        Of numbers only.
    leep, nce
        What the source's own old labels say of the classes; only where the old head is there.
    n_agreeing
        In how many classes those old labels agree with the data's.
    """

    logme: float | None = None
    h_score: float | None = None
    transrate: float | None = None
    neighbors: float | None = None
    linear_mse: float | None = None
    leep: float | None = None
    nce: float | None = None
    n_agreeing: int | None = None


def trainless(
    source: Source,
    features: Features,
    targets: NDArray[Any],
    task: Task,
    top: Features | None = None,
) -> Trainless:
    """Return every score that is defined.

    Parameters
    ----------
    source
        Whose features they are.
    features
        Of n rows, at the boundary that would be used.
    targets
        Of the same rows.
    task
        What is asked; several labels a row have no such score.
    top
        The same rows at the top, where the old head was; None: `features` are.
    """
    if task.kind not in (Kind.MULTICLASS, Kind.REGRESSION):
        return Trainless()
    with one_thread():
        values = features.array()
        if task.kind is Kind.REGRESSION:
            return _of_numbers(values, np.asarray(targets, dtype=np.float64))
        old = _of_old_labels(source, features if top is None else top, targets)
        return Trainless(
            logme=transferability.logme(values, targets),
            h_score=transferability.h_score(values, targets),
            transrate=transferability.transrate(values, targets),
            neighbors=transferability.neighbors(values, targets),
            **old,
        )


def _of_numbers(values: NDArray[Any], targets: NDArray[np.float64]) -> Trainless:
    return Trainless(
        logme=transferability.logme(values, targets),
        neighbors=transferability.neighbors(values, targets),
        linear_mse=transferability.linear_mse(values, targets),
    )


def _of_old_labels(source: Source, top: Features, targets: NDArray[Any]) -> dict[str, Any]:
    try:
        head = old_head(source, int(top.shape[-1]))
    except (HeadstartError, OSError):  # these columns are no reason to rank nothing
        return {}
    if head is None:
        return {}
    probabilities = head.probabilities(top.array())
    labels = probabilities.argmax(axis=1)
    return {
        "leep": transferability.leep(probabilities, targets),
        "nce": transferability.nce(labels, targets),
        "n_agreeing": transferability.agreeing_classes(labels, targets),
    }


def distance(source: Source, top: Features) -> float | None:
    """Return how far rows lie from those a source was trained on; None without a reference."""
    reference = reference_of(source)
    if reference is None:
        return None
    return divergence.frechet(reference.mean, reference.std, top.array())


def side_by_side(do: Callable[[T], R], things: Sequence[T]) -> tuple[R, ...]:
    """Return what becomes of each thing, several at once, each in one thread of linear algebra.

    >>> side_by_side(lambda n: n + 1, [1, 2, 3])
    (2, 3, 4)
    """
    with one_thread(), ThreadPoolExecutor(n_threads()) as pool:
        return tuple(pool.map(do, things))
