"""Save: a bundle as a folder whose every byte is in its manifest."""

import dataclasses
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.bundle.card import model_card
from headstart.data.folders import home_expanded
from headstart.errors import IntegrityError
from headstart.features.compile import Graph, compiled
from headstart.io import (
    copy_file,
    sealed_folder,
    sha256_file,
    write_json,
    write_safetensors,
    write_text,
)
from headstart.machine import n_threads, versions
from headstart.sources.preprocess import TextPreprocess, preprocess_hash
from headstart.sources.source import BUNDLE_FORMAT, Source, to_json
from headstart.sources.weights import read_weights
from headstart.store.store import open_store
from headstart.task import Modality

if TYPE_CHECKING:
    from headstart.bundle.bundle import Bundle

#: The parts of a bundle's folder.
FACTS, HEAD, TRUNK, WEIGHTS, TOKENIZER, REFERENCE, CARD = (
    "bundle.json", "head.safetensors", "trunk.onnx", "trunk.safetensors", "tokenizer.json",
    "reference.safetensors", "README.md",
)  # fmt: skip

#: Formats of other files on this machine; their tensors have names, unless they match by order.
BY_NAME = ("hub", "pth")


def save(bundle: "Bundle", path: str | Path) -> Path:
    """Write the bundle as a folder whose every byte is in its manifest.

    An existing bundle at `path` is replaced, whole or not at all.
    """
    path = home_expanded(str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with sealed_folder(path) as folder:
        source = _save_weights(bundle.source, folder)
        graph = _save_trunk(bundle, folder)
        arrays, head = bundle.head.state()
        write_safetensors(folder / HEAD, arrays, {})
        if bundle.reference is not None:
            write_safetensors(folder / REFERENCE, bundle.reference.state(), {})
        facts = {
            "format": BUNDLE_FORMAT,
            "source": _card(source, folder),
            "preprocess": preprocess_hash(bundle.source.preprocess),
            "task": dataclasses.asdict(bundle.task),
            "head": head,
            "graph": None if graph is None else graph.facts(),
            "facts": bundle.facts,
            "versions": versions(),
            "threads": n_threads(),
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        write_json(folder / FACTS, facts)
        write_text(folder / CARD, model_card(bundle, facts))
    return path


def _save_trunk(bundle: "Bundle", folder: Path) -> Graph | None:
    """Put the compiled trunk, and what splits its texts, in the folder."""
    if bundle.source.modality is Modality.VECTOR:
        return None
    if isinstance(bundle.source.preprocess, TextPreprocess):
        copy_file(Path(bundle.source.preprocess.tokenizer), folder / TOKENIZER)
    graph = bundle.graph
    if graph is None:
        with open_store() as store:
            boundaries, pooled = bundle.read_at
            graph = compiled(bundle.source, boundaries, pooled=pooled, store=store)
    if graph.is_faithful:
        copy_file(graph.path, folder / TRUNK)
        graph.check(folder / TRUNK)
    return graph


def _save_weights(source: Source, folder: Path) -> Source:
    """Put weights that lie on this machine alone in the folder; return the card of what is there.

    A state dictionary and shards become one file, whose tensors are known by their names.
    """
    if "path" not in source.location:  # a package has them, or a seed
        return source
    weights, copy = Path(source.location["path"]), folder / WEIGHTS
    if weights.suffix == ".safetensors":
        copy_file(weights, copy)
        _check_copy(source, copy)
        return source
    if source.format not in BY_NAME or source.architecture.get("match") == "order":
        return source
    write_safetensors(copy, read_weights(source), {})
    return dataclasses.replace(
        source,
        format="safetensors",
        weights_sha256=sha256_file(copy),
        size_bytes=copy.stat().st_size,
    )


def _check_copy(source: Source, copy: Path) -> None:
    """Refuse weights that changed on disk since they were hashed: they are about to be sealed.

    Raises
    ------
    IntegrityError
        Where they did.
    """
    if sha256_file(copy) != source.weights_sha256:
        raise IntegrityError(
            f"{source.location['path']} is not as it was written; the model was not saved."
            "\nLoad the model again, or fit again: the weights are then read, or made, anew."
        )


def _card(source: Source, folder: Path) -> dict[str, Any]:
    """Return the source's card with the places its parts have in the folder."""
    card = to_json(source)
    if (folder / WEIGHTS).exists():
        card["location"] = {"path": WEIGHTS}
    if (folder / TOKENIZER).exists():
        card["preprocess"]["tokenizer"] = TOKENIZER
    return card
