"""`file:` and `run:` sources: a card, a folder in the hub's layout, a saved bundle."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from headstart.errors import UnknownSource
from headstart.io import read_json, sha256_file, write_safetensors
from headstart.machine import home
from headstart.sources.card import read_card
from headstart.sources.hubs import read_folder
from headstart.sources.source import Source, from_json


def from_file(path: Path, uri: str) -> Source:
    """Return the source of a TOML card, or of a folder with config.json and weights."""
    if path.suffix == ".toml" and path.exists():
        return read_card(path, uri)
    if (path / "config.json").exists():
        return read_folder(path, uri)
    raise UnknownSource(
        f"{uri!r}: {path} is neither a card (a .toml file) nor a folder with a config.json.\n"
        "Expected one of them; for bare weights write a card, `headstart sources --help` shows one."
    )


def from_run(path: Path, uri: str) -> Source:
    """Return the trunk of a saved bundle, or of the run folder that holds one."""
    for folder in (path, path / "model"):
        if (folder / "bundle.json").exists():
            source = from_json(read_json(folder / "bundle.json")["source"], folder)
            return dataclasses.replace(source, uri=uri, location=_rooted(source.location, folder))
    raise UnknownSource(
        f"{uri!r}: {path} holds no bundle.json, nor does {path / 'model'}.\n"
        "Expected the folder of a saved run; restore it, or name another source."
    )


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
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    path = home() / "sources" / "moved" / f"{digest.hexdigest()[:32]}.safetensors"
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
