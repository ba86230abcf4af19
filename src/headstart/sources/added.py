"""Added: sources that a person put on the shelf, a small card each in Headstart's home.

The card names a URI and pins the SHA-256 of its weights; everything else is read where the URI
leads. A URI whose weights have changed since is refused until it is added again.
"""

import contextlib
import dataclasses
import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

from headstart.errors import IntegrityError, UsageError
from headstart.io import write_text
from headstart.machine import home
from headstart.sources.fields import check_types
from headstart.sources.source import Source
from headstart.task import Modality

#: What a card of this kind says, in this order.
FIELDS = ("uri", "modality", "weights_sha256", "title", "trained_on", "license", "n_parameters",
          "size_bytes", "is_trainable", "prior")  # fmt: skip


@dataclass(frozen=True)
class Added:
    """What a person's card says of a source, without looking for its weights."""

    uri: str
    modality: Modality
    weights_sha256: str
    title: str = ""
    trained_on: str = "unknown"
    license: str = "unknown"
    n_parameters: int = 0
    size_bytes: int = 0
    is_trainable: bool = True
    prior: float = 0.0

    def told_of(self, source: Source) -> Source:
        """Return a source with what the card says of it."""
        said = {name: getattr(self, name) for name in ("title", "trained_on", "license", "prior")}
        return dataclasses.replace(source, **said)


@dataclass(frozen=True)
class Addition:
    """A source that was put on the shelf.

    Parameters
    ----------
    source
        The source, under the absolute path of what a path named.
    card
        Where its card lies.
    before
        The SHA-256 of the weights that stood under this URI already; "" if none did.
    """

    source: Source
    card: Path
    before: str = ""

    @property
    def was_there(self) -> bool:
        """Whether the same weights were on the shelf: their card is then left as it is."""
        return self.before == self.source.weights_sha256


def keep(source: Source) -> Addition:
    """Put a source on the shelf; one that is there keeps its card, and what a person wrote in it.

    Every value is written as JSON writes it, which TOML reads alike.
    """
    path = card_path(source.uri)
    made = Addition(source, path)
    with contextlib.suppress(IntegrityError):  # a card that is none is written anew
        made = dataclasses.replace(made, before=_read(path).weights_sha256 if path.exists() else "")
    if not made.was_there:
        _write(source, path)
    return made


def _write(source: Source, path: Path) -> None:
    values = {name: getattr(source, name) for name in FIELDS}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=True)}\n" for name, value in values.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(lines))


def drop(uri: str) -> bool:
    """Take a source off the shelf; return whether it was there."""
    there = _cards(uri)
    for path in there:
        path.unlink(missing_ok=True)
    return bool(there)


def absolute(uri: str) -> str:
    """Return the URI of a file or a folder by its absolute path; any other as it is.

    >>> absolute("file:/weights/../card.toml"), absolute("timm:resnet18")
    ('file:/card.toml', 'timm:resnet18')
    """
    scheme, _, name = uri.partition(":")
    is_hub = scheme in ("hf", "timm")
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # no path could be named so
        path = Path(name).expanduser()
        is_folder = is_hub and (name.startswith((".", "/", "~")) or path.is_dir())
        if name and (is_folder or scheme in ("file", "run")):
            return f"{scheme}:{path.resolve()}"
    return uri


def card_path(uri: str) -> Path:
    """Return where the card of a URI lies, or would lie."""
    name = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return home() / "sources" / "added" / f"{name}.toml"


def _cards(uri: str) -> list[Path]:
    """Return the cards of a URI that are there, however its path is spelled."""
    named = dict.fromkeys((card_path(absolute(uri)), card_path(uri)))
    return [path for path in named if path.exists()]


def added() -> tuple[Added, ...]:
    """Return what was added, by URI."""
    paths = sorted((home() / "sources" / "added").glob("*.toml"))
    return tuple(sorted((_read(path) for path in paths), key=lambda one: one.uri))


def _read(path: Path) -> Added:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        check_types(path, "", values, get_type_hints(Added))
        return Added(**values | {"modality": Modality(values["modality"])})
    except (OSError, ValueError, KeyError, TypeError, RecursionError, UsageError) as error:
        raise IntegrityError(
            f"{path} is no card of an added source: {error}.\n"
            "Remove that file, and add the source again: headstart sources add URI"
        ) from None


def as_added(source: Source) -> Source:
    """Return a source with what its added card says of it; as it is where none was added.

    Raises
    ------
    IntegrityError
        Where its weights are not those that were added.
    """
    there = _cards(source.uri)
    if not there:
        return source
    card = _read(there[0])
    if card.weights_sha256 != source.weights_sha256:
        raise IntegrityError(
            f"{source.uri} has other weights than when it was added.\n"
            f"Expected SHA-256 {card.weights_sha256}, found {source.weights_sha256}.\n"
            f"If they are the ones you want: headstart sources add {source.uri}"
        )
    return card.told_of(source)
