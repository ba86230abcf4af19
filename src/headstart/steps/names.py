"""Names: what classes are called is one more text of each, and where texts are few it tells much.

Whether the names say anything of the classes is asked of the training rows before any of them
teaches: each row is told by the nearest name alone. Names of other classes would spoil a head of
few rows; they tell no more rows than chance does, and are left out. Names that mean nothing may
stand near the rows of their classes by luck, where there are two or three classes; such ones cost
next to nothing. What was measured is in NOTES.md of the bench.

References
----------
Chang, Ratinov, Roth, Srikumar 2008, Importance of semantic representation: dataless classification
(AAAI).
"""

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.data.also import ALSO, TARGET, contents, is_also
from headstart.data.dataset import TEST, TRAIN, VALIDATION, Dataset
from headstart.data.pictures import known_hash
from headstart.features.features import Features
from headstart.steps.train import labelled, targets_of
from headstart.task import Kind, Modality

#: With more texts a class, on average, their names add nothing that could be measured.
MOST_A_CLASS = 16
#: So unlikely is what clear names tell, were each row told by chance. It is a bar, and no rate of
#: false alarms: rows of a class lie together, and are told right or wrong together.
BAR = 0.01


@dataclass(frozen=True)
class Told:
    """What the names alone tell of the training rows, nothing having been learned.

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
        """Whether that is so much more than chance would tell that the names are to teach.

        >>> Told(6, 12, 1 / 12).is_clear, Told(2, 12, 1 / 12).is_clear, Told(2, 2, 0.5).is_clear
        (True, False, False)
        """
        from scipy.special import bdtrc

        return self.n_right > 0 and bool(bdtrc(self.n_right - 1, self.n, self.chance) < BAR)

    def __str__(self) -> str:
        """Say it to a person."""
        told = f"they alone tell {self.n_right} of {self.n} different rows to train on"
        by_chance = f"chance {self.chance * self.n:.1f}"
        if self.is_clear:
            return f"the names of the classes are texts of them, too: {told}, {by_chance}"
        return f"the names of the classes teach nothing: {told}, {by_chance}"


def names_of(data: Dataset) -> list[str]:
    """Return what the classes are called, where that may teach few texts; else nothing.

    >>> from headstart.data.dataset import from_arrays
    >>> names_of(from_arrays(["a lynx", "one more beer"], ["big_cats", "drinks"]))
    ['big cats', 'drinks']
    """
    if not _are_few_texts(data):
        return []
    names = [spoken(label) for label in labelled(data).labels]
    are_words = all(any(map(str.isalpha, name)) for name in names)
    are_different = len({name.casefold() for name in names}) == len(names)
    return names if are_words and are_different else []


def spoken(label: str) -> str:
    """Return a label as it is read aloud.

    >>> spoken("card_arrival"), spoken("lostCard"), spoken("Refund not showing-up?")
    ('card arrival', 'lost Card', 'Refund not showing up?')
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label)
    return " ".join(re.split(r"[_\-\s]+", words)).strip()


def with_names(data: Dataset) -> Dataset:
    """Return few texts and, as the last rows, the names of their classes; else the data.

    The names are marked as rows beside, which teach and are never judged. Each counts as much as a
    row to train on does on average.
    """
    names, task = names_of(data), labelled(data)
    if not names:
        return data
    n, k, weight = len(data), len(names), None
    if data.weight is not None:
        counts = data.weight[_learned_from(data)]
        weight = np.append(data.weight, np.full(k, counts.mean() if len(counts) else 1.0))
    return replace(
        data,
        rows=(*data.rows, *names),
        targets=np.append(targets_of(data), np.arange(k)),
        split=None if data.split is None else np.append(data.split, np.full(k, TRAIN)),
        names=[*map(data.name, range(n)), *(f"the name of {label!r}" for label in task.labels)],
        domain=np.array([TARGET] * n + [ALSO] * k),
        weight=weight,
    )


def teaching(named: Dataset) -> NDArray[np.bool_]:
    """Return which rows of `with_names` to learn from: no name that is a row itself; shape (n,).

    It would teach a row that is to be judged, or count twice.
    """
    names = is_also(named)
    known = contents(named.take(~names))
    is_row = [known_hash(row) in known for row in named.rows]
    return ~(names & np.array(is_row))


def ask(features: Features, named: Dataset) -> Told:
    """Return what the nearest name tells of the different rows to train on.

    Parameters
    ----------
    features, named
        The features of rows and names, and what `with_names` returned, in the same order.
    """
    names, learned = np.flatnonzero(is_also(named)), np.flatnonzero(_learned_from(named))
    first = {named.rows[i]: i for i in reversed(learned.tolist())}
    rows, targets = np.array(sorted(first.values()), dtype=np.int64), targets_of(named)
    asked = features.take(rows).array(), targets[rows]
    return told(*asked, features.take(names).array(), targets[names])


def told(
    rows: NDArray[np.floating],
    targets: NDArray[np.int64],
    names: NDArray[np.floating],
    called: NDArray[np.int64],
) -> Told:
    """Return what the nearest name tells of rows.

    Names are shorter than texts, and all texts of some sources are near each other: what is
    compared are directions from the mean of the names, and from that of the rows.

    Parameters
    ----------
    rows, names
        Shape (n, d), (k, d).
    targets, called
        The class of each row, of each name; shape (n,), (k,).
    """
    n = len(rows)
    if n == 0 or len(names) == 0:
        return Told(0, n, 0.0)
    said = called[(_directions(rows) @ _directions(names).T).argmax(axis=1)]
    most = int(max(said.max(), targets.max())) + 1
    shares = [np.bincount(each, minlength=most) / n for each in (said, targets)]
    return Told(int((said == targets).sum()), n, float(shares[0] @ shares[1]))


def _directions(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the rows' directions from their mean, shape (n, d), each of length 1."""
    rows = rows - rows.mean(axis=0)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    found: NDArray[np.floating] = rows / np.maximum(length, np.finfo(rows.dtype).tiny)
    return found


def _are_few_texts(data: Dataset) -> bool:
    """Return whether these are few texts of one class each, with nothing beside them."""
    if data.modality is not Modality.TEXT or labelled(data).kind is not Kind.MULTICLASS:
        return False
    if is_also(data).any():
        return False
    most, different = MOST_A_CLASS * len(labelled(data).labels), set()
    for i in np.flatnonzero(_learned_from(data)).tolist():
        different.add(data.rows[i])
        if len(different) > most:  # of a million the first few thousand tell
            return False
    return True


def _learned_from(data: Dataset) -> NDArray[np.bool_]:
    """Return which rows are learned from, beside none; shape (n,)."""
    learns = ~is_also(data)
    if data.split is not None:
        learns &= ~np.isin(data.split, (VALIDATION, TEST))
    return learns & data.counted()
