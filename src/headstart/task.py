"""What is to be predicted, and from what."""

from dataclasses import dataclass
from enum import StrEnum


class Modality(StrEnum):
    """What a raw row is."""

    IMAGE = "image"
    TEXT = "text"
    VECTOR = "vector"
    WORDS = "words"

    @property
    def read_as(self) -> "Modality":
        """What a source must read to read such rows: a sentence of words is read as a text."""
        return Modality.TEXT if self is Modality.WORDS else self


class Kind(StrEnum):
    """What is asked of a row."""

    MULTICLASS = "multiclass"
    MULTILABEL = "multilabel"
    REGRESSION = "regression"
    TAGS = "tags"


@dataclass(frozen=True)
class Task:
    """What is to be predicted.

    Parameters
    ----------
    kind
        One class of several, several labels at once, a number, or a tag for each word.
    labels
        The names of the outputs, in their order; empty for a number. Of tags: O, then B and I of
        each entity type.
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
