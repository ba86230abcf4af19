"""The only door for writes: whole or not at all, hashed, checked when read.

Every write goes to a temporary name on the same filesystem, is fsynced, renamed, and the folder
is fsynced: a reader sees the old bytes or the new ones, and a killed process leaves nothing that
looks finished.
"""

import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import IntegrityError, ResourceError, UsageError
from headstart.machine import free_space_bytes

MANIFEST = "manifest.json"

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


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`."""
    with _writing(path, len(data)) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, its line ends as they are."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write plain values, arrays and paths as JSON; what is not finite becomes null."""
    text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_npy(path: Path, array: NDArray[Any]) -> None:
    """Write one array as `.npy`; memory maps are streamed, pickles are refused."""
    with _writing(path, array.nbytes) as file:
        np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def write_safetensors(
    path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays as `.safetensors`; equal values give equal bytes.

    Parameters
    ----------
    path
        The file.
    tensors
        Arrays by name; any shape, numbers or booleans.
    metadata
        Texts by name, kept in the header.
    """
    arrays = {name: _contiguous(name, tensors[name]) for name in sorted(tensors)}
    header = _header(arrays, metadata or {})
    size = len(header) + sum(array.nbytes for array in arrays.values())
    with _writing(path, size) as file:
        file.write(header)
        for array in arrays.values():
            file.write(array.reshape(-1).view(np.uint8).data)


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing; expected a JSON file there.") from error
    except ValueError as error:
        raise IntegrityError(
            f"{path} is not JSON ({error}); it was cut short or edited. Make or copy it again."
        ) from error


def read_safetensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read (arrays by name, metadata) from a `.safetensors` file whose header has been checked.

    The arrays are copy-on-write memory maps: only what is used is read, and changing one does not
    change the file. BF16 becomes float32, exactly.
    """
    if not path.is_file():
        raise IntegrityError(f"{path} is missing; expected a .safetensors file there.")
    size = path.stat().st_size
    entries, metadata, start = _checked_header(path, size)
    if start == size:
        return {name: _view(np.zeros(0, np.uint8), *entry) for name, entry in entries.items()}, (
            metadata
        )
    body = np.memmap(path, dtype=np.uint8, mode="c", offset=start)
    return {name: _view(body, *entry) for name, entry in entries.items()}, metadata


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` in 64 hexadecimal digits.

    >>> sha256_bytes(b"abc")[:8]
    'ba7816bf'
    """
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def sealed_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; on a clean exit it becomes `path`, with a manifest of its files.

    A sealed folder that is there already is replaced; any other folder is left alone, with an
    error. If the work inside fails, `path` stays as it was.
    """
    path = path.absolute()
    _recover(path)
    _check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    draft = _temporary(path)
    draft.mkdir()
    try:
        with _space_errors(path):
            yield draft
            _seal(draft)
            _swap(draft, path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def verify_folder(path: Path) -> None:
    """Check every file of a sealed folder against its manifest; say which one is not right."""
    path = path.absolute()
    _recover(path)
    if not path.is_dir():
        raise IntegrityError(f"{path} is missing; expected a folder that Headstart saved.")
    manifest = _manifest(path)
    there = {name for name in _files(path) if name != MANIFEST}
    for name in sorted(manifest.keys() | there):
        if reason := _difference(path, name, manifest, there):
            raise IntegrityError(
                f"{path / name} {reason}.\nThe folder is not as it was saved: "
                "copy it again from where it came from, or make it again."
            )


def sweep(folder: Path) -> None:
    """Remove what writers that no longer live have left half-written in `folder`."""
    for leftover in folder.glob(".*.tmp"):
        match = re.fullmatch(r"\..+\.(\d+)-[0-9a-f]{8}\.tmp", leftover.name)
        if match and not _is_alive(int(match[1])):
            _remove(leftover)


@contextmanager
def _writing(path: Path, n_bytes: int) -> Iterator[IO[bytes]]:
    with _space_errors(path, n_bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = _temporary(path)
        try:
            with draft.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _fsync(path.parent)


@contextmanager
def _space_errors(path: Path, n_bytes: int | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        needed = "" if n_bytes is None else f" {n_bytes:,} bytes needed,"
        raise ResourceError(
            f"No space left to write {path}:{needed} {free_space_bytes(path):,} bytes free.\n"
            "Free some, or set HEADSTART_HOME to a folder on a larger disk. Nothing was changed."
        ) from error


def _temporary(path: Path) -> Path:
    # The process id lets a later `sweep` tell a dead writer's file from a living one's.
    return path.with_name(f".{path.name[:80]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _contiguous(name: str, array: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(array)
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    if little.dtype not in _CODES:
        raise UsageError(
            f"tensor {name!r} has dtype {array.dtype}; expected numbers or booleans, "
            "for example float32."
        )
    return little


def _header(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
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


def _checked_header(
    path: Path, size: int
) -> tuple[dict[str, tuple[str, list[int], int, int]], dict[str, str], int]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _HEADER_MAX_BYTES):
            raise _not_safetensors(path, f"its header claims {length:,} bytes")
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_unique)
        metadata = {str(k): str(v) for k, v in header.pop("__metadata__", {}).items()}
        entries = {name: _entry(fields) for name, fields in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _not_safetensors(path, f"its header is malformed ({error})") from error
    _check_spans(path, entries, size - 8 - length)
    return entries, metadata, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        raise ValueError("a name comes twice")
    return dict(pairs)


def _entry(fields: dict[str, Any]) -> tuple[str, list[int], int, int]:
    shape, (start, stop) = fields["shape"], fields["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, start, stop)):
        raise ValueError("shapes and offsets must be whole numbers from 0 up")
    kind = np.dtype(_DTYPES[fields["dtype"]])
    if math.prod(shape) * kind.itemsize != stop - start:
        raise ValueError(f"shape {shape} does not fill {stop - start} bytes")
    return fields["dtype"], shape, start, stop


def _check_spans(
    path: Path, entries: Mapping[str, tuple[str, list[int], int, int]], size: int
) -> None:
    end = 0
    for _, _, start, stop in sorted(entries.values(), key=lambda entry: entry[2:]):
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


def _view(
    body: NDArray[np.uint8], code: str, shape: list[int], start: int, stop: int
) -> NDArray[Any]:
    kind = np.dtype(_DTYPES[code])
    part = np.asarray(body[start:stop])
    if part.ctypes.data % kind.itemsize:
        part = part.copy()
    values = part.view(kind).reshape(shape)
    if code != "BF16":
        return values
    return (values.astype(np.uint32) << 16).view(np.float32)  # BF16 is the upper half of a float32


def _files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()
    )


def _seal(draft: Path) -> None:
    entries = {}
    for name in _files(draft):
        file = draft / name
        _fsync(file)
        entries[name] = {"sha256": sha256_file(file), "size": file.stat().st_size}
    write_json(draft / MANIFEST, {"files": entries})
    for folder in [draft, *(path for path in draft.rglob("*") if path.is_dir())]:
        _fsync(folder)


def _manifest(path: Path) -> dict[str, dict[str, Any]]:
    manifest = read_json(path / MANIFEST)
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or not all(isinstance(v, dict) for v in files.values()):
        raise IntegrityError(f"{path / MANIFEST} is not a manifest of Headstart; make it again.")
    return files


def _difference(
    path: Path, name: str, manifest: Mapping[str, Mapping[str, Any]], there: set[str]
) -> str:
    if name not in manifest:
        return "is not in the manifest"
    if name not in there:
        return "is missing"
    size = (path / name).stat().st_size
    if size != manifest[name].get("size"):
        return f"has {size:,} bytes, the manifest says {manifest[name].get('size'):,}"
    return "" if sha256_file(path / name) == manifest[name].get("sha256") else "was changed"


def _check_replaceable(path: Path) -> None:
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    foreign = [path.name]
    if path.is_dir() and (path / MANIFEST).is_file():
        foreign = sorted({*_files(path)} - {*_manifest(path), MANIFEST})
    if foreign:
        raise UsageError(
            f"{path} exists and holds what Headstart did not write ({foreign[0]}).\n"
            "It would be replaced as a whole: choose another folder, or move it away first."
        )


def _swap(draft: Path, path: Path) -> None:
    old = _old(path)
    _remove(old)
    if path.exists():
        path.rename(old)
    draft.rename(path)
    _fsync(path.parent)
    _remove(old)


def _recover(path: Path) -> None:
    # A process that died inside `_swap`, between its two renames, left the folder under this name.
    if _old(path).is_dir() and not path.exists():
        _old(path).rename(path)


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
