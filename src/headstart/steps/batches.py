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
from headstart.data.ragged import is_ragged, padded, ragged
from headstart.data.tags import repaired
from headstart.features.features import Features
from headstart.features.inputs import inputs_for, word_places
from headstart.sources.preprocess import Preprocess, preprocess_hash
from headstart.steps.attach import Tail
from headstart.task import Modality, Task

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

    def sizes(self) -> NDArray[np.int64] | None:
        """Return how long each row is, shape (n,); None where all are alike."""
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
    domain
        1: a row beside those the model is for; None: all are of one domain.
    weight
        None: every row counts the same.
    """

    rows: Rows
    targets: NDArray[Any]
    task: Task
    domain: NDArray[np.int64] | None = None
    weight: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def truth(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the targets at `index`, to learn from: tags repaired, and −1 beyond the last."""
        some = np.asarray(self.targets)[index]
        return padded([repaired(tags) for tags in some], -1) if is_ragged(some) else some

    def unpadded(self, index: NDArray[np.int64], values: NDArray[Any]) -> NDArray[Any]:
        """Return what was said of the rows at `index`, without what was said of padding."""
        some = np.asarray(self.targets)[index]
        if not is_ragged(some):
            return values
        return ragged([row[: len(tags)] for row, tags in zip(values, some, strict=True)])


def cached_rows(views: Sequence[Features], data: Dataset, preprocess: Preprocess) -> "CachedRows":
    """Return rows of a dataset at a boundary; `views` are what was cached of them there."""
    if data.modality is Modality.WORDS:
        return CachedSentences(views, data, preprocess)
    return CachedRows(views)


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

    def sizes(self) -> NDArray[np.int64] | None:
        """Return how many pieces each row has; None where rows are alike."""
        return self.views[0].sizes() if self.views[0].is_ragged else None

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


class CachedSentences(CachedRows):
    """Sentences whose input is cached activations: of all their windows, one after another.

    Parameters
    ----------
    data, preprocess
        The sentences, and how the network reads them: where windows end and words begin is not
        cached, it follows from them.
    """

    def __init__(self, views: Sequence[Features], data: Dataset, preprocess: Preprocess) -> None:
        super().__init__(views)
        self.data = data
        self.inputs = inputs_for(preprocess, data.modality)

    def state(self, index: NDArray[np.int64], epoch: int) -> tuple[Tensor, ...]:
        """Return (pieces of all windows padded to the longest, mask, places of the words)."""
        read = [self.inputs.row(self.data.rows[int(i)]) for i in index]
        windows: list[NDArray[np.float32]] = []
        for row, pieces in zip(read, self.views[0].pieces(index), strict=True):
            windows += np.split(pieces, np.cumsum(list(map(len, row.windows)))[:-1])
        hidden, mask = _padded(windows)
        return hidden, mask, torch.from_numpy(word_places(read, hidden.shape[1]))


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
        self.inputs = inputs_for(preprocess, data.modality)
        self.decoded: dict[tuple[int, int], Any] = {}
        self.n_bytes = 0

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.data)

    def state(self, index: NDArray[np.int64], epoch: int) -> tuple[Tensor, ...]:
        """Return (pixels,) normalized, or (input_ids, attention_mask) and the words' places."""
        view = 1 + epoch % self.views if self.views else 0
        rows = [self._row(int(i), view) for i in index]
        arrays = self.inputs.batch([window for row in rows for window in self.inputs.windows(row)])
        if "pixels" in arrays:
            return (_channels_last(torch.from_numpy(self.inputs.normalize(arrays["pixels"]))),)
        if self.data.modality is Modality.WORDS:
            arrays["places"] = word_places(rows, arrays["input_ids"].shape[1])
        return tuple(torch.from_numpy(value) for value in arrays.values())

    def sizes(self) -> NDArray[np.int64] | None:
        """Return how many ids each text has; None for pictures."""
        if self.data.modality.read_as is not Modality.TEXT:
            return None
        return np.array([len(self._row(i, 0)) for i in range(len(self.data))], dtype=np.int64)

    def digest(self, into: Any) -> None:
        """Add the content of every row, how it is read, and how many views it has."""
        into.update(f"{self.views} {preprocess_hash(self.preprocess)}".encode())
        for row in self.data.rows:
            into.update(row_hash(row))

    def _row(self, i: int, view: int) -> Any:
        if (i, view) not in self.decoded:
            raw = self.data.rows[i]
            row = self.inputs.row(raw, view=view, key=row_hash(raw) if view else b"")
            if self.n_bytes + row.nbytes > DECODED_BYTES:
                return row
            self.n_bytes += row.nbytes
            self.decoded[i, view] = row
        return self.decoded[i, view]


class RunRows:
    """Rows that a few frozen stages are run on each time they are asked for.

    Of texts, what lies below the first block is a look-up: less work than to keep and read what it
    says.

    Parameters
    ----------
    rows
        What the lowest stage reads.
    tail
        What lies below its boundary is run.
    """

    def __init__(self, rows: DecodedRows, tail: Tail) -> None:
        self.rows, self.tail = rows, tail

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    @torch.no_grad()
    def state(self, index: NDArray[np.int64], epoch: int) -> tuple[Tensor, ...]:
        """Return the state at the boundary of the rows at `index`."""
        return self.tail.below(*self.rows.state(index, epoch))

    def sizes(self) -> NDArray[np.int64] | None:
        """Return how many ids each text has."""
        return self.rows.sizes()

    def digest(self, into: Any) -> None:
        """Add the content of every row and where the boundary is; the weights follow from it."""
        into.update(f"{self.tail.boundary} ".encode())
        self.rows.digest(into)


def _channels_last(values: Tensor) -> Tensor:
    """Return a picture batch in the memory order convolutions are fastest in."""
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values
