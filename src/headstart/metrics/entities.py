"""Entities: how right tags are, entity by entity, as CoNLL and seqeval count them.

An entity is right if its type, its first and its last word are. Counts of each sentence come
first: every score, and what a sentence gives to it, follows from them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.ragged import Ragged
from headstart.data.tags import Entity, entities

Counts = NDArray[np.int64]


def counts(
    truth: Ragged,
    said: Ragged,
    *,
    strict: bool = False,
    kind: int | None = None,
) -> Counts:
    """Return how many entities of each sentence are right, said and true; shape (n, 3).

    Parameters
    ----------
    truth, said
        The codes of each sentence (see `headstart.data.tags`); truth need not be legal.
    strict
        What continues nothing is no entity, in the truth as in what is said.
    kind
        Only entities of this type number.

    References
    ----------
    Tjong Kim Sang & De Meulder, Introduction to the CoNLL-2003 shared task, 2003, §2.4.

    Examples
    --------
    >>> counts([np.array([1, 2, 0])], [np.array([1, 0, 3])])  # half of an entity is none
    array([[0, 2, 1]])
    """
    rows = [
        _counted(_found(a, strict, kind), _found(b, strict, kind))
        for a, b in zip(truth, said, strict=True)
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _found(codes: NDArray[Any], strict: bool, kind: int | None) -> set[Entity]:
    found = entities(codes.tolist(), strict=strict)
    return {one for one in found if kind is None or one.kind == kind}


def _counted(true: set[Entity], said: set[Entity]) -> tuple[int, int, int]:
    return len(true & said), len(said), len(true)


def f1(table: Counts) -> float:
    """Return F1 of the sums: twice the right ones over all said and all true; 0 if there are none.

    >>> f1(np.array([[1, 2, 1], [0, 0, 1]]))  # 2 · 1 / (2 + 2)
    0.5
    """
    hits, n_said, n_true = table.sum(axis=0)
    return float(2 * hits / max(1, n_said + n_true))


def precision(table: Counts) -> float:
    """Return the share of what is said that is right.

    >>> precision(np.array([[1, 2, 1]]))
    0.5
    """
    return float(table[:, 0].sum() / max(1, table[:, 1].sum()))


def recall(table: Counts) -> float:
    """Return the share of what is true that is said.

    >>> recall(np.array([[1, 2, 1]]))
    1.0
    """
    return float(table[:, 0].sum() / max(1, table[:, 2].sum()))


def f1_rows(table: Counts) -> NDArray[np.float64]:
    """Return what each sentence gives to F1, shape (n,): their mean is F1.

    F1 + n · (2 right − F1 · (said + true)) / (all said + all true): the first-order change of F1
    by one sentence, so that their spread is that of F1 (the delta method).

    >>> f1_rows(np.array([[1, 1, 1], [0, 1, 0]]))  # F1 is 2/3
    array([1.11111111, 0.22222222])
    """
    total = max(1, int(table[:, 1:].sum()))
    whole = f1(table)
    each = 2 * table[:, 0] - whole * table[:, 1:].sum(axis=1)
    return np.asarray(whole + len(table) * each / total)


def f1_left_out(table: Counts) -> NDArray[np.float64]:
    """Return F1 without each of the sentences, shape (n,).

    >>> f1_left_out(np.array([[1, 1, 1], [0, 1, 0]]))
    array([0., 1.])
    """
    left = table.sum(axis=0) - table
    return np.asarray(2 * left[:, 0] / np.maximum(1, left[:, 1] + left[:, 2]))


def by_type(truth: Ragged, said: Ragged, types: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return precision, recall, F1 and the number of true entities of each type.

    >>> by_type([np.array([1, 3])], [np.array([1, 1])], ["LOC", "PER"])["PER"]
    {'precision': 0.0, 'recall': 0.0, 'f1': 0.0, 'n': 1}
    """
    tables = {name: counts(truth, said, kind=i + 1) for i, name in enumerate(types)}
    return {
        name: {
            "precision": precision(table),
            "recall": recall(table),
            "f1": f1(table),
            "n": int(table[:, 2].sum()),
        }
        for name, table in tables.items()
    }
