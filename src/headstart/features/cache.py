"""Cache: features kept in verified shards, found again by what they are the features of."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headstart.drafts import sweep
from headstart.io import read_safetensors, sha256_file, write_npy, write_safetensors
from headstart.progress import track
from headstart.sources.location import mark
from headstart.sources.preprocess import TextPreprocess, preprocess_hash
from headstart.sources.source import Source
from headstart.store.store import Shard, Store

#: Changes when the same row would give other features.
FEATURES_VERSION = 1
#: The same, of texts that are kept by the word or by the piece.
WORDS_VERSION = 2
#: The largest rounding error that float16 may bring, as a share of a row's length. Half a unit in
#: its last place is 0.0005; more means that values were too large, or all too small, for it.
ROUNDING = 1e-3
LARGEST = 65504.0


def feature_key(
    source: Source, stages: int | None, pooled: bool | str, view: int, precision: str
) -> str:
    """Return what features are the features of: another key, other numbers.

    Parameters
    ----------
    source
        The pretrained model.
    stages
        How many of its stages were run; None: all.
    pooled
        Whether they are a vector a row; "words": a vector a word.
    view
        Which augmented view of a picture; 0: the picture itself.
    precision
        What the trunk computed in.
    """
    facts = [
        FEATURES_VERSION,
        source.weights_sha256,
        source.architecture,
        "top" if stages is None else [stages, pooled],
        preprocess_hash(source.preprocess),
        view,
        precision,
    ]
    is_text = isinstance(source.preprocess, TextPreprocess)
    if is_text and stages is not None and pooled is not True:
        facts.append(WORDS_VERSION)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def rounded(values: NDArray[np.float32]) -> NDArray[np.floating]:
    """Return rows as they are kept: float16 if all of them fit, else float32.

    A row that fits is rounded to float16 whatever its neighbors are, so that a row has the same
    values alone, in a shard, and in a served model.

    >>> rounded(np.array([[1.0001]], dtype=np.float32))
    array([[1.]], dtype=float16)
    >>> rounded(np.array([[1.0001], [70000.0]], dtype=np.float32)).ravel().tolist()
    [1.0, 70000.0]
    """
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    fits = _fits(values, half)
    if fits.all():
        return half
    each = (-1, *[1] * (values.ndim - 1))
    return np.where(fits.reshape(each), half.astype(np.float32), values)


def _fits(values: NDArray[np.float32], half: NDArray[np.float16]) -> NDArray[np.bool_]:
    """Return whether float16 holds each row; shape (n,)."""
    rows = values.reshape(len(values), math.prod(values.shape[1:]))  # (n, d), of no rows too
    error = rows - half.reshape(rows.shape).astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.einsum("nd,nd->n", rows, rows)
        lost = np.einsum("nd,nd->n", error, error)
        is_close = lost <= ROUNDING**2 * size
    return np.asarray(is_close & (np.abs(rows).max(axis=1, initial=0) <= LARGEST))


@dataclass(frozen=True, eq=False)
class Block:
    """The rows of one shard.

    Parameters
    ----------
    values
        Shape (rows, …), or (pieces, …) where rows are ragged.
    offsets
        Shape (rows + 1,): where each ragged row begins in `values`; None if rows are alike.
    """

    values: NDArray[np.floating]
    offsets: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, rows: NDArray[np.float32] | Sequence[NDArray[np.float32]]) -> "Block":
        """Return rows as they are kept: one array, or a list of arrays where they are ragged."""
        if isinstance(rows, np.ndarray):
            return cls(rounded(rows))
        offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
        return cls(rounded(np.concatenate(rows)), offsets)


class Cache(Protocol):
    """Where features are looked up and kept."""

    def find(self, key: str, hashes: NDArray[np.void]) -> NDArray[np.int64]:
        """Return (shard, position) of rows, shape (n, 2); -1 where one is not known.

        Their hashes are ascending, no two alike.
        """
        ...

    def add(self, key: str, block: Block, hashes: NDArray[np.void]) -> int:
        """Keep a whole shard; return its number."""
        ...

    def open(self, shard: int) -> Block:
        """Return the rows of a shard."""
        ...


class MemoryCache:
    """Features for the length of one call: nothing is written."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.places: dict[tuple[str, bytes], tuple[int, int]] = {}

    def find(self, key: str, hashes: NDArray[np.void]) -> NDArray[np.int64]:
        """Return (shard, position) of rows; -1 where one is not held yet."""
        places = [self.places.get((key, name), (-1, -1)) for name in hashes.tolist()]
        return np.array(places, dtype=np.int64).reshape(-1, 2)

    def add(self, key: str, block: Block, hashes: NDArray[np.void]) -> int:
        """Hold a shard; return its number."""
        shard = len(self.blocks)
        self.blocks.append(block)
        self.places |= {(key, name): (shard, at) for at, name in enumerate(hashes.tolist())}
        return shard

    def open(self, shard: int) -> Block:
        """Return the rows of a shard."""
        return self.blocks[shard]


