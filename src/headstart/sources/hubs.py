"""`timm:` and `hf:` sources: models of the Hugging Face hub, read from its cache or a folder.

What a model is, is read from its `config.json` without importing torch; names are looked up in
the hub's cache (`HF_HOME`, `HF_HUB_CACHE`) and downloaded only if they are not there and
`HF_HUB_OFFLINE` is not set.
"""

import difflib
import math
import os
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError, SourceUnavailable, UnknownSource, UsageError
from headstart.io import read_json, sha256_bytes, sha256_file
from headstart.sources.formats.hub import INDEX, shards
from headstart.sources.location import known_sha256
from headstart.sources.preprocess import PicturePreprocess, Preprocess, TextPreprocess
from headstart.sources.source import Source
from headstart.task import Modality
from headstart.tensors import checked

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
WANTED = [*WEIGHTS, "*.json", "*.safetensors", "README.md"]
RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}
MOST_TOKENS = 512


def from_hf(name: str, uri: str) -> Source:
    """Return the source of "owner/name", "owner/name@revision" or a local folder."""
    folder = Path(name).expanduser()
    if not folder.is_dir() and (name[:1] in "./~" or name.count("/") > 1):
        raise UnknownSource(
            f"{uri!r}: there is no folder {name}.\nExpected one with a config.json, or the "
            "OWNER/NAME of a model of the hub."
        )
    return read_folder(folder if folder.is_dir() else _snapshot(name, uri), uri)


def from_timm(name: str, uri: str) -> Source:
    """Return the source of a timm name ("resnet18.a1_in1k") or a hub id ("timm/resnet18.a1_in1k").

    A name without its tag means timm's default weights, which only timm itself can tell.
    """
    if "/" not in name and "." not in name:
        name = _default_weights(name, uri)
    elif "/" not in name:
        if _cached(f"timm/{name}", "main") is None:
            _check_architecture(name.partition(".")[0], uri)
        name = f"timm/{name}"
    return from_hf(name, uri)


def _check_architecture(name: str, uri: str) -> Any:
    """Return timm, if it has an architecture of that name; else say the nearest names."""
    from headstart.extras import import_timm

    timm = import_timm()
    if not timm.is_model(name):
        known = timm.list_models()
        near = difflib.get_close_matches(name, known, n=3) or timm.list_models(f"*{name}*")[:3]
        raise UnknownSource(
            f"{uri!r}: timm has no model {name!r}.\nExpected one of timm.list_models()"
            + (f", for example {', '.join(f'timm:{one}' for one in near)}." if near else ".")
        )
    return timm


def _default_weights(name: str, uri: str) -> str:
    config = _check_architecture(name, uri).models.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise SourceUnavailable(
            f"{uri!r}: timm has no weights on the hub for {name!r}.\n"
            "Expected a model with weights; for random ones build 'scratch:' of another source."
        )
    return str(config.hf_hub_id)


def read_folder(folder: Path, uri: str) -> Source:
    """Return the source of a folder with a `config.json` of timm or of transformers."""
    config = read_json(folder / "config.json")
    refuse_code(config, folder / "config.json")
    weights = _weights(folder, uri)
    try:
        facts = _facts(folder, config, uri)
        facts["preprocess"].check(str(folder))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, HeadstartError):
            raise
        raise UsageError(
            f"{folder}: its configuration cannot be understood: {type(error).__name__}: {error}.\n"
            "Expected config.json and the files beside it as timm or transformers save them."
        ) from error
    return Source(
        uri=uri,
        weights_sha256=identity(weights),
        location={"path": str(weights)},
        size_bytes=sum(path.stat().st_size for path in _parts(weights)),
        n_parameters=_n_parameters(weights),
        **facts,
    )


def _facts(folder: Path, config: dict[str, Any], uri: str) -> dict[str, Any]:
    if "model_type" in config:
        return _transformers(folder, config, uri)
    if "architecture" in config:
        return _timm(config)
    raise UsageError(
        f"{folder / 'config.json'} has neither 'model_type' nor 'architecture'.\n"
        "Expected the configuration of a transformers or of a timm model."
    )


#: What configurations of several libraries name code to import with.
CODE = ("auto_map", "custom_pipelines", "_target_", "class_path", "py/object")


def refuse_code(config: Any, path: Path) -> None:
    """Refuse a configuration that names code to import, however deep it stands.

    Raises
    ------
    UsageError
        Where it does.
    """
    inner = config.values() if isinstance(config, dict) else config
    for name in CODE if isinstance(config, dict) else ():
        if name in config:
            raise UsageError(
                f"{path} names code to import ({name}), which Headstart never does.\n"
                "Expected a model that transformers or timm know themselves: save it again "
                "without that line if they do, or choose another source."
            )
    for value in inner if isinstance(config, dict | list) else ():
        refuse_code(value, path)


