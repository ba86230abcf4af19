"""The vector of a picture is the one that the model's own classifier reads."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from headstart.errors import IntegrityError, UsageError
from headstart.extras import import_transformers
from headstart.features.compile import relative_error
from headstart.features.engine import TorchEngine, engine_for
from headstart.sources.catalog import open_backbone, resolve
from headstart.sources.processors import PROCESSORS

VIT = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
FOUR = {"hidden_sizes": [8, 8, 8, 16], "depths": [1, 1, 1, 1]}
HEADS = {"num_attention_heads": [1, 1, 1, 2]}
WINDOWS = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1]}
VITS = {"image_size": 64, "hidden_sizes": [16, 16, 16], "num_attention_heads": 2}
HIERA = {
    "image_size": [64, 64],
    "embed_dim": 8,
    "depths": [1, 1, 1],
    "num_heads": [1, 1, 2],
    "num_query_pool": 2,
    "masked_unit_size": [4, 4],
}
#: Of each kind a network as small as it can be.
KINDS = {
    "beit": VIT,
    "bit": FOUR | {"embedding_size": 8, "num_groups": 1},
    "chinese_clip_vision_model": VIT,
    "clip_vision_model": VIT,
    "convnext": FOUR,
    "convnextv2": FOUR,
    "data2vec-vision": VIT,
    "deit": VIT,
    "dinov2": VIT,
    "dinov2_with_registers": VIT,
    "dinov3_convnext": FOUR,
    "dinov3_vit": VIT,
    "focalnet": WINDOWS
    | {"focal_levels": [1, 1], "focal_windows": [3, 3], "hidden_sizes": [8, 16]},
    "hiera": HIERA,
    "ijepa": VIT,
    "mobilenet_v1": {"depth_multiplier": 0.25},
    "mobilenet_v2": {"depth_multiplier": 0.25},
    "mobilevit": VITS | {"neck_hidden_sizes": [8, 8, 8, 8, 8, 16, 32]},
    "mobilevitv2": {"image_size": 64, "width_multiplier": 0.25},
    "pvt": FOUR | HEADS | {"image_size": 64},
    "pvt_v2": FOUR | HEADS | {"image_size": 64},
    "regnet": FOUR | {"embedding_size": 8, "groups_width": 8},
    "resnet": FOUR | {"embedding_size": 8, "layer_type": "basic"},
    "segformer": FOUR | HEADS,
    "siglip_vision_model": VIT,
    "swin": WINDOWS | {"num_heads": [1, 2], "window_size": 4},
    "swinv2": WINDOWS | {"num_heads": [1, 2], "window_size": 4},
    "vit": VIT,
    "vit_msn": VIT,
}
#: Whose classifier reads the mean of all tokens beside the first, which is what is taken here.
ONLY_FIRST = ("dinov2", "dinov2_with_registers")
#: Without a classifier of pictures: their pooled output is what texts are compared with.
POOLED = (
    "chinese_clip_vision_model",
    "clip_vision_model",
    "dinov3_convnext",
    "dinov3_vit",
    "siglip_vision_model",
)


def saved(folder, name: str) -> torch.nn.Module:
    """Save a random network of a kind, with its classifier if it has one, and return it."""
    transformers = import_transformers()
    config = transformers.AutoConfig.for_model(
        name, **KINDS.get(name, VIT), num_labels=3, architectures=[]
    )
    auto = "AutoModel" if name in POOLED else "AutoModelForImageClassification"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = getattr(transformers, auto).from_config(config).eval()
        for parameter in network.parameters():  # norms as well, which are born as the identity
            parameter.data += 0.1 * torch.randn_like(parameter)
    network.save_pretrained(folder)
    size = np.ravel(KINDS.get(name, VIT).get("image_size", 32))[0]
    said = {"image_processor_type": "ViTImageProcessor", "size": int(size)}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return network


def read_by_the_head(network: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Return what the classifier of a network reads, or its pooled output if it has none."""
    read = []
    for module in network.modules():
        if isinstance(module, torch.nn.Linear) and module.out_features == 3:
            module.register_forward_pre_hook(lambda _, given: read.append(given[0].flatten(1)))
    with torch.no_grad():
        said = network(pixels)
    return read[-1] if read else said.pooler_output.flatten(1)


@pytest.mark.parametrize("name", KINDS)
def test_the_vector_is_what_the_models_own_head_reads(name, tmp_path):
    network = saved(tmp_path, name)
    backbone = open_backbone(resolve(f"hf:{tmp_path}"))
    wanted = read_by_the_head(network, *backbone.example(2))
    with torch.no_grad():
        found = backbone(*backbone.example(2))
    if name in ONLY_FIRST:
        wanted = wanted[:, : found.shape[1]]
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_of_every_kind_that_is_known_the_vector_is_compared():
    known = {kind for one in PROCESSORS.values() for kind in one.models}
    not_comparable = {"dinat", "swiftformer"}  # needs another library; norms in its head alone
    assert known == {*KINDS} | not_comparable


def test_a_network_with_a_pooler_is_cut_compiled_and_kept(tmp_path):
    saved(tmp_path, "beit")
    source = resolve(f"hf:{tmp_path}")
    backbone = open_backbone(source)
    owners = [id(p) for stage in backbone.stages for p in stage.parameters()]
    assert len(owners) == len(set(owners)) and backbone.n_stages == 4
    engine = engine_for(source)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    again = TorchEngine(source, None, True, device="cpu")
    inputs = {"pixels": pixels}
    assert engine.name == "onnxruntime"
    assert relative_error(engine.run(inputs), again.run(inputs)) <= 1e-4


def test_a_pooler_that_the_weights_lack_is_not_made_up(tmp_path):
    network = saved(tmp_path, "beit")
    state = {name: x for name, x in network.state_dict().items() if "pooler" not in name}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IntegrityError, match=r"lack 2 tensors .*pooler\.layernorm"):
        open_backbone(resolve(f"hf:{tmp_path}"))


def test_a_kind_whose_vector_is_not_known_is_refused(tmp_path):
    saved(tmp_path, "vit")
    changed(tmp_path / "config.json", model_type="yolos")
    with pytest.raises(
        UsageError, match=r"the head of a yolos reads is not known(.|\n)*one of beit, bit"
    ):
        resolve(f"hf:{tmp_path}")


def test_a_masked_autoencoder_sees_the_whole_picture(tmp_path):
    transformers = import_transformers()
    config = transformers.ViTMAEConfig(**VIT, mask_ratio=0.75)
    network = transformers.ViTMAEModel(config).eval()
    network.save_pretrained(tmp_path)
    said = {"image_processor_type": "ViTImageProcessor", "size": 32}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    backbone = open_backbone(resolve(f"hf:{tmp_path}"))
    (pixels,) = backbone.example(2)
    network.config.mask_ratio = 0.0
    in_order = torch.arange(16.0).repeat(2, 1)
    with torch.no_grad():
        wanted = network(pixels, noise=in_order).last_hidden_state[:, 0]
        torch.testing.assert_close(backbone(pixels), wanted)


def changed(path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
