"""Networks: an architecture and its weights become a torch module, whole, in evaluation mode."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import HeadstartError, IntegrityError, UsageError
from headstart.extras import import_timm, import_transformers, quiet
from headstart.sources.source import Source
from headstart.sources.weights import read_weights, weights_path

COUNTER = "num_batches_tracked"  # BatchNorm's, which no inference reads

#: Keys of a configuration that name code or kernels to fetch, or another precision.
UNWANTED = {"auto_map", "architectures", "attn_implementation", "dtype", "torch_dtype"}

#: Options of timm.create_model that read other files, or the network.
REFUSED = {"pretrained", "checkpoint_path", "cache_dir", "pretrained_cfg", "pretrained_cfg_overlay"}


@contextmanager
def foreign(source: Source) -> Iterator[None]:
    """Make an error of ours of whatever the code of a library raises on a foreign declaration.

    Raises
    ------
    IntegrityError
        Where it raises anything.
    """
    try:
        yield
    except (HeadstartError, MemoryError):
        raise
    except Exception as error:
        library = source.architecture["library"]
        raise IntegrityError(
            f"{source.uri}: {library} makes no network of what is declared and of these weights: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:300]}\n{_expected(source)}"
        ) from error


def _expected(source: Source) -> str:
    if source.architecture.get("config", {}).get("is_encoder_decoder"):
        return (
            "Expected an encoder: one that has a decoder as well is not supported. Choose another "
            "source."
        )
    return (
        "Expected an architecture that the weights belong to, and options it knows: correct the "
        "card or config.json, or take other weights."
    )


def network_of(source: Source) -> nn.Module:
    """Return the network of a source without its old head.

    Random weights (`scratch:`) come from the seed the source names, and leave the global random
    state as it was.
    """
    if not source.is_trainable:
        raise UsageError(
            f"{source.uri} is frozen only: it is an ONNX graph, which PyTorch cannot train.\n"
            "Expected a trainable source. Use it with --finetune no, or choose another source."
        )
    with foreign(source), quiet(source.architecture["library"]):
        if source.format == "none":
            return _random(source).eval()
        is_timm = source.architecture["library"] == "timm"
        return (_timm(source) if is_timm else _transformers(source)).eval()


def _random(source: Source) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(source.location["seed"]))
        if source.architecture["library"] == "timm":
            return _unfilled(source)
        network = import_transformers().AutoModel.from_config(_config(source), **_pools(source))
        return _headless(network, source)


def _unfilled(source: Source) -> nn.Module:
    timm, name = import_timm(), source.architecture["name"]
    options = source.architecture.get("options", {})
    if not timm.is_model(name) or REFUSED & options.keys():
        raise UsageError(
            f"{source.uri}: the architecture {name!r} with options {sorted(options)} is refused.\n"
            f"Expected a name of timm.list_models(), and none of {', '.join(sorted(REFUSED))}."
        )
    network: nn.Module = timm.create_model(name, **options | {"num_classes": 0})
    return network


def _timm(source: Source) -> nn.Module:
    network = _unfilled(source)
    arrays = read_weights(source)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if source.architecture.get("match", "names") == "order":
        state = by_order(network.state_dict(), state, weights_path(source))
    names = network.state_dict().keys()
    own = {name: tensor for name, tensor in state.items() if name in names}
    missing = network.load_state_dict(own, strict=False).missing_keys
    _complain(source, {name for name in missing if not name.endswith(COUNTER)})
    return network


def _transformers(source: Source) -> nn.Module:
    """Return a network of `transformers`, which knows the older names of its own weights."""
    config = _config(source)
    known = import_transformers().AutoModel._model_mapping[type(config)]
    kind = known[0] if isinstance(known, tuple) else known  # the class AutoModel would make
    arrays = read_weights(source)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    loading = {"state_dict": state, "output_loading_info": True, "dtype": torch.float32}
    network, info = kind.from_pretrained(None, config=config, **loading, **_pools(source))
    unread = () if _pools(source) else ("pooler.",)
    _complain(source, {name for name in info["missing_keys"] if not name.startswith(unread)})
    return _headless(network, source)


def _pools(source: Source) -> dict[str, bool]:
    """Return the option that gives a network its pooler, where the features are what that says."""
    return {"add_pooling_layer": True} if source.architecture.get("pooling") == "pooler" else {}


def _config(source: Source) -> Any:
    given = source.architecture["config"]
    values = _declared(given)
    return import_transformers().AutoConfig.for_model(values.pop("model_type"), **values)


def _declared(values: Any) -> Any:
    """Return a configuration without what names code, kernels or files, in its parts too.

    >>> _declared({"size": 3, "text_config": {"_attn_implementation": "somebody/kernels"}})
    {'size': 3, 'text_config': {}}
    """
    if isinstance(values, list):
        return [_declared(value) for value in values]
    if not isinstance(values, dict):
        return values
    return {
        name: _declared(value)
        for name, value in values.items()
        if name not in UNWANTED and not str(name).startswith("_")
    }


def _headless(network: nn.Module, source: Source) -> nn.Module:
    """Remove a pooler that has weights: but for some, it belongs to the task of the pretraining."""
    pooler = getattr(network, "pooler", None)
    has_weights = isinstance(pooler, nn.Module) and any(True for _ in pooler.parameters())
    if has_weights and not _pools(source):
        network.pooler = None
    return network


def by_order(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], file: Path
) -> dict[str, Tensor]:
    """Return `state` under the names of `own`, matched by order; what is left at the end is a head.

    Examples
    --------
    >>> own = {"stem.weight": torch.zeros(2, 3), "stem.bias": torch.zeros(2)}
    >>> theirs = {"a": torch.ones(2, 3), "b": torch.ones(2), "old_head": torch.ones(5)}
    >>> by_order(own, theirs, Path("x"))["stem.bias"]
    tensor([1., 1.])
    """
    names = [name for name in own if not name.endswith(COUNTER)]
    given = [name for name in state if not name.endswith(COUNTER)]
    for name, theirs in zip(names, given, strict=False):
        if own[name].shape != state[theirs].shape:
            raise IntegrityError(
                f"{file}: {theirs} has shape {tuple(state[theirs].shape)}; "
                f"{name}, the next of the network, has {tuple(own[name].shape)}.\n"
                "Expected a file of the same architecture; correct architecture.name in the card."
            )
    return {name: state[theirs] for name, theirs in zip(names, given, strict=False)}


def _complain(source: Source, missing: set[str]) -> None:
    if missing:
        raise IntegrityError(
            f"{source.uri}: the weights lack {len(missing)} tensors of the network, "
            f"{', '.join(sorted(missing)[:3])} among them.\n"
            "Expected all of them; correct the architecture in the card, or take other weights."
        )