# --- what a folder holds ------------------------------------------------------------------------


def _weights(folder: Path, uri: str) -> Path:
    for name in WEIGHTS:
        if (folder / name).exists():
            return folder / name
    raise SourceUnavailable(
        f"{uri!r}: {folder} holds no weights.\nExpected one of {', '.join(WEIGHTS)}; "
        "download or save the model again with safe_serialization=True."
    )


def _parts(weights: Path) -> list[Path]:
    if not weights.name.endswith(INDEX):
        return [weights]
    found = shards(weights)
    missing = [path.name for path in found if not path.is_file()]
    if missing or not found:
        raise SourceUnavailable(
            f"{weights} names {', '.join(missing[:3]) or 'no file'}, which is not beside it.\n"
            "Expected every shard in the same folder: download or copy the model again."
        )
    return found


def identity(weights: Path) -> str:
    """Return the SHA-256 of the weights; of several shards, that of their hashes.

    In the hub's cache a large file is a link to a blob whose name is its SHA-256.
    """
    digests = [_blob_sha256(path) or known_sha256(path) for path in _parts(weights)]
    if not weights.name.endswith(INDEX):
        return digests[0]
    return sha256_bytes("".join(digests).encode())


def _blob_sha256(path: Path) -> str | None:
    target = path.resolve()
    is_blob = path.is_symlink() and target.parent.name == "blobs" and len(target.name) == 64
    return target.name if is_blob else None


def _n_parameters(weights: Path) -> int:
    """Return how many numbers the floating tensors of safetensors files hold, by their headers."""
    total = 0
    for path in _parts(weights):
        if path.suffix != ".safetensors":
            return 0
        entries, _, _ = checked(path)
        total += sum(math.prod(entry.shape) for entry in entries.values() if "F" in entry.code)
    return total


# --- timm ---------------------------------------------------------------------------------------


def _timm(config: dict[str, Any]) -> dict[str, Any]:
    pretrained = config.get("pretrained_cfg", {})
    options = {key: config[key] for key in ("global_pool",) if config.get(key)}
    options |= config.get("model_args", {})
    tag = f"{pretrained['tag']}" if pretrained.get("tag") else ""
    name = config["architecture"]
    return {
        "modality": Modality.IMAGE,
        "preprocess": _timm_preprocess(pretrained),
        "format": "hub",
        "architecture": {"library": "timm", "name": name, "options": options}
        | ({"old_labels": int(config["num_classes"])} if config.get("num_classes") else {}),
        "license": pretrained.get("license") or "unknown",
        "trained_on": _trained_on(tag),
        "title": f"{name}.{tag}" if tag else name,
        "homepage": pretrained.get("origin_url", ""),
    }


def _timm_preprocess(config: dict[str, Any]) -> PicturePreprocess:
    channels, height, width = config.get("input_size", (3, 224, 224))
    modes = {"center": "crop", "squash": "squash", "border": "pad"}
    interpolation = config.get("interpolation", "bicubic")
    return PicturePreprocess(
        height=height,
        width=width,
        resize=modes.get(config.get("crop_mode", "center"), "crop"),  # type: ignore[arg-type]
        crop_pct=config.get("crop_pct", 0.875),
        interpolation=interpolation if interpolation in RESAMPLING.values() else "bicubic",
        mean=tuple(config.get("mean", (0.485, 0.456, 0.406))),
        std=tuple(config.get("std", (0.229, 0.224, 0.225))),
        channels="RGB" if channels == 3 else "L",
    )


def _trained_on(tag: str) -> str:
    """Return the data a timm tag speaks of, the last word being what came last.

    >>> _trained_on("a1_in1k"), _trained_on("augreg_in21k_ft_in1k"), _trained_on("")
    ('ImageNet-1k', 'ImageNet-21k, then ImageNet-1k', 'unknown')
    """
    names = {"in1k": "ImageNet-1k", "in21k": "ImageNet-21k", "in22k": "ImageNet-22k"}
    names |= {"in12k": "ImageNet-12k", "laion2b": "LAION-2B", "openai": "OpenAI's pictures"}
    return ", then ".join(names[word] for word in tag.split("_") if word in names) or "unknown"


# --- transformers -------------------------------------------------------------------------------


