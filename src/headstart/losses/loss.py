"""The term: what one batch costs, as one number."""

from dataclasses import dataclass
from typing import Any, Protocol

from headstart.task import Kind, Task


@dataclass(frozen=True)
class Step:
    """What a term may look at after one forward pass; tensors, the batch first.

    Where a network learns numbers, targets and outputs are in units of the spread of the training
    targets, from their mean: whatever the user's unit, a distance of 1 is one standard deviation.

    Parameters
    ----------
    features
        Shape (n, d): what the head saw; of sentences (n, words, d).
    outputs
        Shape (n, k): what the head said, before softmax or sigmoid; of sentences (n, words, k).
    targets
        Shape (n,) or (n, k); rows without a label hold −1. Of sentences (n, words).
    domain
        Shape (n,): the number of the domain a row comes from.
    weight
        Shape (n,): how much a row counts.
    """

    features: Any
    outputs: Any
    targets: Any
    domain: Any
    weight: Any


class Term(Protocol):
    """A part of the loss: a step becomes a number to be made small."""

    def __call__(self, step: Step) -> Any:
        """Return a scalar tensor."""
        ...


@dataclass(frozen=True)
class Supervised:
    """The loss of a task: cross-entropy for classes, a sigmoid a label, squared error for numbers.

    Rows whose target is −1 carry no label and count nothing. For tags it is the cross-entropy of
    each word.

    Parameters
    ----------
    kind
        What is asked of a row.
    smoothing
        Label smoothing of the cross-entropy (Szegedy et al. 2016, §7).
    """

    kind: Kind
    smoothing: float = 0.0

    def __call__(self, step: Step) -> Any:
        """Return the weighted mean over the labelled rows of the batch.

        A row counts beside those of its batch: among others that hardly count it counts in full. To
        let it count the same in every batch gained nothing sure (NOTES.md of the bench, *tags*).
        """
        labelled = _is_labelled(self.kind, step.targets)
        of_row = step.weight[:, None] if self.kind is Kind.TAGS else step.weight
        weight = of_row * labelled
        return (self._each(step) * weight).sum() / weight.sum().clamp(min=1e-12)

    def _each(self, step: Step) -> Any:
        from torch.nn import functional

        if self.kind is Kind.MULTICLASS:
            return functional.cross_entropy(
                step.outputs,
                step.targets.clamp(min=0).long(),
                reduction="none",
                label_smoothing=self.smoothing,
            )  # (n,)
        if self.kind is Kind.TAGS:
            each = functional.cross_entropy(
                step.outputs.flatten(0, 1),
                step.targets.clamp(min=0).flatten(),
                reduction="none",
                label_smoothing=self.smoothing,
            )
            return each.view_as(step.targets)  # (n, words)
        if self.kind is Kind.MULTILABEL:
            each = functional.binary_cross_entropy_with_logits(
                step.outputs, step.targets.clamp(min=0).float(), reduction="none"
            )  # (n, k)
            return each.mean(dim=1)
        known = step.targets.float().nan_to_num(0.0, 0.0, 0.0)  # no number times weight 0 is none
        return (step.outputs[:, 0] - known) ** 2


def _is_labelled(kind: Kind, targets: Any) -> Any:
    if kind is Kind.REGRESSION:  # a number may well be −1; unlabelled numbers are not finite
        return targets.isfinite().float()
    if kind is Kind.TAGS:  # a word may be none: padding
        return (targets >= 0).float()
    first = targets if targets.ndim == 1 else targets[:, 0]
    return (first >= 0).float()


def supervised(task: Task, smoothing: float = 0.0) -> Supervised:
    """Return the loss of a task."""
    return Supervised(task.kind, smoothing)