#: Files checked by this process: path, hash, and `mark`.
_checked: set[tuple[str, str, tuple[int, ...]]] = set()


class FeatureCache:
    """Features on disk, each shard checked against its hash before this process first uses it.

    Parameters
    ----------
    store
        Where shards and rows are listed.
    folder
        Where their files lie.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self._files: dict[int, str] = {}
        self._whole: set[int] = set()
        self._swept: set[str] = set()

    def find(self, key: str, hashes: NDArray[np.void]) -> NDArray[np.int64]:
        """Return (shard, position) of rows; -1 where one is not known or its shard is damaged."""
        if key not in self._swept:
            sweep(self.folder / key)
            self._swept.add(key)
        places = self.store.find_rows(key, hashes)
        shards = np.unique(places[:, 0]).tolist()
        damaged = [shard for shard in shards if shard >= 0 and not self._is_whole(shard)]
        places[np.isin(places[:, 0], damaged)] = -1
        return places

    def add(self, key: str, block: Block, hashes: NDArray[np.void]) -> int:
        """Write a whole shard, then list its rows; return its number."""
        # By content too: processors round differently, and one worker's shard is not another's.
        named = hashlib.sha256(hashes.tobytes())
        named.update(np.ascontiguousarray(block.values).view(np.uint8).data)
        name = named.hexdigest()[:16]
        path = (
            self.folder / key / (f"{name}.npy" if block.offsets is None else f"{name}.safetensors")
        )
        if block.offsets is None:
            write_npy(path, block.values)
        else:
            write_safetensors(path, {"values": block.values, "offsets": block.offsets})
        sha256 = sha256_file(path)
        _checked.add(_seen(path, sha256))
        file = str(path.relative_to(self.folder))
        shard = self.store.add_shard(key, file, sha256, str(block.values.dtype), hashes.tolist())
        self._files[shard] = file
        return shard

    def open(self, shard: int) -> Block:
        """Return the rows of a shard, memory-mapped."""
        path = self.folder / self._files[shard]
        if path.suffix == ".npy":
            return Block(np.load(path, mmap_mode="r", allow_pickle=False))
        arrays, _ = read_safetensors(path)
        return Block(arrays["values"], arrays["offsets"])

    def _is_whole(self, shard: int) -> bool:
        """Return whether a shard is as it was written; forget it if not, and say so."""
        if shard in self._whole:
            return True
        entry = self.store.shard(shard)
        if entry is not None and is_intact(self.folder, entry):
            self._files[shard] = entry.file
            self._whole.add(shard)
            return True
        self.store.drop_shard(shard)
        where = f"shard {shard}" if entry is None else self.folder / entry.file
        with track("checking features") as tracked:
            tracked.note(f"Cached features were damaged or lost ({where}); computing them again.")
        return False


def is_intact(folder: Path, entry: Shard) -> bool:
    """Return whether a shard's file has its hash; one that has not is set aside as `….bad`."""
    path = folder / entry.file
    if not path.exists():
        return False
    seen = _seen(path, entry.sha256)
    if seen in _checked or sha256_file(path) == entry.sha256:
        _checked.add(seen)
        return True
    path.replace(path.with_suffix(path.suffix + ".bad"))
    return False


def _seen(path: Path, sha256: str) -> tuple[str, str, tuple[int, ...]]:
    return str(path), sha256, mark(path)
