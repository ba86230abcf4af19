"""Reads: how often the labels of the same test rows were looked at, over the life of the data."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from headstart.store.store import Store

#: What the counts are kept under; they are facts, and outlive every cache.
PREFIX = "reads-"
#: How many rows of a set are kept with it: of a larger one those that come first by their hash,
#: which of nearly the same sets are nearly the same rows.
N_KEPT = 1024
#: Sets that share this part of the smaller one are the same test, with rows more or less.
SHARED = 0.1
#: The least they share where only a part of a set was kept, and few of the other can be among it.
LEAST_OF_PART = 3


def count_read(store: Store, rows: Iterable[bytes], by: str) -> int:
    """Note that test labels are read, and return how many readers there were so far.

    Rows that are added or removed do not make the others unseen: whoever read a set that shares
    rows with this one counts; a row or two of thousands, which any two sets may share, do not.

    Parameters
    ----------
    store
        Where readings are counted.
    rows
        The content hashes of the test rows, in any order.
    by
        Who reads; the same one, asked again of the same rows, looks at nothing new.

    Examples
    --------
    >>> import tempfile
    >>> from headstart.store.store import open_store
    >>> with open_store(f"sqlite:///{tempfile.mkdtemp()}/store.sqlite") as store:
    ...     [count_read(store, [b"ant", b"bee"], by) for by in ("fit", "study", "fit")]
    ...     count_read(store, [b"bee"], "study")
    [1, 2, 2]
    3
    """
    rows = sorted(rows)
    here = PREFIX + hashlib.sha256(b"\0".join(rows)).hexdigest()[:24]
    marks = b"".join(hashlib.sha256(row).digest()[:8] for row in rows)
    ours = np.unique(np.frombuffer(marks, ">u8"))[:N_KEPT]
    store.put_outcome(here, by, {"rows": ours.tobytes().hex()})
    return sum(
        study == here or _is_shared(ours, facts.get("rows", ""))  # older counts have no rows
        for (study, _), facts in store.outcomes_under(PREFIX).items()
    )


def _is_shared(ours: NDArray[np.uint64], kept: str) -> bool:
    theirs = np.frombuffer(bytes.fromhex(kept), ">u8")
    # Above the last mark of a full sketch nothing is known of its set.
    ends = [one[-1] for one in (ours, theirs) if len(one) == N_KEPT]
    if ends:
        ours, theirs = (one[one <= min(ends)] for one in (ours, theirs))
    n_shared = len(np.intersect1d(ours, theirs))
    least = LEAST_OF_PART if ends else 1
    return n_shared >= least and n_shared > SHARED * min(len(ours), len(theirs))
