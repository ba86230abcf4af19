"""What is to be predicted, and from what."""

from dataclasses import dataclass
from enum import StrEnum


class Modality(StrEnum):
    """What a raw row is."""

    IMAGE = "image"
    TEXT = "text"
    VECTOR = "vector"


class Kind(StrEnum):
    """What is asked of a row."""

    MULTICLASS = "multiclass"
    MULTILABEL = "multilabel"
    REGRESSION = "regression"


@dataclass(frozen=True)
class Task:
    """What is to be predicted.

    Parameters
    ----------
    kind
        One class of several, several labels at once, or a number.
    labels
        The names of the outputs, in their order; empty for a number.
    target
        The name of the predicted column, for people; may be empty.
    """

    kind: Kind
    labels: tuple[str, ...] = ()
    target: str = ""

    @property
    def n_outputs(self) -> int:
        """How many numbers a head returns for a row.

        >>> Task(Kind.MULTICLASS, ("ant", "bee")).n_outputs, Task(Kind.REGRESSION).n_outputs
        (2, 1)
        """
        return max(1, len(self.labels))
