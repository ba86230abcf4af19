"""Sealed: the labels of the test rows, and how often they were read."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from headstart.data.reads import count_read
from headstart.store.store import Store


class Sealed:
    """Test labels. They are read here and nowhere else, and every study that does is counted.

    Parameters
    ----------
    targets, rows
        The labels, and what tells their rows apart.
    n_before
        How many fits are known to have chosen by them, beside those that counted themselves.
    """

    def __init__(self, targets: NDArray[Any], rows: Sequence[bytes], n_before: int = 0) -> None:
        self._targets = targets
        self._rows = rows
        self._n_before = n_before

    def open(self, store: Store, by: str) -> tuple[NDArray[Any], int]:
        """Return the labels, and how many fits and studies have read them so far.

        Parameters
        ----------
        store
            Where readings are counted.
        by
            Who reads: the same study, asked again, looks at nothing new.
        """
        return self._targets, self._n_before + count_read(store, self._rows, by)
