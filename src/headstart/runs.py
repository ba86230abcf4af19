"""Run: a folder with one owner, and the checkpoints it resumes from."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from headstart.drafts import sweep
from headstart.errors import IntegrityError, UsageError
from headstart.io import MANIFEST, read_safetensors, write_safetensors
from headstart.lock import own

#: How many checkpoints of a name stay: the newest, and one to fall back on.
_N_KEPT = 2

#: What says that every file of a folder is accounted for: a lock would be one too many.
_SEALS = (MANIFEST, "bundle.json")


class Run:
    """A folder that belongs to one process at a time.

    Parameters
    ----------
    folder
        Made if need be. What a `with` block owns until it ends, or until the process dies.

    Raises
    ------
    UsageError
        Where it is owned though it is a saved model, or another folder that is sealed.

    Examples
    --------
    >>> import tempfile
    >>> with Run(Path(tempfile.mkdtemp())) as run:
    ...     run.checkpoint("train", {"weight": np.ones(2)}, {"step": 7})
    ...     arrays, facts = run.latest("train")
    >>> arrays["weight"], facts
    (array([1., 1.]), {'step': 7})
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self._lock: IO[str] | None = None
        self._used: set[str] = set()

    def __enter__(self) -> "Run":
        self._refuse_sealed()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = own(self.folder / ".lock")
        sweep(self.folder)
        sweep(self._checkpoints)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def checkpoint(
        self, name: str, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]
    ) -> None:
        """Write a checkpoint, whole or not at all.

        Parameters
        ----------
        name
            Of the work it belongs to: letters, digits, "-", "_" and ".".
        arrays
            Arrays by name.
        facts
            What JSON can say: counters, the state of a random generator, options.
        """
        self._used.add(name)
        number = max((int(path.stem[-8:]) for path in self._found(name)), default=0) + 1
        text = json.dumps(dict(facts), sort_keys=True)
        plain = {key: _stored(value) for key, value in arrays.items()}
        metadata = {"facts": text, "sha256": _digest(plain, text)}
        write_safetensors(self._path(name, number), plain, metadata)
        for path in self._found(name)[:-_N_KEPT]:
            path.unlink(missing_ok=True)

    def latest(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Return (arrays, facts) of the newest checkpoint that is whole, or None.

        One that is not is renamed to `….bad`, and the one before is taken.
        """
        self._used.add(name)
        for path in reversed(self._found(name)):
            try:
                return _read(path)
            except IntegrityError:
                path.replace(path.with_suffix(".bad"))
        return None

    def forget_unused(self) -> None:
        """Remove checkpoints that were neither written nor asked for since the run was owned."""
        for path in self._checkpoints.glob("*-????????.safetensors"):
            if path.name.rsplit("-", 1)[0] not in self._used:
                path.unlink(missing_ok=True)

    def forget(self, name: str) -> None:
        """Remove the checkpoints of a name."""
        for path in self._found(name):
            path.unlink(missing_ok=True)

    def _refuse_sealed(self) -> None:
        """Refuse a folder that would no longer be as it was saved."""
        found = next((name for name in _SEALS if (self.folder / name).exists()), "")
        if found:
            raise UsageError(
                f"{self.folder} is a saved model or proof (it holds {found}).\n"
                "Expected the run's folder, in which such folders lie: name the one above it, or "
                "a new one."
            )

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def _path(self, name: str, number: int) -> Path:
        return self._checkpoints / f"{name}-{number:08d}.safetensors"

    def _found(self, name: str) -> list[Path]:
        if not re.fullmatch(r"[\w.-]{1,100}", name, flags=re.ASCII):
            raise UsageError(
                f"checkpoint name {name!r}; expected at most 100 letters, digits, '-', '_' and '.'."
            )
        pattern = re.compile(re.escape(name) + r"-\d{8}\.safetensors")
        there = self._checkpoints.iterdir() if self._checkpoints.is_dir() else ()
        return sorted(path for path in there if pattern.fullmatch(path.name))


def _stored(value: NDArray[Any]) -> NDArray[Any]:
    # As it will be read back, so that both sides hash the same bytes.
    array = np.asarray(value)
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    arrays, metadata = read_safetensors(path)
    text = metadata.get("facts", "")
    if metadata.get("sha256") != _digest(arrays, text):
        raise IntegrityError(f"{path} is not as it was written; it cannot be resumed from.")
    return arrays, json.loads(text)


def _digest(arrays: Mapping[str, NDArray[Any]], text: str) -> str:
    total = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        total.update(json.dumps([name, array.dtype.str, list(array.shape)]).encode())
        total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()
