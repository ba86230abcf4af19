"""Endings: what sentence-transformers does with the last hidden vectors, by the files it leaves.

What is not done here is refused: the vectors would not be those the model was trained to give.
"""

from pathlib import Path
from typing import Any

from headstart.errors import UsageError
from headstart.io import read_json

MODULES = "modules.json"
POOLING = "1_Pooling/config.json"
TOKENIZER = "tokenizer.json"
LENGTHS = "sentence_bert_config.json"
PROMPTS = "config_sentence_transformers.json"

KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")
KNOWN_POOLINGS = ("cls", "mean")


def ending(folder: Path) -> dict[str, Any]:
    """Return the pooling of a model, and whether it normalizes; without its files, the mean.

    Raises
    ------
    UsageError
        Where a module or a pooling is none of those known, or texts are to be lower-cased.
    """
    _refuse_lowering(folder)
    found = modules(folder)
    _refuse_unknown(folder / MODULES, "module", found, KNOWN_MODULES)
    poolings = _poolings(folder)
    _refuse_unknown(folder / POOLING, "pooling", poolings, KNOWN_POOLINGS)
    if len(poolings) > 1:
        raise UsageError(
            f"{folder / POOLING} puts poolings side by side: {', '.join(poolings)}.\n"
            f"Expected one of {', '.join(KNOWN_POOLINGS)}: choose another source."
        )
    return {"pooling": poolings[0]} | ({"normalize": True} if "Normalize" in found else {})


def modules(folder: Path) -> list[str]:
    """Return the names of a model's modules, in order; none where no file lists them."""
    path = folder / MODULES
    said = read_json(path) if path.exists() else []
    listed = said if isinstance(said, list) else [said]
    kinds = [one.get("type", "") if isinstance(one, dict) else one for one in listed]
    return [str(kind).rpartition(".")[2] for kind in kinds]


def prompt(folder: Path) -> str:
    """Return what is put before every text where none is asked for; without its file, nothing.

    Raises
    ------
    UsageError
        Where it is not among the prompts, or its tokens are to be left out of the mean.
    """
    path = folder / PROMPTS
    said = _said(path)
    name = said.get("default_prompt_name")
    prompts = {None: "", **(said.get("prompts") or {})}
    if name not in prompts:
        raise UsageError(
            f"{path} names the prompt {name!r}, which is not among its prompts.\n"
            f"Expected default_prompt_name to be null or one of {', '.join(filter(None, prompts))}."
        )
    text = str(prompts[name] or "")
    if text and _said(folder / POOLING).get("include_prompt") is False:
        raise UsageError(
            f"{folder / POOLING} leaves the prompt {name!r} out of the pooling (include_prompt), "
            "which is not done here.\nExpected include_prompt to be true, or no "
            f"default_prompt_name in {PROMPTS}: choose another source."
        )
    return text


def _said(path: Path) -> dict[str, Any]:
    return dict(read_json(path)) if path.exists() else {}


def _refuse_lowering(folder: Path) -> None:
    path = folder / LENGTHS
    if not _said(path).get("do_lower_case"):
        return
    if not _lowers(read_json(folder / TOKENIZER).get("normalizer")):
        raise UsageError(
            f"{path} has texts lower-cased before the tokenizer (do_lower_case), which is not done "
            f"here.\nExpected a {TOKENIZER} that does it itself: add {{'type': 'Lowercase'}} to "
            "its normalizer, or choose another source."
        )


def _lowers(normalizer: Any) -> bool:
    """Return whether a tokenizer's normalizer lower-cases.

    >>> _lowers({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]})
    True
    >>> _lowers({"type": "BertNormalizer", "lowercase": False}), _lowers(None)
    (False, False)
    """
    if not isinstance(normalizer, dict):
        return False
    does = normalizer.get("type") == "Lowercase" or bool(normalizer.get("lowercase"))
    return does or any(map(_lowers, normalizer.get("normalizers", [])))


def _poolings(folder: Path) -> list[str]:
    """Return the poolings a file names, as the library's fifth version does, or ticks."""
    said = _said(folder / POOLING)
    named = said.get("pooling_mode") or []
    if isinstance(named, str):
        return [named]
    ticked = [key for key, is_on in said.items() if key.startswith("pooling_mode_") and is_on]
    return [*named] or [_ticked(key) for key in ticked] or ["mean"]


def _ticked(key: str) -> str:
    """Return the pooling that a key ticks.

    >>> _ticked("pooling_mode_cls_token"), _ticked("pooling_mode_mean_sqrt_len_tokens")
    ('cls', 'mean_sqrt_len')
    """
    return key.removeprefix("pooling_mode_").removesuffix("s").removesuffix("_token")


def _refuse_unknown(path: Path, kind: str, found: list[str], known: tuple[str, ...]) -> None:
    unknown = [name for name in found if name not in known]
    if unknown:
        raise UsageError(
            f"{path} names the {kind} {unknown[0]!r}, which is not done here.\n"
            f"Expected {kind}s out of {', '.join(known)}: choose another source."
        )
