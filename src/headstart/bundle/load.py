"""Load: a saved bundle, every byte of it checked first."""

import dataclasses
from pathlib import Path
from typing import Any

from headstart.bundle.bundle import Bundle
from headstart.bundle.save import FACTS, HEAD, REFERENCE, TRUNK, WEIGHTS
from headstart.checks.shift import Reference
from headstart.data.folders import home_expanded
from headstart.errors import HeadstartError, IntegrityError, UsageError
from headstart.features.compile import Graph, Seen
from headstart.heads.head import Head, head_from
from headstart.io import read_json, read_safetensors, read_sealed_folder, recover, verify_folder
from headstart.sources.location import mark
from headstart.sources.preprocess import preprocess_hash
from headstart.sources.source import BUNDLE_FORMAT, Source, from_json
from headstart.task import Kind, Task


def load(path: str | Path) -> Bundle:
    """Read a saved bundle; every byte is checked first.

    Where another process saves to the folder meanwhile, all that is read is of one of both.

    Parameters
    ----------
    path
        The bundle's folder, or the run's folder it lies in.

    Raises
    ------
    IntegrityError
        Where a file is missing, changed, or not the bundle's; or another version wrote it.
    UsageError
        Where there is no bundle.
    Busy
        Where others save there without a pause.
    """
    # Parts are opened when they are asked for, wherever the process then stands.
    return read_sealed_folder(_folder_of(home_expanded(str(path))).absolute(), _loaded)


def _loaded(folder: Path) -> Bundle:
    trunk = mark(folder / TRUNK)  # first: what is put there from here on is not what was checked
    hashes = verify_folder(folder)
    facts = read_json(folder / FACTS)
    try:
        _check_format(folder, facts)
        return _read(folder, facts, Seen(trunk, hashes.get(TRUNK, "")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, HeadstartError):
            raise
        raise IntegrityError(
            f"{folder / FACTS} is no description of a model: {type(error).__name__}: {error}.\n"
            "Save the model again, or restore the folder."
        ) from error


def _check_format(folder: Path, facts: dict[str, Any]) -> None:
    if facts.get("format") != BUNDLE_FORMAT:
        raise IntegrityError(
            f"{folder} has format {facts.get('format')!r}, this Headstart reads {BUNDLE_FORMAT}.\n"
            "Load it with the version that wrote it: bundle.json names it under versions."
        )


def _read(folder: Path, facts: dict[str, Any], trunk: Seen) -> Bundle:
    source = from_json(facts["source"], folder)
    if "path" in source.location and (folder / WEIGHTS).exists():
        source = dataclasses.replace(source, location={"path": str(folder / WEIGHTS)})
    _check_inside(folder, source)
    if preprocess_hash(source.preprocess) != facts["preprocess"]:
        raise IntegrityError(
            f"The preprocessing in {folder} is not the one the head learned with.\n"
            "Save the model again, or restore the folder."
        )
    return Bundle(source, _task(facts["task"]), _head(folder, facts), facts["facts"],
                  _graph(folder, facts, trunk), _reference(folder))  # fmt: skip


def _folder_of(path: Path) -> Path:
    for folder in (path, path / "model"):
        recover(folder)
        if (folder / FACTS).exists() or (folder / "manifest.json").exists():
            return folder
    raise UsageError(
        f"{path} holds no model.\nExpected the folder that `headstart fit` named under "
        "'model', or the run's folder above it."
    )


def _check_inside(folder: Path, source: Source) -> None:
    """Refuse a tokenizer that lies outside the folder, where no manifest covers it."""
    named = Path(getattr(source.preprocess, "tokenizer", folder))
    if not named.resolve().is_relative_to(folder.resolve()):
        raise IntegrityError(f"{folder / FACTS} names {named}, which is not in the folder.")


def _task(values: dict[str, Any]) -> Task:
    return Task(Kind(values["kind"]), tuple(values["labels"]), values["target"])


def _head(folder: Path, facts: dict[str, Any]) -> Head:
    arrays, _ = read_safetensors(folder / HEAD)
    return head_from(arrays, facts["head"])


def _reference(folder: Path) -> Reference | None:
    path = folder / REFERENCE
    return Reference.from_state(read_safetensors(path)[0]) if path.exists() else None


def _graph(folder: Path, facts: dict[str, Any], trunk: Seen) -> Graph | None:
    if facts["graph"] is None:
        return None
    return dataclasses.replace(Graph.of(facts["graph"], folder / TRUNK), seen=trunk)