def _transformers(folder: Path, config: dict[str, Any], uri: str) -> dict[str, Any]:
    is_picture = "num_channels" in config or "image_size" in config
    preprocess: Preprocess
    ending: dict[str, Any]
    if is_picture:
        preprocess, ending = _picture_preprocess(folder), {"pooling": "cls"}
    else:
        preprocess, ending = _text_preprocess(folder, config, uri), _ending(folder)
    return {
        "modality": Modality.IMAGE if is_picture else Modality.TEXT,
        "preprocess": preprocess,
        "format": "hub",
        "architecture": {"library": "transformers", "config": config, **ending},
        "title": str(config.get("_name_or_path") or folder.name),
    }


def _ending(folder: Path) -> dict[str, Any]:
    """Return what sentence-transformers does with the last hidden vectors; without its files, mean.

    Its fifth version names the pooling where older ones ticked it.
    """
    path = folder / "1_Pooling" / "config.json"
    said = read_json(path) if path.exists() else {}
    is_cls = said.get("pooling_mode") == "cls" or said.get("pooling_mode_cls_token", False)
    modules = folder / "modules.json"
    kinds = [str(m.get("type", "")) for m in read_json(modules)] if modules.exists() else []
    is_unit = any(kind.rpartition(".")[2] == "Normalize" for kind in kinds)
    return {"pooling": "cls" if is_cls else "mean"} | ({"normalize": True} if is_unit else {})


def _text_preprocess(folder: Path, config: dict[str, Any], uri: str) -> TextPreprocess:
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.exists():
        raise SourceUnavailable(
            f"{uri!r}: {folder} has no tokenizer.json.\nMake one with transformers: "
            "AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)"
        )
    positions = config.get("max_position_embeddings", MOST_TOKENS)
    # RoBERTa's positions begin after the padding index
    offset = config.get("pad_token_id", 0) + 1 if "roberta" in config["model_type"] else 0
    limits = [MOST_TOKENS, positions - offset]
    sentence = folder / "sentence_bert_config.json"
    if sentence.exists():
        limits.append(read_json(sentence).get("max_seq_length") or MOST_TOKENS)
    digest = sha256_file(tokenizer)
    return TextPreprocess(str(tokenizer), digest, max_length=min(limits))


def _picture_preprocess(folder: Path) -> PicturePreprocess:
    path = folder / "preprocessor_config.json"
    values = read_json(path) if path.exists() else {}
    size = values.get("size", 224)
    size = size if isinstance(size, dict) else {"height": size, "width": size}
    crop = values.get("crop_size") if values.get("do_center_crop") else None
    crop = crop if isinstance(crop, dict | None) else {"height": crop, "width": crop}
    short = size.get("shortest_edge", size.get("height", 224))
    target = crop or {"height": size.get("height", short), "width": size.get("width", short)}
    is_cut = "shortest_edge" in size
    normal = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}
    mean, std = (tuple(values.get(key, default)) for key, default in normal.items())
    return PicturePreprocess(
        height=target["height"],
        width=target["width"],
        resize="crop" if is_cut or crop else "squash",
        crop_pct=values.get("crop_pct", target["height"] / short),
        interpolation=RESAMPLING.get(values.get("resample", 2), "bilinear"),  # type: ignore[arg-type]
        scale=values.get("rescale_factor", 1 / 255),
        mean=mean,
        std=std,
    )


# --- the hub's cache ----------------------------------------------------------------------------


def hub_cache() -> Path:
    """Return the folder of the hub's cache, as huggingface_hub finds it."""
    if "HF_HUB_CACHE" in os.environ:
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    return Path(home).expanduser() / "hub"


def _snapshot(name: str, uri: str) -> Path:
    """Return the folder of a model in the hub's cache, downloaded if it may be."""
    repository, _, revision = name.partition("@")
    cached = _cached(repository, revision or "main")
    if cached is not None:
        return cached
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        raise _unavailable(uri, repository, "HF_HUB_OFFLINE is set")
    import huggingface_hub

    try:
        path = huggingface_hub.snapshot_download(
            repository, revision=revision or None, allow_patterns=WANTED
        )
    except Exception as error:  # the client raises its own kinds, and those of its HTTP library
        raise _unavailable(uri, repository, f"{type(error).__name__}: {error}") from error
    return Path(path)


def _cached(repository: str, revision: str) -> Path | None:
    folder = hub_cache() / f"models--{repository.replace('/', '--')}"
    reference = folder / "refs" / revision
    commit = reference.read_text(encoding="ascii").strip() if reference.is_file() else revision
    snapshot = folder / "snapshots" / commit
    return snapshot if (snapshot / "config.json").exists() else None


def _unavailable(uri: str, repository: str, reason: str) -> SourceUnavailable:
    return SourceUnavailable(
        f"{uri!r} is not on this machine and could not be fetched: {reason.splitlines()[0]}.\n"
        f"Looked in {hub_cache()} for {repository}. Copy that folder from a machine that has it, "
        "or choose a source of `headstart sources` that is on disk."
    )
