"""Source: the card of a pretrained model."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.sources import preprocess as inputs
from headstart.sources.preprocess import Preprocess
from headstart.task import Modality

#: The format of a saved bundle's folder, which is a source too (`run:PATH`). It changes when the
#: code of yesterday could not read a bundle of today.
BUNDLE_FORMAT = 1


@dataclass(frozen=True)
class Source:
    """The card of a pretrained model: what it is, where it comes from, how it wants its input.

    Parameters
    ----------
    uri
        "timm:…", "hf:…", "pkg:…", "file:…", "run:…", "scratch:…" or "identity:".
    modality
        What it reads.
    trained_on
        The data it was trained on, for people.
    license
        An SPDX name where there is one, else a sentence.
    n_parameters
        Of the trunk, without its old head.
    weights_sha256
        The identity of the weights. For `scratch:` it also names the seed.
    preprocess
        Its own input declaration.
    format
        How the weights are stored: "safetensors", "pth", "h5", "onnx", "q4", "hub", "none".
    architecture
        What rebuilds the network: {"library": "timm", "name": …, "options": {…}},
        {"library": "transformers", "config": {…}}, or {"library": "onnx", "output": node}.
        "match" says how the weights of the file find their places: by "names" (the default) or,
        where another program wrote the file, by "order" and shape. "pooling" is "mean", "cls" or
        the part of the network that pools: "pooler", "head" or "post_layernorm".
        "normalize": whether what was pooled is divided by its length.
        "channels_last": of an ONNX output whose channels come last. "old_labels" is how many
        labels the old head has, which the file still holds.
    is_trainable
        False: frozen only (an ONNX graph).
    location
        Where the weights lie, for the reader of the format: {"package": …, "version": …,
        "file": …} or {"path": …}; for "none", {"seed": …}.
    size_bytes
        Of the weights file.
    title, homepage, citation
        For people.
    prior
        How good a first guess it is for its modality, 0 to 1; `auto` takes the highest on disk
        until the ranking has measured better.
    """

    uri: str
    modality: Modality
    preprocess: Preprocess
    weights_sha256: str
    format: str
    architecture: dict[str, Any] = field(default_factory=dict, hash=False)
    location: dict[str, str] = field(default_factory=dict, hash=False)
    is_trainable: bool = True
    trained_on: str = "unknown"
    license: str = "unknown"
    n_parameters: int = 0
    size_bytes: int = 0
    title: str = ""
    homepage: str = ""
    citation: str = ""
    prior: float = 0.0

    @property
    def is_scratch(self) -> bool:
        """Whether its weights are random."""
        return self.uri.startswith("scratch:")


def to_json(source: Source) -> dict[str, Any]:
    """Return the card as plain JSON values."""
    values = {f.name: getattr(source, f.name) for f in dataclasses.fields(source)}
    values["modality"] = source.modality.value
    values["preprocess"] = inputs.to_json(source.preprocess)
    return values


def from_json(values: dict[str, Any], folder: Path | None = None) -> Source:
    """Read back what `to_json` wrote; a relative tokenizer path is looked up in `folder`.

    >>> from headstart.sources.preprocess import VectorPreprocess
    >>> card = Source("identity:", Modality.VECTOR, VectorPreprocess(8), "", "none")
    >>> from_json(to_json(card)) == card
    True
    """
    fields = dict(values)
    fields["modality"] = Modality(fields["modality"])
    fields["preprocess"] = inputs.from_json(fields["preprocess"], folder)
    return Source(**fields)
