"""Card: a TOML file that says all Headstart needs to know of a pretrained model.

A source of a known format and library is added by writing a card; no code names a model.
"""

import tomllib
from pathlib import Path
from typing import Any

from headstart.errors import SourceUnavailable, UsageError
from headstart.io import sha256_file, write_text
from headstart.machine import home
from headstart.sources.fields import check_card
from headstart.sources.location import known_sha256, locate
from headstart.sources.preprocess import PicturePreprocess, Preprocess, TextPreprocess
from headstart.sources.source import Source
from headstart.sources.weights import TOKENIZERS, check_sha256, read_tokenizer
from headstart.task import Modality


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
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no card: {error}.\nExpected a TOML file.") from None
    check_card(path, values)
    location = values["location"]
    if "path" in location:  # it is told from where the card lies
        location["path"] = str((path.parent / location["path"]).resolve())
    if values["format"] == "onnx":
        values["is_trainable"] = False
    return values


def _preprocess(path: Path, values: dict[str, Any], tokenizer: Path | None) -> Preprocess:
    fields: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v
        for name, v in values.get("preprocess", {}).items()
    }
    if values["modality"] == "image":
        return PicturePreprocess(**fields).check(str(path))
    fields["tokenizer"] = "" if tokenizer is None else str(tokenizer)
    if not fields.get("tokenizer_sha256"):
        fields["tokenizer_sha256"] = "" if tokenizer is None else sha256_file(tokenizer)
    return TextPreprocess(**fields).check(str(path))


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
    digest = known_sha256(weights)  # the card may say anything
    check_sha256(weights, values["weights_sha256"], digest)
    path = home() / "sources" / f"{digest}.tokenizer.json"
    if not _is_whole(path, given.get("tokenizer_sha256", "")):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, read_tokenizer(values["format"], weights))
    return path


def _is_whole(path: Path, sha256: str) -> bool:
    return path.exists() and (not sha256 or sha256_file(path) == sha256)
