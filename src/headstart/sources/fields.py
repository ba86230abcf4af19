"""Fields: what a card may say, of which type and in which range; all else is refused, by name."""

import difflib
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from headstart.errors import UsageError
from headstart.sources.preprocess import PicturePreprocess, TextPreprocess
from headstart.sources.source import Source
from headstart.sources.weights import READERS

REQUIRED = ("modality", "format", "location", "architecture")
LOCATIONS = ({"path"}, {"package", "version", "file"})

#: What `architecture` may say.
ARCHITECTURE = {
    "library": str,
    "name": str,
    "options": dict,
    "config": dict,
    "pooling": str,
    "normalize": bool,
    "output": str,
    "channels_last": bool,
    "match": str,
    "old_labels": int,
}
#: What it must say, by its library.
NEEDED = {"timm": "name", "transformers": "config", "onnx": "output"}
CHOICES: dict[str, tuple[str, ...]] = {
    "modality": ("image", "text"),
    "format": tuple(READERS),
    "architecture.library": tuple(NEEDED),
    "architecture.pooling": ("mean", "cls", "pooler", "head", "post_layernorm"),
    "architecture.match": ("names", "order"),
}

_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
_WORDS |= {dict: "a table", list: "a list"}


def check_card(path: Path, values: dict[str, Any]) -> None:
    """Refuse a card that cannot be right.

    Parameters
    ----------
    path
        The card, for the message.
    values
        What stands in it.

    Raises
    ------
    UsageError
        It names the field, what came and what was expected.
    """
    hints = {name: hint for name, hint in get_type_hints(Source).items() if name != "uri"}
    plain = hints | dict.fromkeys(("modality", "format"), str)
    plain |= dict.fromkeys(("location", "architecture", "preprocess"), dict)
    check_types(path, "", values, plain)
    for name in REQUIRED:
        if name not in values:
            raise UsageError(f"{path} has no {name!r}; a card needs {', '.join(REQUIRED)}.")
    check_types(path, "architecture.", values["architecture"], ARCHITECTURE)
    check_types(path, "location.", values["location"], dict.fromkeys(set().union(*LOCATIONS), str))
    _check_sha256(path, "weights_sha256", values.get("weights_sha256", ""))
    _check_preprocess(path, values["modality"], values.get("preprocess", {}))
    _check_choices(path, values)
    _check_architecture(path, values)
    if set(values["location"]) not in LOCATIONS:
        raise UsageError(
            f"{path}: location = {values['location']!r}; expected {{ path }}, of a file beside the "
            "card, or { package, version, file }."
        )


def check_types(path: Path, where: str, values: dict[str, Any], types: dict[str, Any]) -> None:
    """Refuse fields that a card does not have, and values that are none of their type."""
    for name, value in values.items():
        if name not in types:
            near = difflib.get_close_matches(name, types, n=1)
            hint = f" Did you mean {where}{near[0]}?" if near else ""
            raise UsageError(f"{path}: {where}{name} is not a field of a card.{hint}")
        wanted = get_origin(types[name]) or types[name]
        if wanted in _WORDS and not _is_a(value, wanted):
            raise UsageError(f"{path}: {where}{name} = {value!r}; expected {_WORDS[wanted]}.")


def _is_a(value: object, wanted: type) -> bool:
    """Tell whether a value of TOML is of a type; a whole number is a number, a truth is none.

    >>> _is_a(3, float), _is_a(True, int), _is_a("3", int)
    (True, False, False)
    """
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, int | float if wanted is float else wanted)


def _check_choices(path: Path, values: dict[str, Any]) -> None:
    for field, choices in CHOICES.items():
        place, _, name = field.rpartition(".")
        given = values[place] if place else values
        if name in given or field == "architecture.library":
            _check_one_of(path, field, given.get(name), choices)


def _check_one_of(path: Path, name: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse a value that is none of its choices."""
    if value not in choices:
        listed = ", ".join(map(repr, choices))
        raise UsageError(f"{path}: {name} = {value!r}; expected one of {listed}.")


def _check_sha256(path: Path, name: str, value: str) -> None:
    """Refuse what is no SHA-256; empty, it is not known."""
    if value and not re.fullmatch("[0-9a-f]{64}", value):
        raise UsageError(f"{path}: {name} = {value!r}; expected 64 digits, of 0 to 9 and a to f.")


def _check_architecture(path: Path, values: dict[str, Any]) -> None:
    architecture = values["architecture"]
    library = architecture["library"]
    if NEEDED[library] not in architecture:
        raise UsageError(f"{path}: an architecture of {library} needs {NEEDED[library]!r}.")
    if (library == "onnx") != (values["format"] == "onnx"):
        raise UsageError(
            f"{path}: format = {values['format']!r} with architecture.library = {library!r}; "
            "an ONNX file is its own architecture, and no other file is one."
        )
    if library == "transformers" and not isinstance(architecture["config"].get("model_type"), str):
        raise UsageError(f"{path}: architecture.config has no model_type, such as 'bert'.")


def _check_preprocess(path: Path, modality: str, given: dict[str, Any]) -> None:
    record = TextPreprocess if modality == "text" else PicturePreprocess
    hints = get_type_hints(record)
    types = {name: list if get_origin(hint) is tuple else hint for name, hint in hints.items()}
    check_types(path, "preprocess.", given, types)
    _check_sha256(path, "preprocess.tokenizer_sha256", given.get("tokenizer_sha256", ""))
    for name, value in given.items():
        if get_origin(hints[name]) is Literal:
            _check_one_of(path, f"preprocess.{name}", value, get_args(hints[name]))
