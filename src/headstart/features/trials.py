"""Trials: made-up inputs on which a compiled trunk is compared with PyTorch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.sources.preprocess import PicturePreprocess, Preprocess, TextPreprocess

if TYPE_CHECKING:
    import torch

    from headstart.sources.backbone import Backbone

#: Rows of a trial.
N_CHECKED = 4
#: Of texts, beside the length of the trace: what that took for fixed shows at others.
LENGTHS = (5, 37)

Arrays = dict[str, NDArray[Any]]


def random_inputs(backbone: "Backbone") -> Arrays:
    """Return a batch as the compiled trunk of a network reads it."""
    if isinstance(backbone.source.preprocess, PicturePreprocess):
        return noise(backbone.source.preprocess)
    return _named(backbone, backbone.example(N_CHECKED))


def other_lengths(backbone: "Backbone") -> list[Arrays]:
    """Return batches of texts of other lengths, none too long for the network; none of pictures."""
    preprocess = backbone.source.preprocess
    if not isinstance(preprocess, TextPreprocess):
        return []
    lengths = [length for length in LENGTHS if length <= preprocess.max_length]
    return [_named(backbone, backbone.example(N_CHECKED, length)) for length in lengths]


def noise(preprocess: Preprocess) -> Arrays:
    """Return pixels of the size that is declared."""
    assert isinstance(preprocess, PicturePreprocess)
    channels = 1 if preprocess.channels == "L" else 3
    shape = (N_CHECKED, preprocess.height, preprocess.width, channels)
    return {"pixels": np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)}


def _named(backbone: "Backbone", inputs: Sequence["torch.Tensor"]) -> Arrays:
    return {name: x.numpy() for name, x in zip(backbone.input_names, inputs, strict=True)}
