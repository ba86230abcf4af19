"""PyTorch state dictionaries: read once, as plain tensors, then kept as safetensors."""

import io
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from headstart.drafts import remove
from headstart.errors import IntegrityError
from headstart.io import is_whole, read_safetensors, sealed_folder, write_safetensors
from headstart.machine import home
from headstart.sources.formats.opcodes import STORAGES, Refused, Storage, Strided, followed

#: What the older form of these files begins with.
MAGIC = 0x1950A86A20F9469CFC6C

#: The most that tensors which share numbers may take, in sizes of the file.
COPIES_MAX = 4

#: Where training scripts put the weights among other things.
NESTED = ("state_dict", "model_state_dict", "model", "params")


def read(path: Path, sha256: str) -> dict[str, NDArray[np.generic]]:
    """Return the arrays by name, in the order of the file.

    A `.pth` is a pickle, which is a program; it is never run (see `opcodes.py`), and read once:
    later calls read the safetensors file kept in Headstart's home.
    """
    folder = home() / "sources" / f"{sha256}.state"
    if not is_whole(folder):  # made again from the verified original
        folder.parent.mkdir(parents=True, exist_ok=True)
        _keep(folder, tensors(path))
    arrays, metadata = read_safetensors(folder / "weights.safetensors")
    return {name: arrays[name] for name in metadata["order"].split("\n")}


def _keep(folder: Path, state: dict[str, NDArray[np.generic]]) -> None:
    if not is_whole(folder):  # nor is it replaced where its manifest is damaged
        remove(folder)
    with sealed_folder(folder) as draft:
        order = {"order": "\n".join(state)}  # safetensors sorts its tensors
        write_safetensors(draft / "weights.safetensors", state, order)


def tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a state dictionary by name; what is in the file is never run.

    Raises
    ------
    IntegrityError
        Where it holds more than tensors, or is damaged.
    """
    try:
        with path.open("rb") as file:
            state, numbers = (_zipped if zipfile.is_zipfile(file) else _plain)(file)
        for name in NESTED:
            state = state[name] if isinstance(state.get(name), dict) else state
        found = {str(name): one for name, one in state.items() if isinstance(one, Strided)}
        if not all(name.isprintable() for name in found):
            raise Refused("a name that is no line of text")
        if sum(one.n_bytes for one in found.values()) > COPIES_MAX * path.stat().st_size:
            raise Refused(f"tensors of more than {COPIES_MAX} times its bytes")
        return {name: one.of(numbers[one.storage.key]) for name, one in found.items()}
    except (ValueError, KeyError, OSError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise IntegrityError(
            f"{path} holds more than tensors by name, or is damaged: {error}.\n"
            "Expected a state dictionary; save one with safetensors, or with "
            "torch.save(network.state_dict(), path)."
        ) from error


def _zipped(file: IO[bytes]) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Read today's form: an archive of the pickle and a member a storage, none compressed."""
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        sizes = {member.filename: member for member in archive.infolist()}
        inner = next(name for name in [*sizes, ""] if name.endswith("data.pkl") or not name)
        if not inner or any(one.compress_type for one in sizes.values()):
            raise Refused("an archive that is not of PyTorch's making")
        root = inner.removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in sizes and archive.read(order) != b"little":
            raise Refused("numbers of another byte order")
        state = followed(io.BytesIO(archive.read(inner)))
        numbers = {
            one.key: np.frombuffer(archive.read(f"{root}data/{one.key}"), STORAGES[one.kind])
            for one in _storages(state).values()
        }
    return state, numbers


def _plain(file: IO[bytes]) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Read the older form: five pickles, then the numbers, a storage after the other."""
    file.seek(0)
    if followed(file) != MAGIC:
        raise Refused("no file of PyTorch")
    followed(file), followed(file)  # versions and byte order
    state, keys = followed(file), followed(file)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Refused("numbers without a key")
    known = _storages(state)
    numbers = {}
    size = os.fstat(file.fileno()).st_size
    for key in keys:
        kind = STORAGES[known[key].kind]
        count = int.from_bytes(file.read(8), "little")
        values = file.read(min(count * kind.itemsize, size)) if count == known[key].count else b""
        numbers[key] = np.frombuffer(values, kind)
        if len(numbers[key]) != count:
            raise Refused(f"{len(numbers[key]):,} numbers of {count:,}: it was cut short")
    return state, numbers


def _storages(state: Any) -> dict[str, Storage]:
    """Return the storages that the tensors of a (nested) dictionary lie in, by key."""
    if not isinstance(state, dict):
        raise Refused(f"a {type(state).__name__}, not tensors by name")
    found: dict[str, Storage] = {}
    seen, left = {id(state)}, [state]  # a file can put a dictionary into itself, or twice anywhere
    while left:
        for value in left.pop().values():
            if isinstance(value, Strided):
                found[value.storage.key] = value.storage
            elif isinstance(value, dict) and id(value) not in seen:
                seen.add(id(value))
                left.append(value)
    return found
