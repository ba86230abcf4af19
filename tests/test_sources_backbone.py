"""Stages run one after another give what the whole network gives, and can be frozen and kept."""

import copy
import dataclasses
import io
import warnings

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from headstart.errors import IntegrityError, UsageError
from headstart.sources.backbone import Backbone
from headstart.sources.catalog import open_backbone, resolve
from headstart.sources.files import keep_weights
from headstart.sources.networks import network_of
from headstart.sources.preprocess import PicturePreprocess, TextPreprocess
from headstart.sources.source import Source
from headstart.sources.stages import Ending, cut
from headstart.task import Modality
from tests.toys import toy_picture_source, toy_text_source

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
WORDS = TINY | {"vocab_size": 50, "max_position_embeddings": 40}
STAGED = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_channels": 3}


def random_source(library, name, modality=Modality.IMAGE, **options):
    """Return a random network at 32 pixels, or of texts."""
    preprocess = PicturePreprocess(height=32, width=32)
    if modality is Modality.TEXT:
        preprocess = TextPreprocess("", "")
    architecture = {"library": "timm", "name": name, "options": options}
    if library == "transformers":
        pooling = "cls" if modality is Modality.IMAGE else "mean"
        config = {"model_type": name, **options}
        architecture = {"library": library, "config": config, "pooling": pooling}
    return Source(f"test:{name}", modality, preprocess, "", "none", architecture, {"seed": "0"})


