"""Calibrate: make a head's probabilities mean what they say, on rows it has not learned from."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.heads.head import Head
from headstart.heads.solve import temperature_of
from headstart.metrics.scores import best_cuts
from headstart.task import Kind


def calibrated(
    head: Any,
    logits: NDArray[np.floating],
    targets: NDArray[Any],
    weight: NDArray[np.float64] | None = None,
) -> Any:
    """Return the head with the temperature and thresholds that suit held-out rows best.

    As it was, where none of them counts.

    Parameters
    ----------
    head
        A `Head`.
    logits
        Shape (n, k): what the head, or its like, said of rows it had not seen.
    targets
        What is true of them, as in a dataset.
    weight
        How much each of them counts, shape (n,); 1 if None.

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, 2017, §4.2.
    https://arxiv.org/abs/1706.04599
    """
    if weight is not None and not weight.any():
        return head
    if head.kind is Kind.TAGS:  # what follows the layer there is a chain
        return head.calibrated(logits, targets, weight)
    exact = np.asarray(logits, dtype=np.float32)
    head = dataclasses.replace(head, temperature=temperature_of(head.kind, exact, targets, weight))
    return dataclasses.replace(head, thresholds=_thresholds(head, logits, targets, weight))


def _thresholds(
    head: Head,
    logits: NDArray[np.floating],
    targets: NDArray[Any],
    weight: NDArray[np.float64] | None,
) -> NDArray[np.float64] | None:
    """Return the cut of highest F1 a label; None where there is nothing to cut."""
    if head.kind is not Kind.MULTILABEL:
        return None
    return best_cuts(targets, head.outputs_from(logits), weight)
