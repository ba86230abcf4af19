"""Weights: one reader a file format; whoever reads, the file was verified just before."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.errors import HeadstartError, IntegrityError
from headstart.io import sha256_bytes, sha256_file
from headstart.sources.formats import h5, hub, onnx, pth, q4, safetensors
from headstart.sources.location import locate
from headstart.sources.source import Source

#: Arrays by name, in the order the network computes with them where the format keeps an order.
State = dict[str, NDArray[np.generic]]

#: Format → (file, its SHA-256) → arrays.
READERS: dict[str, Callable[[Path, str], State]] = {
    "safetensors": safetensors.read,
    "pth": pth.read,
    "h5": h5.read,
    "q4": q4.read,
    "hub": hub.read,
    "onnx": onnx.read,
}

#: Format → (file) → the text of a `tokenizer.json`, for formats that hold the vocabulary too.
TOKENIZERS: dict[str, Callable[[Path], str]] = {"q4": q4.tokenizer}


def read_weights(source: Source) -> State:
    """Return the arrays of a source's weights file, its SHA-256 checked first."""
    verify(source)
    return read_file(source.format, weights_path(source), source.weights_sha256)


def read_file(format: str, path: Path, sha256: str) -> State:
    """Return the arrays of a file of a known format, which may come from anybody.

    Raises
    ------
    IntegrityError
        Where it is not of that format, whatever its reader stumbled over.
    """
    with _our_errors(format, path):
        return READERS[format](path, sha256)


def read_tokenizer(format: str, path: Path) -> str:
    """Return the text of the `tokenizer.json` in a file of a format that holds it.

    Raises
    ------
    IntegrityError
        As `read_file`.
    """
    with _our_errors(format, path):
        return TOKENIZERS[format](path)


@contextmanager
def _our_errors(format: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (HeadstartError, MemoryError):
        raise
    except Exception as error:  # a file made to break its reader breaks it in any way
        raise IntegrityError(
            f"{path} cannot be read as {format}: {type(error).__name__}: {error}.\n"
            "It was cut short or changed, or is of another format: make or copy it again."
        ) from error


def weights_path(source: Source) -> Path:
    """Return the file that holds the weights; where they are sharded, its index."""
    return locate(source.location)


def verify(source: Source) -> None:
    """Check the weights against the SHA-256 of the card; random weights have nothing to check."""
    if source.format == "none":
        return
    path = weights_path(source)
    check_sha256(path, source.weights_sha256, weights_sha256(path))


def check_sha256(path: Path, expected: str, found: str) -> None:
    """Refuse weights whose SHA-256 is not the one of their card.

    Raises
    ------
    IntegrityError
        Naming both.
    """
    if found != expected:
        raise IntegrityError(
            f"{path} is not the file its card speaks of.\n"
            f"Expected SHA-256 {expected}, found {found}.\n"
            "Install or copy the weights again."
        )


def weights_sha256(path: Path) -> str:
    """Return the SHA-256 of a weights file; of an index, that of its shards' hashes."""
    if path.name.endswith(hub.INDEX):
        digests = [sha256_file(shard) for shard in hub.shards(path)]
        return sha256_bytes("".join(digests).encode())
    return sha256_file(path)
