"""Names: what classes are called is one more text of each, and where texts are few it tells much.

Whether the names say anything of the classes is asked of the training rows before any of them
teaches: each row is told by the nearest name alone. Names that mean nothing tell no more rows than
chance does; they would spoil a head of few rows, and are left out. What they gain is in NOTES.md of
the bench.

References
----------
Chang, Ratinov, Roth, Srikumar 2008, Importance of semantic representation: dataless classification
(AAAI).
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.also import beside, is_also
from headstart.data.dataset import TEST, VALIDATION, Dataset
from headstart.features.features import Features
from headstart.steps.train import labelled, targets_of
from headstart.task import Kind, Modality

#: With more texts a class, on average, their names add nothing that could be measured.
MOST_A_CLASS = 16
#: How unlikely it is that names which mean nothing are taken for telling.
DOUBT = 0.01


@dataclass(frozen=True)
class Told:
    """What the names alone tell of the training rows.

    Parameters
    ----------
    n_right, n
        Rows that are told right, and rows.
    chance
        The share that would be, were what is said of a row independent of what it is.
    """

    n_right: int
    n: int
    chance: float

    @property
    def is_clear(self) -> bool:
        """Whether that is more than chance would tell.

        >>> Told(6, 12, 1 / 12).is_clear, Told(2, 12, 1 / 12).is_clear, Told(2, 2, 0.5).is_clear
        (True, False, False)
        """
        from scipy.special import bdtrc

        return self.n_right > 0 and bool(bdtrc(self.n_right - 1, self.n, self.chance) < DOUBT)

    def __str__(self) -> str:
        """Say it to a person."""
        told = f"they alone tell {self.n_right} of {self.n} rows to train on"
        by_chance = f"chance {self.chance * self.n:.1f}"
        if self.is_clear:
            return f"the name of each class is a text of it, too: {told}, {by_chance}"
        return f"the names of the classes teach nothing: {told}, {by_chance}"


def with_names(data: Dataset) -> Dataset:
    """Return few texts and the names of their classes, marked as rows beside; else the data.

    >>> from headstart.data.dataset import from_arrays
    >>> with_names(from_arrays(["a lynx", "one more beer"], ["big_cats", "drinks"])).rows
    ('a lynx', 'one more beer', 'big cats', 'drinks')
    """
    task = labelled(data)
    names = [spoken(label) for label in task.labels]
    if not _are_few_texts(data) or not _are_words(names):
        return data
    rows = Dataset(
        Modality.TEXT,
        tuple(names),
        task,
        np.arange(len(names)),
        names=[f"the name of {label!r}" for label in task.labels],
    )
    return beside(data, rows)


def spoken(label: str) -> str:
    """Return a label as it is read aloud.

    >>> spoken("card_arrival"), spoken("lostCard"), spoken("Refund not showing-up?")
    ('card arrival', 'lost Card', 'Refund not showing up?')
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label)
    return " ".join(re.split(r"[_\-\s]+", words)).strip()


def ask(features: Features, data: Dataset) -> Told:
    """Return what the nearest name tells of every row to train on, nothing having been learned.

    Names are shorter than texts, and all texts of some sources are near each other: distances are
    angles from the mean of the names, and from that of the rows.

    Parameters
    ----------
    features, data
        The features of rows and names, and what `with_names` returned, in the same order.
    """
    names = np.flatnonzero(is_also(data))
    learns = ~is_also(data) & _trains(data)
    if data.weight is not None:
        learns &= data.weight > 0
    rows, targets = np.flatnonzero(learns), targets_of(data)
    near = _directions(features.take(rows)) @ _directions(features.take(names)).T
    said, true = targets[names][near.argmax(axis=1)], targets[rows]
    shares = [np.bincount(each, minlength=labelled(data).n_outputs) for each in (said, true)]
    chance = float(shares[0] @ shares[1]) / len(rows) ** 2
    return Told(int((said == true).sum()), len(rows), chance)


def _directions(features: Features) -> NDArray[np.float32]:
    """Return the rows' directions from their mean, shape (n, d), each of length 1."""
    rows = features.array()
    rows = rows - rows.mean(axis=0)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    found: NDArray[np.float32] = rows / np.maximum(length, np.finfo(rows.dtype).tiny)
    return found


def _are_few_texts(data: Dataset) -> bool:
    """Return whether these are few texts of one class each, with nothing beside them."""
    task = labelled(data)
    if data.modality is not Modality.TEXT or task.kind is not Kind.MULTICLASS:
        return False
    n = int(np.count_nonzero(_trains(data)))
    return n <= MOST_A_CLASS * len(task.labels) and not is_also(data).any()


def _are_words(names: list[str]) -> bool:
    """Return whether each has a letter, and no two read the same.

    >>> _are_words(["ants", "bees"]), _are_words(["1", "2"]), _are_words(["a b", "a b"])
    (True, False, False)
    """
    return all(any(map(str.isalpha, name)) for name in names) and len(set(names)) == len(names)


def _trains(data: Dataset) -> NDArray[np.bool_]:
    if data.split is None:
        return np.ones(len(data), dtype=bool)
    return ~np.isin(data.split, (VALIDATION, TEST))
