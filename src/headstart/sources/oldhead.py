"""Old head: the layer that named the pretraining's labels; a transfer leaves it behind.

It is not taken into any model. What it says of new rows tells how far the old labels know them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.drafts import remove
from headstart.io import is_whole, read_safetensors, sealed_folder, write_safetensors
from headstart.machine import home
from headstart.sources.source import Source
from headstart.sources.weights import read_weights

#: The file of an old head in its folder.
FILE = "head.safetensors"


@dataclass(frozen=True, eq=False)
class OldHead:
    """The affine layer from the features at the top to the old labels.

    Parameters
    ----------
    weight, bias
        Shape (z, d) and (z,), for z old labels.

    Examples
    --------
    >>> head = OldHead(np.array([[1.0], [-1.0]]), np.zeros(2))
    >>> head.probabilities(np.array([[0.0], [30.0]])).round(3).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """

    weight: NDArray[np.floating]
    bias: NDArray[np.floating]

    def probabilities(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the probability of each old label, shape (n, z), of features of shape (n, d)."""
        logits = np.asarray(features, dtype=np.float64) @ self.weight.T + self.bias
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def old_head(source: Source, n_features: int) -> OldHead | None:
    """Return the old head that the weights file still holds; None where there is none.

    The weights are read for it once: it is kept in Headstart's home, named by their hash.

    Parameters
    ----------
    source
        Its `architecture` says how many labels there were ("old_labels").
    n_features
        How many numbers the trunk says of a row.
    """
    n_labels = int(source.architecture.get("old_labels", 0))
    if not n_labels or source.format == "none":
        return None
    name = f"{source.weights_sha256}-{n_labels}x{n_features}.head"
    folder = home() / "sources" / name
    if not is_whole(folder):
        _keep(folder, head_of(read_weights(source).values(), n_labels, n_features))
    arrays, _ = read_safetensors(folder / FILE)
    return OldHead(arrays["weight"], arrays["bias"]) if arrays else None


def _keep(folder: Path, head: OldHead | None) -> None:
    if not is_whole(folder):  # nor is it replaced where its manifest is damaged
        remove(folder)
    with sealed_folder(folder) as draft:
        write_safetensors(draft / FILE, {} if head is None else vars(head))


def head_of(
    arrays: Iterable[NDArray[np.generic]], n_labels: int, n_features: int
) -> OldHead | None:
    """Return the last matrix between so many features and labels, and the last vector of labels.

    >>> stem, matrix, level = np.zeros((3, 3)), np.ones((2, 3)), np.zeros(2)
    >>> head_of([stem, matrix, level], 2, 3).weight.shape
    (2, 3)
    >>> head_of([stem, matrix.T, level], 2, 3).weight.shape  # as ONNX keeps it
    (2, 3)
    """
    weight = bias = None
    for array in arrays:
        flat = np.asarray(array)
        if flat.ndim == 4:  # a convolution of one place
            flat = flat[:, :, 0, 0] if flat.shape[2:] == (1, 1) else flat
        if flat.shape == (n_labels, n_features):
            weight = flat
        elif flat.shape == (n_features, n_labels):
            weight = flat.T
        elif flat.shape == (n_labels,):
            bias = flat
    if weight is None:
        return None
    level = np.zeros(n_labels) if bias is None else bias
    return OldHead(weight.astype(np.float32), level.astype(np.float32))
