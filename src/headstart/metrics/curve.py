"""Curve: how a score grew while rows went by.

There are two kinds, kept apart: *effort*, where `seen` is rows processed, and *data*, where `seen`
is labelled rows and each point was trained to its stop rule.
"""

import dataclasses
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Curve:
    """A score against the rows processed to reach it.

    Parameters
    ----------
    seen
        Rows processed so far at each point, rising.
    score
        The validation score there, higher is better; empty where it was not measured.
    loss
        The validation loss there; empty where it was not measured.
    train_loss
        The training loss up to there; empty where it was not measured.
    seconds
        The time spent up to there; empty where it was not measured. No part of what makes two
        curves equal: the same training takes another time when it is done again.

    Examples
    --------
    >>> curve = Curve(seen=(10, 20, 30), score=(0.5, 0.8, 0.7), loss=(0.9, 0.4, 0.6))
    >>> curve.best, curve.asymptote, curve.time_to(0.75), curve.time_to(0.9)
    (1, 0.8, 20, None)
    """

    seen: tuple[int, ...] = ()
    score: tuple[float, ...] = ()
    loss: tuple[float, ...] = ()
    train_loss: tuple[float, ...] = ()
    seconds: tuple[float, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        for name in ("score", "loss", "train_loss", "seconds"):
            values = getattr(self, name)
            if values and len(values) != len(self.seen):
                raise ValueError(
                    f"Curve.{name} has {len(values)} points, `seen` has {len(self.seen)}.\n"
                    "Expected as many; leave out what was not measured."
                )

    def __len__(self) -> int:
        """How many points there are."""
        return len(self.seen)

    def then(self, seen: int, **measured: float) -> "Curve":
        """Return the curve with one more point; the same names must be given at every point.

        >>> Curve().then(10, score=0.5, loss=0.9).then(20, score=0.8, loss=0.4).loss
        (0.9, 0.4)
        """
        longer = {name: (*getattr(self, name), value) for name, value in measured.items()}
        return dataclasses.replace(self, seen=(*self.seen, seen), **longer)

    @property
    def best(self) -> int:
        """The point whose weights are kept: of least loss, or of highest score without losses.

        The first of equal points; the last one where neither was measured.
        """
        if self.loss:
            return min(range(len(self)), key=lambda i: _or(self.loss[i], float("inf")))
        if not self.score:
            return len(self) - 1
        return max(range(len(self)), key=lambda i: _or(self.score[i], float("-inf")))

    @property
    def asymptote(self) -> float:
        """The score of the weights that are kept (Torrey & Shavlik 2010, Figure 2)."""
        return self.score[self.best]

    @property
    def jumpstart(self) -> float:
        """The score at the first point (Torrey & Shavlik 2010, Figure 2)."""
        return self.score[0]

    @property
    def gap(self) -> float:
        """Validation loss minus training loss where the weights are kept; high means overfitting.

        >>> Curve(seen=(1,), score=(0.5,), loss=(0.75,), train_loss=(0.5,)).gap
        0.25
        """
        return self.loss[self.best] - self.train_loss[self.best]

    def time_to(self, threshold: float) -> int | None:
        """Return how many rows it took to first reach `threshold`; None if it never did."""
        at = self._first(threshold)
        return None if at is None else self.seen[at]

    def seconds_to(self, threshold: float) -> float | None:
        """Return how many seconds it took to first reach `threshold`; None if it never did.

        >>> Curve(seen=(1, 2), score=(0.1, 0.3), seconds=(0.5, 1.0)).seconds_to(0.2)
        1.0
        """
        at = self._first(threshold)
        return None if at is None else self.seconds[at]

    def has_converged(self, patience: int) -> bool:
        """Return whether the last `patience` points brought nothing better.

        >>> curve = Curve(seen=(1, 2, 3), score=(0.5, 0.8, 0.7))
        >>> curve.has_converged(1), curve.has_converged(2)
        (True, False)
        """
        return len(self) > 0 and len(self) - 1 - self.best >= patience

    def _first(self, threshold: float) -> int | None:
        return next((i for i, score in enumerate(self.score) if score >= threshold), None)


def _or(value: float, instead: float) -> float:
    # A point that is not a number is never the best one.
    return instead if value != value else value
