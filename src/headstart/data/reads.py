"""Reads: how often the labels of the same test rows were looked at, over the life of the data."""

import hashlib
from collections.abc import Iterable

from headstart.store.store import Store

#: What the counts are kept under; they are facts, and outlive every cache.
PREFIX = "reads-"


def count_read(store: Store, rows: Iterable[bytes], by: str) -> int:
    """Note that test labels are read, and return how many readers there were so far.

    Parameters
    ----------
    store
        Where readings are counted.
    rows
        The content hashes of the test rows, in any order.
    by
        Who reads; the same one, asked again, looks at nothing new.

    Examples
    --------
    >>> import tempfile
    >>> from headstart.store.store import open_store
    >>> with open_store(f"sqlite:///{tempfile.mkdtemp()}/store.sqlite") as store:
    ...     [count_read(store, [b"ant", b"bee"], by) for by in ("fit", "study", "fit")]
    [1, 2, 2]
    """
    digest = hashlib.sha256(b"\0".join(sorted(rows))).hexdigest()[:24]
    store.put_outcome(PREFIX + digest, by, {})
    return len(store.outcomes(PREFIX + digest))
