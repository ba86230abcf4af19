"""Tensors: the bytes before the numbers of a `.safetensors` file, made and checked.

Every header is checked here before any use, whoever wrote the file: how long it says it is, that no
name comes twice, that the tensors fill the file with neither gap nor overlap.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.errors import IntegrityError, UsageError

#: A header larger than this is an attack or an accident: the largest real ones are under 1 MB.
_HEADER_MAX_BYTES = 25_000_000

_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "BF16": "<u2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
}
_CODES = {np.dtype(kind): code for code, kind in _DTYPES.items() if code != "BF16"}

#: The most axes a tensor may have, and the most bytes its shape may speak of.
_AXES_MAX, _BYTES_MAX = 32, 1 << 48


class Entry(NamedTuple):
    """Where the numbers of a tensor lie, and how they are to be read."""

    code: str
    shape: list[int]
    start: int
    stop: int


def storable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as it is written: little-endian, in rows.

    Raises
    ------
    UsageError
        Where it holds neither numbers nor booleans.
    """
    array = np.asarray(array)
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    if little.dtype not in _CODES:
        raise UsageError(
            f"tensor {name!r} has dtype {array.dtype}; expected numbers or booleans, "
            "for example float32."
        )
    return little


def header(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes before the numbers of `storable` arrays; equal values give equal bytes."""
    entries: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    start = 0
    for name, array in arrays.items():
        stop = start + array.nbytes
        entries[name] = {
            "dtype": _CODES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [start, stop],
        }
        start = stop
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers start aligned
    return len(text).to_bytes(8, "little") + text


def checked(path: Path) -> tuple[dict[str, Entry], dict[str, str], int]:
    """Return the entries of a file by name, its metadata, and where its numbers begin.

    Raises
    ------
    IntegrityError
        Where the file is missing, cut short, or its header cannot be right.
    """
    if not path.is_file():
        raise IntegrityError(f"{path} is missing; expected a .safetensors file there.")
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _HEADER_MAX_BYTES):
            raise _not_safetensors(path, f"its header claims {length:,} bytes")
        text = file.read(length)
    try:
        found = json.loads(text, object_pairs_hook=_unique)
        metadata = {str(k): str(v) for k, v in found.pop("__metadata__", {}).items()}
        entries = {name: _entry(fields) for name, fields in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _not_safetensors(path, f"its header is malformed ({error})") from error
    _check_spans(path, entries, size - 8 - length)
    return entries, metadata, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        raise ValueError("a name comes twice")
    return dict(pairs)


def _entry(fields: dict[str, Any]) -> Entry:
    shape, (start, stop) = fields["shape"], fields["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, start, stop)):
        raise ValueError("shapes and offsets must be whole numbers from 0 up")
    kind = np.dtype(_DTYPES[fields["dtype"]])
    if len(shape) > _AXES_MAX or math.prod(n or 1 for n in shape) * kind.itemsize > _BYTES_MAX:
        raise ValueError(f"a shape of {len(shape)} axes is beyond all measure")
    if math.prod(shape) * kind.itemsize != stop - start:
        raise ValueError(f"shape {shape} does not fill {stop - start} bytes")
    return Entry(fields["dtype"], shape, start, stop)


def _check_spans(path: Path, entries: Mapping[str, Entry], size: int) -> None:
    end = 0
    for _, _, start, stop in sorted(entries.values(), key=lambda one: (one.start, one.stop)):
        if start != end:
            raise _not_safetensors(path, "its tensors overlap or leave gaps")
        end = stop
    if end != size:
        raise _not_safetensors(path, f"its tensors need {end:,} bytes and it holds {size:,}")


def _not_safetensors(path: Path, reason: str) -> IntegrityError:
    return IntegrityError(
        f"{path} is not a whole .safetensors file: {reason}.\n"
        "It was cut short or changed: make or copy it again."
    )


def view(body: NDArray[np.uint8], entry: Entry) -> NDArray[Any]:
    """Return a tensor of the numbers' bytes; BF16 becomes float32, exactly."""
    kind = np.dtype(_DTYPES[entry.code])
    part = np.asarray(body[entry.start : entry.stop])
    if part.ctypes.data % kind.itemsize:
        part = part.copy()
    values = part.view(kind).reshape(entry.shape)
    if entry.code != "BF16":
        return values
    return (values.astype(np.uint32) << 16).view(np.float32)  # BF16 is the upper half of a float32
