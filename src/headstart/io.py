"""The only door for writes: whole or not at all, hashed, checked when read.

Every write goes to a temporary name on the same filesystem, is fsynced, renamed, and the folder
is fsynced: a reader sees the old bytes or the new ones, and a killed process leaves nothing that
looks finished.
"""

import errno
import fcntl
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import Busy, IntegrityError, ResourceError, UsageError
from headstart.machine import free_space_bytes, is_in_use, name_of, this_machine
from headstart.tensors import checked, header, storable, view

MANIFEST = "manifest.json"

#: What is being written is called `.NAME.MACHINE-PID-TOKEN.tmp`; older versions had no MACHINE.
_DRAFT = re.compile(r"\..+\.(?:(?P<machine>[0-9a-f]{8})-)?(?P<pid>[0-9]{1,9})-[0-9a-f]{8}\.tmp")
#: Seconds without a change after which what another machine was writing counts as left behind.
QUIET_S = 86_400.0
#: How a system says that where a folder is to go there is one.
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`."""
    with _writing(path, len(data)) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, its line ends as they are."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write plain values, arrays and paths as JSON; what is not finite becomes null."""
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

    A sealed folder that is there already is replaced; any other folder is left alone, with an
    error. If the work inside fails, `path` stays as it was.

    Raises
    ------
    IntegrityError
        Where the temporary folder was removed meanwhile, and what was written in it is lost.
    """
    path = path.absolute()
    _recover(path)
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    draft = _temporary(path)
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
    _recover(path)
    if not path.is_dir():
        raise IntegrityError(f"{path} is missing; expected a folder that Headstart saved.")
    if linked := next((p for p in path.rglob("*") if p.is_symlink() and p.is_dir()), None):
        raise IntegrityError(
            f"{linked} is a link to a folder, which no manifest covers.\nCopy what it leads to."
        )
    manifest = _manifest(path)
    there = {name for name in _files(path) if name != MANIFEST}
    for name in sorted(manifest.keys() | there):
        if reason := _difference(path, name, manifest, there):
            raise IntegrityError(
                f"{path / name} {reason}.\nThe folder is not as it was saved: "
                "copy it again from where it came from, or make it again."
            )
    return {name: str(said["sha256"]) for name, said in manifest.items()}


def is_whole(path: Path) -> bool:
    """Say whether a sealed folder is there, and as it was sealed."""
    if not path.exists():
        return False
    try:
        verify_folder(path)
    except IntegrityError:
        return False
    return True


def own(path: Path) -> IO[str]:
    """Take the lock of a file, held until the handle is closed or this process dies.

    The kernel frees it, however the process ends. The file says who has it, for people.

    Raises
    ------
    Busy
        Where another has it; the error says who.
    ResourceError
        Where the file system has no locks.
    """
    handle = path.open("a+", encoding="utf-8", errors="replace")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        with handle:
            raise Busy(
                f"{path.parent} belongs to another run ({_owner_said_in(handle)}).\n"
                "Wait for it to end, stop it, or name another folder."
            ) from error
    except OSError as error:
        handle.close()
        raise ResourceError(
            f"{path.parent} cannot be locked ({error.strerror}): two runs could write there.\n"
            "Name a folder on a file system with locks, such as a disk of this machine."
        ) from error
    handle.truncate(0)
    handle.write(f"{os.getpid()} {this_machine()}")
    handle.flush()
    return handle


def _owner_said_in(handle: IO[str]) -> str:
    """Return who has a lock; the owner of a moment ago may not have written it yet."""
    for _ in range(100):
        handle.seek(0)
        pid, _, machine = handle.read().strip().partition(" ")  # older versions said no machine
        is_elsewhere = machine not in ("", this_machine())  # where nobody here can ask
        who = f"process {pid} on {name_of(machine or this_machine())}"
        if pid.isdecimal() and not is_elsewhere and is_in_use(int(pid)):
            return who
        time.sleep(0.01)
    return who if pid.isdecimal() and is_elsewhere else "process unknown"


def sweep(folder: Path) -> None:
    """Remove what writers that no longer live have left half-written in `folder`.

    Which processes live is known on this machine alone. What another one was writing counts as
    left behind once nothing of it has changed for a day.
    """
    for draft in folder.glob(".*.tmp"):
        if _is_left(draft):
            # Moved at once: whoever writes there after all must not go on with a part of it.
            aside = _temporary(draft)
            with suppress(OSError):  # another sweep had it
                draft.rename(aside)
                remove(aside)


def is_draft(path: Path) -> bool:
    """Say whether a file or folder, or one above it, is being written: `sweep` sees to it.

    >>> is_draft(Path("a/.x.npy.1234abcd-17-0123abcd.tmp")), is_draft(Path("a/x.npy"))
    (True, False)
    """
    return any(_DRAFT.fullmatch(part) for part in path.parts)


def _is_left(draft: Path) -> bool:
    match = _DRAFT.fullmatch(draft.name)
    if match is None:
        return False
    if match["machine"] == _here():
        return not is_in_use(int(match["pid"]))
    try:
        changed = max(path.lstat().st_mtime for path in (draft, *draft.rglob("*")))
    except OSError:  # it has just been finished
        return False
    return time.time() - changed > QUIET_S


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


def _temporary(path: Path) -> Path:
    # Machine and process let a later `sweep` tell a dead writer's file from a living one's.
    writer = f"{_here()}-{os.getpid()}"
    return path.with_name(f".{path.name[:80]}.{writer}-{secrets.token_hex(4)}.tmp")


def _here() -> str:
    return sha256_bytes(this_machine().encode())[:8]


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
        _fsync_folder(folder)


def _check_made(made: int, draft: Path) -> None:
    """Refuse a draft that is not the folder that was made: a write makes a removed one again."""
    try:
        is_same = os.path.samestat(os.fstat(made), draft.stat())
    except OSError:
        is_same = False
    if not is_same:
        raise _removed(draft)


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
    """Put a draft in the place of a folder, which whoever reads it meanwhile may put back."""
    for n_left in reversed(range(10)):
        _recover(path)
        remove(_old(path))
        try:
            with suppress(FileNotFoundError):
                path.rename(_old(path))
            draft.rename(path)
            break
        except OSError as error:
            _recover(path)
            if error.errno not in _TAKEN or not n_left:
                raise
    _fsync_folder(path.parent)
    remove(_old(path))


def _recover(path: Path) -> None:
    # Left there by a process that died between the two renames of `_swap`; one that lives goes on.
    if _old(path).is_dir() and not path.exists():
        try:
            _old(path).rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, *_TAKEN):
                raise


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def remove(path: Path) -> None:
    """Remove a file or a folder; one that is gone already, or cannot go, is left."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
