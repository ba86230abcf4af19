"""Rows at a boundary, as tensors: cached activations, or decoded rows where everything trains."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.dataset import Dataset
from headstart.data.pictures import row_hash
from headstart.features.features import Features
from headstart.features.inputs import inputs_for
from headstart.sources.preprocess import Preprocess, preprocess_hash
from headstart.task import Task

#: Decoded rows kept in memory; the rest are decoded again each epoch.
DECODED_BYTES = 2 * 2**30


class Rows(Protocol):
    """Rows that can be asked for by index."""

    def __len__(self) -> int:
        """How many rows there are."""
        ...

    def state(self, index: NDArray[np.int64], epoch: int) -> tuple[Tensor, ...]:
        """Return the rows at `index` as the input of the trained part; the batch comes first."""
        ...

    def digest(self, into: Any) -> None:
        """Add all that tells these rows from others to a hash."""
        ...


@dataclass(frozen=True)
class Examples:
    """Rows and what is known of them; arrays of shape (n, …).

    Parameters
    ----------
    rows
        Where the input of the trained part comes from.
    targets
        As in `Dataset.targets`; −1 (or NaN for a number) where a row has no label.
    task
        What the targets mean.
    domain, weight
        None: one domain, every row counts the same.
    """

    rows: Rows
    targets: NDArray[Any]
    task: Task
    domain: NDArray[np.int64] | None = None
    weight: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.rows)


class CachedRows:
    """Rows whose input is cached features at the boundary.

    Parameters
    ----------
    views
        The plain features first, then those of the augmented views; in epoch e view e is read,
        in turn. Validation rows have the plain one only.
    """

    def __init__(self, views: Sequence[Features]) -> None:
        self.views = views

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.views[0])

    def state(self, index: NDArray[np.int64], epoch: int) -> tuple[Tensor, ...]:
        """Return (activation,), or (pieces padded to the longest, mask) where rows are ragged."""
        features = self.views[epoch % len(self.views)]
        if not features.is_ragged:
            return (_channels_last(torch.from_numpy(features.batch(index))),)
        return _padded(features.pieces(index))

    def digest(self, into: Any) -> None:
        """Add the key and every value of the plain view; the others follow from the same rows."""
        features = self.views[0]
        into.update(f"{len(self.views)} {features.key} {features.shape}".encode())
        for start in range(0, len(features), 256):
            at = np.arange(start, min(start + 256, len(features)))
            parts = features.pieces(at) if features.is_ragged else [features.batch(at)]
            for part in parts:
                into.update(np.ascontiguousarray(part).data)


def _padded(pieces: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    longest = max(len(piece) for piece in pieces)
    hidden = np.zeros((len(pieces), longest, pieces[0].shape[-1]), dtype=np.float32)
    mask = np.zeros((len(pieces), longest), dtype=np.int64)
    for i, piece in enumerate(pieces):
        hidden[i, : len(piece)] = piece
        mask[i, : len(piece)] = 1
    return torch.from_numpy(hidden), torch.from_numpy(mask)


class DecodedRows:
    """Rows whose input is the raw row itself, decoded and (in training) augmented.

    Parameters
    ----------
    data
        The raw rows.
    preprocess
        How the network wants them.
    views
        How many augmented views a picture has; epoch e reads view 1 + e mod `views`, the same
        one whenever it is asked for. 0: the plain picture.
    """

    def __init__(self, data: Dataset, preprocess: Preprocess, views: int = 0) -> None:
        self.data = data
        self.preprocess = preprocess
        self.views = views
        self.inputs = inputs_for(preprocess)
        self.decoded: dict[tuple[int, int], NDArray[Any]] = {}
        self.n_bytes = 0

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.data)

    def state(self, index: NDArray[np.int64], epoch: int) -> tuple[Tensor, ...]:
        """Return (pixels,) normalized, or (input_ids, attention_mask)."""
        view = 1 + epoch % self.views if self.views else 0
        arrays = self.inputs.batch([self._row(int(i), view) for i in index])
        if "pixels" in arrays:
            return (_channels_last(torch.from_numpy(self.inputs.normalize(arrays["pixels"]))),)
        return tuple(torch.from_numpy(value) for value in arrays.values())

    def digest(self, into: Any) -> None:
        """Add the content of every row, how it is read, and how many views it has."""
        into.update(f"{self.views} {preprocess_hash(self.preprocess)}".encode())
        for row in self.data.rows:
            into.update(row_hash(row))

    def _row(self, i: int, view: int) -> NDArray[Any]:
        if (i, view) not in self.decoded:
            raw = self.data.rows[i]
            row = self.inputs.row(raw, view=view, key=row_hash(raw) if view else b"")
            if self.n_bytes + row.nbytes > DECODED_BYTES:
                return row
            self.n_bytes += row.nbytes
            self.decoded[i, view] = row
        return self.decoded[i, view]


def _channels_last(values: Tensor) -> Tensor:
    """Return a picture batch in the memory order convolutions are fastest in."""
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values
