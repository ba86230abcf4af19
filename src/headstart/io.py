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
import shutil
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from headstart.drafts import remove, sweep, temporary
from headstart.errors import Busy, HeadstartError, IntegrityError, ResourceError, UsageError
from headstart.machine import LITTER, free_space_bytes
from headstart.tensors import checked, header, storable, view

MANIFEST = "manifest.json"

#: How a system says that where a folder is to go there is one.
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
#: What is said where a folder may not be moved.
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
#: How often a sealed folder is read that others replace meanwhile.
_N_READS = 5

T = TypeVar("T")


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`."""
    with _writing(path, len(data)) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    r"""Write `text` to `path` as UTF-8, its line ends as they are.

    What UTF-8 cannot hold, as an odd byte in a file's name, is written as JSON writes it: \udce9.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write plain values, arrays and paths as JSON; what is not finite becomes null.

    `read_json` gives texts back as they are, those too that are no UTF-8.
    """
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_npy(path: Path, array: NDArray[Any]) -> None:
    """Write one array as `.npy`; memory maps are streamed, pickles are refused."""
    plain = np.ascontiguousarray(array)
    if plain.dtype.hasobject:
        raise ValueError(f"{path}: an array of objects is a pickle (allow_pickle): refused")
    with _writing(path, plain.nbytes) as file:
        head = np.lib.format.header_data_from_array_1_0(plain.reshape(np.shape(array)))
        np.lib.format.write_array_header_1_0(file, head)
        # Not `tofile`, whose errors do not say that the disk is full.
        file.write(plain.reshape(-1).view(np.uint8).data)


def copy_file(source: Path, path: Path) -> None:
    """Copy the bytes of `source` to `path`."""
    with source.open("rb") as opened, _writing(path, source.stat().st_size) as file:
        shutil.copyfileobj(opened, file, 1 << 20)


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
    arrays = {name: storable(name, tensors[name]) for name in sorted(tensors)}
    head = header(arrays, metadata or {})
    size = len(head) + sum(array.nbytes for array in arrays.values())
    with _writing(path, size) as file:
        file.write(head)
        for array in arrays.values():
            file.write(array.reshape(-1).view(np.uint8).data)


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing; expected a JSON file there.") from error
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{path} is not JSON ({error}); it was cut short or edited. Make or copy it again."
        ) from error


def write_sealed_json(path: Path, value: Any) -> None:
    """Write JSON with a hash of it, for what is trusted without being looked at by a person."""
    kept = json.loads(json.dumps(plain(value), allow_nan=False))
    write_json(path, {"sha256": _sha256_json(kept), "value": kept})


def read_sealed_json(path: Path) -> Any:
    """Read what `write_sealed_json` wrote; a changed file is refused."""
    found = read_json(path)
    if not isinstance(found, dict) or found.get("sha256") != _sha256_json(found.get("value")):
        raise IntegrityError(f"{path} is not as it was written: it was changed. Make it again.")
    return found["value"]


def read_safetensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read (arrays by name, metadata) from a `.safetensors` file whose header has been checked.

    The arrays are copy-on-write memory maps: only what is used is read, and changing one does not
    change the file. BF16 becomes float32, exactly.
    """
    entries, metadata, start = checked(path)
    is_empty = start == path.stat().st_size
    body = (
        np.zeros(0, np.uint8)
        if is_empty
        else np.memmap(path, dtype=np.uint8, mode="c", offset=start)
    )
    return {name: view(body, entry) for name, entry in entries.items()}, metadata


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

    A sealed folder that is there already is replaced, of a link the one it leads to; any other
    folder is left alone, with an error. If the work inside fails, `path` stays as it was.

    Raises
    ------
    IntegrityError
        Where the temporary folder was removed meanwhile, and what was written in it is lost.
    """
    path = _led_to(path.absolute())
    recover(path)
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    draft = temporary(path)
    draft.mkdir()
    made = os.open(draft, os.O_RDONLY)  # while it is open, no other folder gets its number
    try:
        with _space_errors(path):
            yield draft
            _seal(draft)
            _check_made(made, draft)
            _swap(draft, path)
    except FileNotFoundError:
        _check_made(made, draft)
        raise
    finally:
        os.close(made)
        shutil.rmtree(draft, ignore_errors=True)


def verify_folder(path: Path) -> dict[str, str]:
    """Check every file of a sealed folder against its manifest; say which one is not right.

    Returns
    -------
    dict
        The SHA-256 of every file, by its path in the folder.
    """
    path = path.absolute()
    recover(path)
    if not path.is_dir():
        raise IntegrityError(f"{path} is missing; expected a folder that Headstart saved.")
    if linked := next((p for p in path.rglob("*") if p.is_symlink() and p.is_dir()), None):
        raise IntegrityError(
            f"{linked} is a link to a folder, which no manifest covers.\nCopy what it leads to."
        )
    manifest = _manifest(path)
    there = {name for name in _files(path, manifest) if name != MANIFEST}
    for name in sorted(manifest.keys() | there):
        if reason := _difference(path, name, manifest, there):
            raise IntegrityError(
                f"{path / name} {reason}.\nThe folder is not as it was saved: "
                "copy it again from where it came from, or make it again."
            )
    return {name: str(said["sha256"]) for name, said in manifest.items()}


def is_whole(path: Path) -> bool:
    """Say whether a sealed folder is there, and as it was sealed."""
    try:
        verify_folder(path)
    except IntegrityError:
        return False
    return True


def read_sealed_folder(path: Path, read: Callable[[Path], T]) -> T:
    """Return what `read` makes of a sealed folder: of one, though it is replaced meanwhile.

    Raises
    ------
    Busy
        Where it was replaced each time.
    """
    for _ in range(_N_READS):
        recover(path)
        try:
            opened = os.open(path, os.O_RDONLY)  # while it is open, no other gets its number
        except OSError:
            return read(path)  # which says what is wrong
        try:
            made = read(path)
        except (HeadstartError, OSError):
            if _is_at(opened, path):
                raise
        else:
            if _is_at(opened, path):
                return made
        finally:
            os.close(opened)
    raise Busy(
        f"{path} was replaced {_N_READS} times while it was read.\n"
        "Read it again once nobody saves there."
    )


@contextmanager
def _writing(path: Path, n_bytes: int) -> Iterator[IO[bytes]]:
    with _space_errors(path, n_bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = temporary(path)
        try:
            with draft.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            try:
                draft.replace(path)
            except FileNotFoundError as error:
                raise _removed(draft) from error
        finally:
            draft.unlink(missing_ok=True)
        _fsync_folder(path.parent)


@contextmanager
def _space_errors(path: Path, n_bytes: int | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        needed = "" if n_bytes is None else f" {n_bytes:,} bytes needed,"
        raise ResourceError(
            f"No space left to write {path}:{needed} {free_space_bytes(path):,} bytes free.\n"
            "Free some, or set HEADSTART_HOME to a folder on a larger disk. Nothing was changed."
        ) from error


def _led_to(path: Path) -> Path:
    """Return where a link leads: what took its place would leave the old bytes behind it."""
    return path.resolve() if path.is_symlink() else path


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fsync_folder(path: Path) -> None:
    try:
        _fsync(path)
    except OSError as error:  # some file systems do it of files alone: these are in place
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _sha256_json(value: Any) -> str:
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def plain(value: Any) -> Any:
    """Return a value as JSON has it: arrays are lists, paths texts, what is not finite is null."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _files(folder: Path, known: Container[str] = ()) -> list[str]:
    """Return every file below a folder by its path in it; of what others litter only the known."""
    files = {p.relative_to(folder).as_posix(): p.name for p in folder.rglob("*") if not p.is_dir()}
    return sorted(path for path, name in files.items() if name not in LITTER or path in known)


def _seal(draft: Path) -> None:
    entries = {}
    for name in _files(draft):
        file = draft / name
        _fsync(file)
        entries[name] = {"sha256": sha256_file(file), "size": file.stat().st_size}
    write_json(draft / MANIFEST, {"files": entries})
    for folder in [draft, *(path for path in draft.rglob("*") if path.is_dir())]:
        _fsync_folder(folder)


def _check_made(made: int, draft: Path) -> None:
    """Refuse a draft that is not the folder that was made: a write makes a removed one again."""
    if not _is_at(made, draft):
        raise _removed(draft)


def _is_at(opened: int, path: Path) -> bool:
    """Say whether a folder that is open is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(opened), path.stat())
    except OSError:
        return False


def _removed(draft: Path) -> IntegrityError:
    return IntegrityError(
        f"{draft} was removed while it was being written; nothing was changed.\n"
        "Do it again. The clocks of machines that share a folder must not be a day apart."
    )


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
    size, said = (path / name).stat().st_size, manifest[name].get("size")
    if size != said:
        return f"has {size:,} bytes, the manifest says {said!r}"
    return "" if sha256_file(path / name) == manifest[name].get("sha256") else "was changed"


def check_replaceable(path: Path) -> None:
    """Refuse a folder that `sealed_folder` would not replace.

    Raises
    ------
    UsageError
        Naming what is there that Headstart did not write.
    """
    if not path.exists() or (path.is_dir() and all(map(_is_litter, path.iterdir()))):
        return
    foreign = [path.name]
    if path.is_dir() and (path / MANIFEST).is_file():
        foreign = sorted({*_files(path)} - {*_manifest(path), MANIFEST})
    if foreign:
        raise UsageError(
            f"{path} exists and holds what Headstart did not write ({foreign[0]}).\n"
            "It would be replaced as a whole: choose another folder, or move it away first."
        )


def _is_litter(path: Path) -> bool:
    return path.name in LITTER and not path.is_dir()


def _swap(draft: Path, path: Path) -> None:
    """Put a draft in the place of a folder, which whoever reads it meanwhile may put back."""
    for n_left in reversed(range(10)):
        recover(path)
        remove(_old(path))
        try:
            with suppress(FileNotFoundError):
                path.rename(_old(path))
            draft.rename(path)
            break
        except OSError as error:
            recover(path)
            if error.errno not in _TAKEN or not n_left:
                raise
    _fsync_folder(path.parent)
    remove(_old(path))


def recover(path: Path) -> None:
    """Put a sealed folder back that was being replaced by a process that died half-way.

    It died between the two renames of `_swap`; one that lives goes on.
    """
    path = _led_to(path.absolute())
    if _old(path).is_dir() and not path.exists():
        try:
            _old(path).rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, *_TAKEN, *_FORBIDDEN):
                raise


def _old(path: Path) -> Path:
    return path.parent / f".{path.name}.old"
