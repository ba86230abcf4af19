"""Contrastive: rows of one class near each other, rows of two classes at right angles."""

from dataclasses import dataclass
from typing import Any

from headstart.losses.loss import Step


@dataclass(frozen=True)
class Contrastive:
    """The squared error of the cosine of each pair of rows in a batch: 1 for like rows, else 0.

    Like and unlike pairs count the same as a whole, however few the like ones are. Rows whose
    target is −1 are in no pair. n rows make n²/2 pairs, so that few of them teach much.

    References
    ----------
    Tunstall et al., Efficient Few-Shot Learning Without Prompts (SetFit), 2022.
    https://arxiv.org/abs/2209.11055
    They run both rows of a pair through the network; here a batch is run once.
    """

    def __call__(self, step: Step) -> Any:
        """Return the mean over like pairs plus the mean over unlike ones."""
        from torch.nn import functional

        unit = functional.normalize(step.features)  # (n, d)
        like = (step.targets[:, None] == step.targets[None, :]).float()
        counts = step.weight * (step.targets >= 0)
        weight = (counts[:, None] * counts[None, :]).triu(1)  # each pair once
        error = (unit @ unit.T - like).square()
        return _mean(error, weight * like) + _mean(error, weight * (1 - like))


def _mean(values: Any, weight: Any) -> Any:
    """Return the weighted mean; 0 where nothing counts."""
    return (values * weight).sum() / weight.sum().clamp(min=1e-12)
