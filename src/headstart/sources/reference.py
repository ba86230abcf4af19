"""Reference: statistics of the features of rows like those a source was trained on.

They lie beside a card of the shelf, and are made by `scripts/make_references.py`, which says from
what. How far other rows lie from them tells how foreign those rows are to the source.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.io import read_safetensors
from headstart.sources.packages import card_of
from headstart.sources.source import Source


@dataclass(frozen=True, eq=False)
class Reference:
    """Mean and standard deviation of each feature at the top.

    Parameters
    ----------
    mean, std
        Shape (d,).
    rows
        What the reference rows are.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    rows: str = ""


def reference_of(source: Source) -> Reference | None:
    """Return the reference beside a source's card; None where there is none for these weights."""
    scheme, _, name = source.uri.partition(":")
    card = card_of(name) if scheme == "pkg" else None
    path = None if card is None else card.with_suffix(".safetensors")
    if path is None or not path.exists():
        return None
    arrays, facts = read_safetensors(path)
    if facts.get("weights_sha256") != source.weights_sha256:
        return None
    return Reference(arrays["mean"], arrays["std"], facts.get("rows", ""))
