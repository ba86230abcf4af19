"""Card: a TOML file that says all Headstart needs to know of a pretrained model.

A source of a known format and library is added by writing a card; no code names a model.
"""

import dataclasses
import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from headstart.errors import SourceUnavailable, UsageError
from headstart.io import sha256_file, write_text
from headstart.machine import home
from headstart.sources.location import known_sha256, locate
from headstart.sources.preprocess import PicturePreprocess, Preprocess, TextPreprocess
from headstart.sources.source import Source
from headstart.sources.weights import READERS, TOKENIZERS
from headstart.task import Modality

FORMATS = tuple(READERS)
LIBRARIES = ("timm", "transformers", "onnx")
ARCHITECTURE = {
    "library",
    "name",
    "options",
    "config",
    "pooling",
    "output",
    "input",
    "match",
    "old_labels",
}
REQUIRED = ("modality", "format", "location", "architecture")


def read_card(path: Path, uri: str) -> Source:
    """Return the source a card describes; its weights must be on this machine."""
    values = _parsed(path)
    weights = locate(values["location"])
    values.setdefault("weights_sha256", "")
    values["weights_sha256"] = values["weights_sha256"] or known_sha256(weights)
    values.setdefault("size_bytes", weights.stat().st_size)
    preprocess = _preprocess(path, values, _tokenizer(values, weights))
    return _source(uri, values, preprocess)


def outline(path: Path, uri: str) -> Source:
    """Return what a card says without looking for the weights: for lists and for scratch."""
    values = _parsed(path)
    values.setdefault("weights_sha256", "")
    return _source(uri, values, _preprocess(path, values, None))


def _source(uri: str, values: dict[str, Any], preprocess: Preprocess) -> Source:
    fields = values | {"modality": Modality(values["modality"]), "preprocess": preprocess}
    return Source(uri=uri, **fields)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is no card: {error}.\nExpected a TOML file.") from None
    known = {field.name for field in dataclasses.fields(Source)} - {"uri"}
    _only(path, "", values, known)
    for name in REQUIRED:
        if name not in values:
            raise UsageError(f"{path} has no {name!r}; a card needs {', '.join(REQUIRED)}.")
    _only(path, "architecture.", values["architecture"], ARCHITECTURE)
    _only(path, "location.", values["location"], {"package", "version", "file", "path"})
    location = values["location"]
    if "path" in location:  # it is told from where the card lies
        location["path"] = str((path.parent / location["path"]).resolve())
    _one_of(path, "modality", values["modality"], ("image", "text"))
    _one_of(path, "format", values["format"], FORMATS)
    _one_of(path, "architecture.library", values["architecture"].get("library"), LIBRARIES)
    return values


def _only(path: Path, where: str, values: dict[str, Any], known: set[str]) -> None:
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {where}{near[0]}?" if near else ""
            raise UsageError(f"{path}: {where}{name} is not a field of a card.{hint}")


def _one_of(path: Path, name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        listed = ", ".join(map(repr, choices))
        raise UsageError(f"{path}: {name} = {value!r}; expected one of {listed}.")


def _preprocess(path: Path, values: dict[str, Any], tokenizer: Path | None) -> Preprocess:
    given = dict(values.get("preprocess", {}))
    record = TextPreprocess if values["modality"] == "text" else PicturePreprocess
    hints = get_type_hints(record)
    _only(path, "preprocess.", given, set(hints))
    for name, value in given.items():
        if get_origin(hints[name]) is Literal:
            _one_of(path, f"preprocess.{name}", value, get_args(hints[name]))
    fields: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in given.items()
    }
    if record is TextPreprocess:
        fields["tokenizer"] = "" if tokenizer is None else str(tokenizer)
        if not fields.get("tokenizer_sha256"):
            fields["tokenizer_sha256"] = "" if tokenizer is None else sha256_file(tokenizer)
    return record(**fields)


def _tokenizer(values: dict[str, Any], weights: Path) -> Path | None:
    """Return the tokenizer's file; where the weights hold it, it is written once."""
    if values["modality"] != "text":
        return None
    given = values.get("preprocess", {})
    if "tokenizer" in given:
        return locate(values["location"], given["tokenizer"])
    if values["format"] not in TOKENIZERS:
        raise SourceUnavailable(
            f"The card of {weights} names no tokenizer.\n"
            "Expected preprocess.tokenizer, the path of a tokenizer.json beside the weights."
        )
    path = home() / "sources" / f"{values['weights_sha256']}.tokenizer.json"
    if not _is_whole(path, given.get("tokenizer_sha256", "")):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, TOKENIZERS[values["format"]](weights))
    return path


def _is_whole(path: Path, sha256: str) -> bool:
    return path.exists() and (not sha256 or sha256_file(path) == sha256)
