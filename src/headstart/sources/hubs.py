"""`timm:` and `hf:` sources: models of the Hugging Face hub, read from its cache or a folder.

What a model is, is read from its `config.json` without importing torch; names are looked up in
the hub's cache (`HF_HOME`, `HF_HUB_CACHE`), and what is not there is downloaded unless
`HF_HUB_OFFLINE` is set.
"""

import contextlib
import difflib
import math
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from headstart.errors import (
    HeadstartError,
    IntegrityError,
    SourceUnavailable,
    UnknownSource,
    UsageError,
)
from headstart.io import read_json, sha256_bytes, sha256_file
from headstart.progress import track
from headstart.sources.endings import LENGTHS, MODULES, POOLING, TOKENIZER, ending, modules, prompt
from headstart.sources.formats.hub import INDEX, shards
from headstart.sources.location import known_sha256
from headstart.sources.preprocess import PicturePreprocess, Preprocess, TextPreprocess
from headstart.sources.processors import RESAMPLING, picture_pooling, picture_preprocess
from headstart.sources.source import Source
from headstart.task import Modality
from headstart.tensors import checked

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
DECLARED = ["*.json", "README.md"]
#: What is fetched of a model; of safetensors those at its top, as nothing else is read.
WANTED = ["model*.safetensors", *DECLARED]
#: The same weights again, as a rule: fetched where a model has no others.
PICKLED = ["pytorch_model.bin"]
MOST_TOKENS = 512
PICTURES = "preprocessor_config.json"


def from_hf(name: str, uri: str) -> Source:
    """Return the source of "owner/name", "owner/name@revision" or a local folder."""
    folder = Path(name).expanduser().absolute()  # a source is found wherever the process goes
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
        _tell_guesses(folder, config, uri)
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
        return _timm(config, folder / "config.json")
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


def _timm(config: dict[str, Any], where: Path) -> dict[str, Any]:
    pretrained = config.get("pretrained_cfg", config)  # the oldest files say all at the root
    options = {key: config[key] for key in ("global_pool",) if config.get(key)}
    options |= config.get("model_args", {})
    tag = f"{pretrained['tag']}" if pretrained.get("tag") else ""
    name = config["architecture"]
    return {
        "modality": Modality.IMAGE,
        "preprocess": _timm_preprocess(pretrained, where),
        "format": "hub",
        "architecture": {"library": "timm", "name": name, "options": options}
        | ({"old_labels": int(config["num_classes"])} if config.get("num_classes") else {}),
        "license": pretrained.get("license") or "unknown",
        "trained_on": _trained_on(tag),
        "title": f"{name}.{tag}" if tag else name,
        "homepage": pretrained.get("origin_url", ""),
    }