SOURCES = {
    "resnet": random_source("timm", "resnet10t"),
    "vit": random_source("timm", "vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=48),
    "convnext": random_source("timm", "test_convnext"),
    "bert": random_source("transformers", "bert", Modality.TEXT, **WORDS),
    "roberta": random_source("transformers", "roberta", Modality.TEXT, **WORDS),
    "mpnet": random_source("transformers", "mpnet", Modality.TEXT, **WORDS),
    "hf-vit": random_source("transformers", "vit", image_size=32, patch_size=8, **TINY),
    "hf-resnet": random_source("transformers", "resnet", layer_type="basic", **STAGED),
}


@pytest.fixture(scope="module", params=SOURCES)
def backbone(request):
    return Backbone(SOURCES[request.param])


@pytest.fixture(scope="module")
def picture_source(tmp_path_factory):
    return resolve(toy_picture_source(tmp_path_factory.mktemp("pictures")))


def test_any_boundary_gives_the_same_features(backbone):
    inputs = backbone.example(3)
    whole = backbone(*inputs)
    assert whole.shape == (3, backbone.n_features)
    assert backbone.n_stages == len(backbone.names) > 3
    assert all(backbone.names[i] not in ("stem", "embeddings", "final") for i in backbone.blocks)
    for boundary in range(backbone.n_stages + 1):
        state = backbone.run(inputs, 0, boundary)
        assert torch.equal(backbone.run(state, boundary, backbone.n_stages)[0], whole)


def test_features_are_those_of_the_network_itself(backbone):
    inputs = backbone.example(2)
    network = network_of(backbone.source)
    with torch.no_grad():
        if backbone.source.architecture["library"] == "timm":
            expected = network(*inputs)
        elif len(inputs) == 2:
            hidden = network(input_ids=inputs[0], attention_mask=inputs[1]).last_hidden_state
            kept = inputs[1][:, :, None]
            expected = (hidden * kept).sum(1) / kept.sum(1)
        else:
            output = network(*inputs)
            pooled = output.get("pooler_output")
            expected = output.last_hidden_state[:, 0] if pooled is None else pooled.flatten(1)
        torch.testing.assert_close(backbone(*inputs), expected, rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing(backbone):
    if len(backbone.input_names) == 1:
        pytest.skip("pictures are not padded")
    ids, mask = backbone.example(2)
    more = torch.zeros((2, 4), dtype=ids.dtype)
    for at in range(1, backbone.n_stages + 1):
        short = backbone.pool(backbone.run((ids, mask), 0, at), at)
        padded = (torch.cat([ids, more + 7], 1), torch.cat([mask, more], 1))
        long = backbone.pool(backbone.run(padded, 0, at), at)
        torch.testing.assert_close(short, long, rtol=1e-4, atol=1e-5)


def test_it_exports_to_onnx_with_any_batch_and_length(backbone):
    import onnxruntime

    names, file = list(backbone.input_names), io.BytesIO()
    axes = {name: {0: "n"} if name == "pixels" else {0: "n", 1: "t"} for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about constants
        torch.onnx.export(
            backbone,
            backbone.example(2),
            file,
            dynamo=False,
            opset_version=17,
            input_names=names,
            dynamic_axes=axes,
        )
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    inputs = backbone.example(3)
    if len(inputs) == 2:
        inputs = tuple(torch.cat([tensor, tensor[:, :5]], 1) for tensor in inputs)
    feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    found = session.run(None, feed)[0]
    np.testing.assert_allclose(found, backbone(*inputs).detach(), rtol=1e-3, atol=1e-4)


class Block(torch.nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(n_in, n_out, 3)

    def forward(self, activation: torch.Tensor) -> torch.Tensor:
        return self.conv(activation).relu()


class Stemless(torch.nn.Module):
    """A network in timm's ways whose first block reads the picture itself, as LeViT's does."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = torch.nn.Sequential(Block(3, 4), Block(4, 6))

    def forward_features(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.blocks(pixels)

    def forward_head(self, activation: torch.Tensor) -> torch.Tensor:
        return activation.mean((2, 3))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(pixels))


def test_a_network_without_a_stem_is_cut_between_its_blocks():
    found = cut(Stemless().eval(), "timm", Ending(), (torch.ones(2, 3, 8, 8),))
    assert found.names == ("blocks.0", "blocks.1", "final")
    assert found.blocks == range(2)


class Drawing(Stemless):
    """A network that hides a part of the picture from itself, another one each time."""

    def forward_features(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.blocks(pixels * (torch.rand_like(pixels) > 0.5))


def test_a_network_that_says_two_things_of_one_row_is_refused():
    with pytest.raises(ValueError, match="two things of the same rows"):
        cut(Drawing().eval(), "timm", Ending(), (torch.ones(2, 3, 8, 8),))
    drawn = random_source("transformers", "vit_mae", image_size=32, patch_size=8, **TINY)
    with pytest.raises(IntegrityError, match=r"test:vit_mae.* two things of the same rows"):
        Backbone(drawn)


def test_an_encoder_with_a_decoder_is_refused():
    sizes = {"d_model": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "d_kv": 8}
    both = {"vocab_size": 50, "is_encoder_decoder": True} | sizes
    with pytest.raises(IntegrityError, match=r"input_ids(.|\n)*a decoder as well is not supported"):
        Backbone(random_source("transformers", "t5", Modality.TEXT, **both))


def test_a_network_that_loads_and_cannot_be_run_is_refused():
    wordless = random_source("transformers", "vit", Modality.TEXT, image_size=32, **TINY)
    with pytest.raises(IntegrityError, match="KeyError: 'vocab_size'"):
        Backbone(wordless)


def test_pooling_below_the_top_is_the_mean_over_places(picture_source):
    backbone = open_backbone(picture_source)
    state = backbone.run(backbone.example(2), 0, 3)
    n, channels = state[0].shape[:2]
    expected = state[0].reshape(n, channels, -1).mean(2)
    torch.testing.assert_close(backbone.pool(state, 3), expected)


def test_pooling_knows_networks_that_keep_channels_last():
    source = random_source("timm", "swin_tiny_patch4_window7_224", img_size=32, window_size=4)
    small = {"embed_dim": 12, "depths": (1, 1), "num_heads": (1, 2)}
    source.architecture["options"].update(small)
    backbone = Backbone(source)
    state = backbone.run(backbone.example(2), 0, 2)
    assert state[0].shape == (2, 8, 8, 12)
    torch.testing.assert_close(backbone.pool(state, 2), state[0].mean((1, 2)))


def test_pooling_of_texts_leaves_padding_out(tmp_path):
    backbone = open_backbone(resolve(toy_text_source(tmp_path)))
    hidden = torch.tensor([[[1.0], [3.0], [50.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert backbone.pool((hidden, mask), 2).tolist() == [[2.0]]


def test_a_stage_owns_its_weights_and_no_weight_is_in_two(backbone):
    owners = [id(p) for stage in backbone.stages for p in stage.parameters()]
    assert len(owners) == len(set(owners)) > 0


def test_the_statistics_of_batchnorm_are_those_of_the_file(picture_source):
    weights = open_backbone(picture_source).weights()
    assert weights["bn1.running_mean"].abs().max() > 0.1  # toys.py drew them from -0.5 to 0.5


def test_moved_weights_come_back_to_the_bit(picture_source, backbone):
    for source in (picture_source, backbone.source):
        opened = open_backbone(source)
        with torch.no_grad():
            for parameter in opened.parameters():
                parameter.mul_(1.01)
        kept = keep_weights(source, opened)
        again = open_backbone(kept)
        assert torch.equal(again(*opened.example(2)), opened(*opened.example(2)))
        assert keep_weights(source, opened) == kept


def test_opening_leaves_the_random_state_alone(picture_source):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    open_backbone(dataclasses.replace(picture_source, format="none", location={"seed": "1"}))
    assert torch.equal(torch.rand(1), expected)


def test_a_frozen_only_source_cannot_be_opened():
    source = dataclasses.replace(SOURCES["resnet"], is_trainable=False, format="onnx")
    with pytest.raises(UsageError, match="frozen only"):
        open_backbone(source)


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices, as accelerators do."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        leaves = tree_leaves((args, kwargs))
        devices = {x.device.type for x in leaves if isinstance(x, torch.Tensor) and x.ndim}
        assert len(devices) <= 1, f"{func} on {devices}"
        return func(*args, **(kwargs or {}))


def test_upper_stages_take_what_they_share_to_their_device(backbone):
    """What a layer reads of a stage below it is where the layer runs, though only it was moved."""
    lowest = backbone.blocks[-1]
    state = backbone.run(backbone.example(2), 0, lowest)
    upper = copy.deepcopy(backbone)
    for stage in upper.stages[lowest:]:
        stage.to("meta")  # a device as any other, which computes shapes alone
    with OneDevice():
        moved = upper.run(tuple(part.to("meta") for part in state), lowest, upper.n_stages)
    assert moved[0].shape == (2, backbone.n_features)
