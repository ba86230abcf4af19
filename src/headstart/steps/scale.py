"""Scale: numbers are learned in units of their own spread, from their mean.

A rate, a clipped gradient and weights that begin near zero suit outputs of about 1. Prices in
thousands or lengths in millionths are brought there before a training by gradient, and the head
that comes out of it is taken back to the user's units.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import Dataset
from headstart.heads.design import level_and_spread
from headstart.heads.head import Head
from headstart.steps.train import labelled, targets_of
from headstart.task import Kind

#: What multiplies and what is added last in each head that learns numbers, by its name.
LAST = {"linear": ("weight", "bias"), "mlp": ("spread", "level")}


@dataclass(frozen=True)
class Scale:
    """What is learned of a number y: (y − level) / spread; other targets stay as they are.

    Parameters
    ----------
    level, spread
        In the units of y.
    """

    level: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, head: Head, data: Dataset) -> "Scale":
        """Return the scale on which a head learns the rows: their mean and standard deviation.

        Parameters
        ----------
        data
            The training rows, each of which counts its weight; one without a number counts nothing.
        """
        if labelled(data).kind is not Kind.REGRESSION or head.name not in LAST:
            return cls()
        counts = np.ones(len(data)) if data.weight is None else np.asarray(data.weight)
        targets = targets_of(data).astype(np.float64)
        is_known = np.isfinite(targets)
        return cls(*level_and_spread(targets[is_known], counts[is_known]))

    def rows(self, data: Dataset) -> Dataset:
        """Return the rows with the targets that are learned.

        >>> from headstart.task import Modality, Task
        >>> rows = Dataset(Modality.TEXT, ("a", "b"), Task(Kind.REGRESSION), np.array([3.0, 7.0]))
        >>> Scale(5.0, 2.0).rows(rows).targets.tolist()
        [-1.0, 1.0]
        """
        if self == Scale():
            return data
        return dataclasses.replace(data, targets=(targets_of(data) - self.level) / self.spread)

    def down(self, head: Head) -> Head:
        """Return a head of the user's units as one that says what is learned.

        >>> from headstart.heads.linear import LinearHead
        >>> head = LinearHead(np.array([[4.0]]), np.array([9.0]), Kind.REGRESSION)
        >>> Scale(5.0, 2.0).down(head).layers
        ((array([[2.]]), array([2.])),)
        """
        return self._with(head, 1 / np.float64(self.spread), -self.level / np.float64(self.spread))

    def up(self, head: Head) -> Head:
        """Return a head that has learned as one that says numbers in the user's units.

        >>> from headstart.heads.linear import LinearHead
        >>> head = LinearHead(np.array([[2.0]]), np.array([2.0]), Kind.REGRESSION)
        >>> Scale(5.0, 2.0).up(head).layers
        ((array([[4.]]), array([9.])),)
        """
        return self._with(head, np.float64(self.spread), np.float64(self.level))

    def raw(self, outputs: NDArray[np.floating]) -> NDArray[Any]:
        """Return what a head that has learned says, shape (n, k), in the user's units.

        >>> Scale(5.0, 2.0).raw(np.array([[-1.0], [1.0]])).ravel().tolist()
        [3.0, 7.0]
        """
        return outputs if self == Scale() else outputs * np.float64(self.spread) + self.level

    def _with(self, head: Head, factor: np.float64, summand: np.float64) -> Any:
        """Return a head whose outputs are multiplied and added to; its last weights are float64.

        Numbers that hardly differ beside their mean would lose their digits in float32.
        """
        if self == Scale():
            return head
        times, plus = LAST[head.name]
        changed = {
            times: getattr(head, times) * factor,
            plus: getattr(head, plus) * factor + summand,
        }
        return dataclasses.replace(head, **changed)  # type: ignore[type-var]