def _timm_preprocess(config: dict[str, Any], where: Path) -> PicturePreprocess:
    channels, height, width = config.get("input_size", (3, 224, 224))
    crop_pct = config.get("crop_pct", 0.875)
    modes = {"center": "crop", "squash": "squash", "border": "pad"}
    resize = modes.get(config.get("crop_mode", "center"), "crop")
    if resize == "squash" and crop_pct != 1:
        # timm rounds what it squashes to down.
        resize, crop_pct = "squash-crop", height / math.floor(height / crop_pct)
    interpolation = config.get("interpolation") or "bicubic"
    if interpolation not in RESAMPLING.values() or (resize == "pad" and crop_pct != 1):
        raise UsageError(
            f"{where}: pictures are resized in a way that Headstart does not do: crop_mode = "
            f"{config.get('crop_mode')!r}, crop_pct = {crop_pct!r}, interpolation = "
            f"{interpolation!r}.\nExpected an interpolation of "
            f"{', '.join(RESAMPLING.values())}, and a crop_pct of 1 where crop_mode is 'border'. "
            "Choose another source, or correct the file."
        )
    return PicturePreprocess(
        height=height,
        width=width,
        resize=resize,  # type: ignore[arg-type]
        crop_pct=crop_pct,
        interpolation=interpolation,  # type: ignore[arg-type]
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

#: Networks that were trained to hide most of a picture from themselves, at random, and the same
#: network that sees it whole.
WHOLE = {"vit_mae": "vit"}


def _transformers(folder: Path, config: dict[str, Any], uri: str) -> dict[str, Any]:
    _refuse_two(folder / "config.json", config)
    config = config | {"model_type": WHOLE.get(config["model_type"], config["model_type"])}
    is_picture = _is_picture(config)
    preprocess: Preprocess
    end: dict[str, Any]
    if is_picture:
        preprocess = _picture_preprocess(folder, config)
        end = {"pooling": picture_pooling(config["model_type"], folder / "config.json")}
    else:
        preprocess, end = _text_preprocess(folder, config, uri), ending(folder)
    return {
        "modality": Modality.IMAGE if is_picture else Modality.TEXT,
        "preprocess": preprocess,
        "format": "hub",
        "architecture": {"library": "transformers", "config": config, **end},
        "title": str(config.get("_name_or_path") or folder.name),
    }


def _refuse_two(path: Path, config: dict[str, Any]) -> None:
    if "vision_config" in config:
        raise UsageError(
            f"{path} declares a network of pictures inside another one, of texts too.\n"
            "Expected one network: save its vision part alone with transformers (of CLIP "
            "CLIPVisionModel.from_pretrained(NAME).save_pretrained(FOLDER)), beside its "
            f"{PICTURES}, or choose another source."
        )


def _is_picture(config: dict[str, Any]) -> bool:
    return "num_channels" in config or "image_size" in config


def _picture_preprocess(folder: Path, config: dict[str, Any]) -> PicturePreprocess:
    path = folder / PICTURES
    return picture_preprocess(read_json(path) if path.exists() else {}, config["model_type"], path)


def _text_preprocess(folder: Path, config: dict[str, Any], uri: str) -> TextPreprocess:
    tokenizer = folder / TOKENIZER
    if not tokenizer.exists():
        raise SourceUnavailable(
            f"{uri!r}: {folder} has no tokenizer.json.\nMake one with transformers: "
            "AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)"
        )
    positions = config.get("max_position_embeddings", MOST_TOKENS)
    # RoBERTa's positions begin after the padding index
    offset = config.get("pad_token_id", 0) + 1 if "roberta" in config["model_type"] else 0
    limits = [MOST_TOKENS, positions - offset]
    sentence = folder / LENGTHS
    if sentence.exists():
        limits.append(read_json(sentence).get("max_seq_length") or MOST_TOKENS)
    digest = sha256_file(tokenizer)
    return TextPreprocess(str(tokenizer), digest, min(limits), prompt(folder))


# --- what a folder lacks ------------------------------------------------------------------------


def _declarations(folder: Path, config: Any) -> list[str]:
    """Return the files that say how a model is fed and pooled, as far as it is known of them."""
    if not isinstance(config, dict) or "model_type" not in config:
        return []  # timm says all in its configuration
    if _is_picture(config):
        return [PICTURES]
    if not (folder / MODULES).exists():
        return [TOKENIZER, MODULES]
    return [TOKENIZER, LENGTHS, *([POOLING] if "Pooling" in modules(folder) else [])]


def _fetchable(folder: Path, config: Any) -> list[str]:
    """Return the declarations that a snapshot of the hub lacks, and its repository may have."""
    if folder.parent.name != "snapshots":
        return []
    root, commit = folder.parent.parent, folder.name
    held = _listing(root / "trees" / f"{commit}.json")
    return [
        name
        for name in _declarations(folder, config)
        if not (folder / name).exists()
        and (held is None or name in held)
        and not (root / ".no_exist" / commit / name).exists()  # the hub was asked in vain
    ]


def _listing(path: Path) -> set[str] | None:
    """Return what a repository holds, as the hub's client noted it; None where it did not."""
    try:
        return set(read_json(path)["files"])
    except (IntegrityError, KeyError, TypeError):
        return None


def _tell_guesses(folder: Path, config: dict[str, Any], uri: str) -> None:
    """Say what is taken for granted in place of a file that is not there."""
    # A model of pictures has the one, and a modules.json that names a pooling comes with the other.
    due = {PICTURES, POOLING} & {*_declarations(folder, config)}
    lost = {name for name in due if not (folder / name).exists()} | {*_fetchable(folder, config)}
    if lost and not _is_looking.get():
        mean = f"the mean of at most {MOST_TOKENS} tokens is taken"
        taken = "the usual values of its kind are taken" if _is_picture(config) else mean
        with track("reading a source") as tracked:
            tracked.note(
                f"{uri}: {folder} lacks {', '.join(sorted(lost))}; {taken}, which may not be how "
                "it was trained. Download the model whole."
            )


# --- the hub's cache ----------------------------------------------------------------------------

#: Snapshots about which this process has asked the hub: it is not asked again what they lack.
_asked: set[Path] = set()

#: Whether sources are only looked at, as for a list.
_is_looking: ContextVar[bool] = ContextVar("is_looking", default=False)


@contextlib.contextmanager
def looking() -> Iterator[None]:
    """Only look at sources within: nothing is downloaded, and no guess is told."""
    token = _is_looking.set(True)
    try:
        yield
    finally:
        _is_looking.reset(token)


def why_offline() -> str:
    """Return why nothing may be downloaded; empty where it may.

    Of the two variables the second counts where the first is not set, as in huggingface_hub.
    """
    name = "HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "TRANSFORMERS_OFFLINE"
    if os.environ.get(name, "").lower() in ("1", "true", "yes", "on"):
        return f"{name} is set"
    why = "nothing is downloaded to look at it; `fit --source` and `rank` do that"
    return why if _is_looking.get() else ""


def hub_cache() -> Path:
    """Return the folder of the hub's cache, by what huggingface_hub reads, in its order."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{caches}/huggingface"
    return Path(os.path.expandvars(given or f"{home}/hub")).expanduser()


def _snapshot(name: str, uri: str) -> Path:
    """Return the folder of a model in the hub's cache; what it lacks is downloaded if it may be."""
    repository, _, revision = name.partition("@")
    cached = _cached(repository, revision or "main")
    if cached is None:
        return _fetched(repository, revision or None, uri)
    if not _has_weights(cached):
        return _fetched(repository, cached.name, uri)
    if cached in _asked or why_offline():
        return cached
    if not _fetchable(cached, read_json(cached / "config.json")):
        return cached
    _asked.add(cached)
    # It can be used as it is: where nothing can be fetched, what is guessed is told.
    with contextlib.suppress(SourceUnavailable):
        _downloaded(repository, cached.name, DECLARED, uri)
    return cached


def _fetched(repository: str, revision: str | None, uri: str) -> Path:
    """Return the folder of a snapshot, with its weights if it has any, once."""
    folder = _downloaded(repository, revision, WANTED, uri)
    if _has_weights(folder):
        return folder
    return _downloaded(repository, folder.name, PICKLED, uri)


def _has_weights(folder: Path) -> bool:
    try:
        return bool(_parts(_weights(folder, "")))
    except SourceUnavailable:
        return False


def _downloaded(repository: str, revision: str | None, wanted: list[str], uri: str) -> Path:
    """Return the folder of a snapshot; of the files wanted those that it lacks are fetched."""
    if why := why_offline():
        raise _unavailable(uri, repository, why)
    import huggingface_hub

    try:
        path = huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=wanted, cache_dir=hub_cache()
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
        f"{uri!r} is not whole on this machine and could not be fetched: "
        f"{reason.splitlines()[0]}.\n"
        f"Looked in {hub_cache()} for {repository}. Copy that folder from a machine that has it, "
        "let it be downloaded, or choose a source of `headstart sources` that is on disk."
    )
