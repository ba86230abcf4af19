"""`file:` and `run:` sources: a card, weights beside a card, a hub's folder, a saved bundle."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import IntegrityError, UnknownSource
from headstart.io import (
    read_json,
    read_safetensors,
    recover,
    sha256_file,
    verify_folder,
    write_safetensors,
)
from headstart.machine import home
from headstart.sources.card import read_card
from headstart.sources.hubs import read_folder
from headstart.sources.source import BUNDLE_FORMAT, Source, from_json

#: What a person who has bare weights is shown.
EXAMPLE = """\
modality = "image"
format = "safetensors"

[location]
path = "{name}"

[architecture]
library = "timm"
name = "resnet18"

[preprocess]
height = 224
width = 224
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""


def from_file(path: Path, uri: str) -> Source:
    """Return the source of a TOML card, of weights beside one, or of a folder of the hub."""
    if path.suffix == ".toml" and path.exists():
        return read_card(path, uri)
    if (path / "config.json").exists():
        return read_folder(path, uri)
    if path.is_file():
        return _beside_card(path, uri)
    cards = sorted(path.glob("*.toml")) if path.is_dir() else []
    raise UnknownSource(
        f"{uri!r}: {path} is no card (a .toml file), no weights beside one, and no folder with a "
        "config.json.\n"
        + (f"Did you mean file:{cards[0]}?" if cards else "Correct the path, or restore the file.")
    )


def _beside_card(path: Path, uri: str) -> Source:
    """Return the source of a weights file by the card of its name, or by `card.toml` beside it."""
    own = path.with_suffix(".toml")
    for card in (own, path.with_name("card.toml")):
        if card.exists():
            source = read_card(card, uri)
            if Path(source.location.get("path", "")) == path.resolve():
                return source
    raise UnknownSource(
        f"{uri!r}: the weights alone do not say which network they belong to, nor what it reads.\n"
        f"Expected a card of this file: write {own}, for example\n\n"
        + EXAMPLE.format(name=path.name)
    )


def from_run(path: Path, uri: str) -> Source:
    """Return the trunk of a saved bundle, or of the run folder that holds one."""
    for folder in (path, path / "model"):
        recover(folder)
        if (folder / "bundle.json").exists():
            source = from_json(_verified(folder)["source"], folder)
            return dataclasses.replace(source, uri=uri, location=_rooted(source.location, folder))
    raise UnknownSource(
        f"{uri!r}: {path} holds no bundle.json, nor does {path / 'model'}.\n"
        "Expected the folder of a saved run; restore it, or name another source."
    )


def _verified(folder: Path) -> dict[str, Any]:
    """Return the facts of a saved bundle, every byte of which was checked."""
    verify_folder(folder)
    facts: dict[str, Any] = read_json(folder / "bundle.json")
    if facts.get("format") != BUNDLE_FORMAT:
        raise IntegrityError(
            f"{folder} has format {facts.get('format')!r}, this Headstart reads {BUNDLE_FORMAT}.\n"
            "Use the version that wrote it: bundle.json names it under versions."
        )
    return facts


def _rooted(location: dict[str, str], folder: Path) -> dict[str, str]:
    if "path" not in location:
        return location
    return location | {"path": str(folder / location["path"])}


def keep_weights(source: Source, backbone: Any) -> Source:
    """Return the source of a backbone whose weights moved, after writing them to Headstart's home.

    Parameters
    ----------
    source
        What the backbone was opened from.
    backbone
        The moved `Backbone`.
    """
    tensors = backbone.weights().items()
    arrays = {name: np.asarray(tensor.detach().cpu()) for name, tensor in tensors}
    path = home() / "sources" / "moved" / f"{_name_of(arrays)}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, arrays, {})
    return dataclasses.replace(
        source,
        format="safetensors",
        weights_sha256=sha256_file(path),
        size_bytes=path.stat().st_size,
        location={"path": str(path)},
        architecture=source.architecture | {"match": "names"},
    )


def is_kept_whole(path: Path) -> bool:
    """Say whether moved weights are as they were written: their name is a hash of their numbers."""
    try:
        return path.stem == _name_of(read_safetensors(path)[0])
    except IntegrityError:
        return False


def _name_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()[:32]
