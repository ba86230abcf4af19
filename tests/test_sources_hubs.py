"""Models in the hub's own layout: what a folder says is what the library itself would do."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from headstart.errors import IntegrityError, SourceUnavailable, UnknownSource, UsageError
from headstart.extras import import_timm
from headstart.features.engine import engine_for
from headstart.sources.catalog import open_backbone, resolve, verify, weights_path
from headstart.sources.hubs import read_folder
from headstart.sources.networks import network_of
from tests.toys import toy_text_source


def timm_folder(folder: Path) -> torch.nn.Module:
    """Save a random network as timm saves it for the hub; return it."""
    folder.mkdir(parents=True)
    network = import_timm().create_model("test_efficientnet", num_classes=7).eval()
    save_file(network.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architecture": "test_efficientnet",
        "num_classes": 7,
        "num_features": 256,
        "global_pool": "avg",
        "pretrained_cfg": {
            "tag": "r160_in1k",
            "input_size": [3, 48, 48],
            "interpolation": "bilinear",
            "crop_pct": 0.95,
            "crop_mode": "squash",
            "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6],
            "license": "apache-2.0",
        },
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return network


def in_cache(folder: Path, cache: Path, name: str) -> str:
    """Lay a folder out as the hub's cache does: blobs named by hash, snapshots of links."""
    root = cache / f"models--{name.replace('/', '--')}"
    commit = "c0ffee"
    for part in ("blobs", "refs", f"snapshots/{commit}"):
        (root / part).mkdir(parents=True)
    (root / "refs" / "main").write_text(commit, encoding="ascii")
    for path in folder.iterdir():
        blob = hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, root / "blobs" / blob)
        (root / "snapshots" / commit / path.name).symlink_to(f"../../blobs/{blob}")
    return commit


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    return tmp_path / "huggingface" / "hub"


@pytest.mark.parametrize("uri", ["timm:test_efficientnet.r160_in1k", "timm:timm/test_efficientnet"])
def test_timm_names_are_found_in_the_cache(uri, cache, tmp_path):
    network = timm_folder(tmp_path / "saved")
    name = uri.removeprefix("timm:")
    in_cache(tmp_path / "saved", cache, name if "/" in name else f"timm/{name}")
    source = resolve(uri)
    preprocess = source.preprocess
    assert (preprocess.height, preprocess.width, preprocess.resize) == (48, 48, "squash")
    assert (preprocess.crop_pct, preprocess.interpolation) == (0.95, "bilinear")
    assert (preprocess.mean, preprocess.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (source.trained_on, source.license) == ("ImageNet-1k", "apache-2.0")
    verify(source)
    backbone = open_backbone(source)
    (pixels,) = backbone.example(2)
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True)
    torch.testing.assert_close(backbone(pixels).detach(), expected)


def test_the_name_of_a_blob_is_taken_for_its_hash_and_checked_when_read(cache, tmp_path):
    timm_folder(tmp_path / "saved")
    in_cache(tmp_path / "saved", cache, "me/mine")
    source = resolve("hf:me/mine@main")
    blob = weights_path(source).resolve()
    assert source.weights_sha256 == blob.name
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    with pytest.raises(IntegrityError):
        open_backbone(resolve("hf:me/mine"))


def test_what_is_not_there_is_said_without_the_network(cache):
    with pytest.raises(SourceUnavailable, match="HF_HUB_OFFLINE is set"):
        resolve("hf:nobody/nothing")
    with pytest.raises(SourceUnavailable, match="HF_HUB_OFFLINE is set"):
        resolve("timm:resnet18.a1_in1k")
    with pytest.raises(UnknownSource, match="no model 'resnet1800'"):
        resolve("timm:resnet1800")


def test_a_checkpoint_with_another_head_and_prefix_loads_its_trunk(tmp_path):
    """As saved by BertForSequenceClassification: "bert." before every name, and a classifier."""
    uri = toy_text_source(tmp_path / "trunk")
    state = load_file(tmp_path / "trunk" / "model.safetensors")
    wrapped = {f"bert.{name}": tensor for name, tensor in state.items()}
    wrapped["classifier.weight"] = torch.zeros(3, 32)
    shutil.copytree(tmp_path / "trunk", tmp_path / "task")
    weights = tmp_path / "task" / "model.safetensors"
    save_file(wrapped, weights, metadata={"format": "pt"})
    whole, trunk = open_backbone(resolve(f"hf:{tmp_path / 'task'}")), open_backbone(resolve(uri))
    assert torch.equal(whole(*whole.example(2)), trunk(*trunk.example(2)))


def test_weights_that_lack_a_layer_are_refused(tmp_path):
    uri = toy_text_source(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["encoder.layer.1.output.dense.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IntegrityError, match=r"encoder\.layer\.1\.output\.dense\.weight"):
        open_backbone(resolve(uri))


def test_shards_are_one_source(tmp_path):
    uri = toy_text_source(tmp_path)
    expected = open_backbone(resolve(uri))
    state = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    places = {}
    for i, names in enumerate((list(state)[:5], list(state)[5:])):
        file = f"model-{i + 1:05}-of-00002.safetensors"
        part = {name: state[name] for name in names}
        save_file(part, tmp_path / file, metadata={"format": "pt"})
        places |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    source = resolve(uri)
    verify(source)
    assert source.n_parameters == sum(tensor.numel() for tensor in state.values())
    backbone = open_backbone(source)
    assert torch.equal(backbone(*backbone.example(2)), expected(*expected.example(2)))


def test_pooling_and_length_are_read_from_sentence_transformers_files(tmp_path):
    uri = toy_text_source(tmp_path)
    assert resolve(uri).architecture["pooling"] == "mean"
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 24}')
    source = resolve(uri)
    assert (source.architecture["pooling"], source.preprocess.max_length) == ("cls", 24)
    backbone = open_backbone(source)
    hidden = backbone.run(backbone.example(2), 0, backbone.n_stages - 1)[0]
    assert torch.equal(backbone(*backbone.example(2)), hidden[:, 0])


def test_the_pooling_is_read_as_the_fifth_version_writes_it(tmp_path):
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    assert resolve(toy_text_source(tmp_path)).architecture["pooling"] == "cls"


def test_vectors_have_length_one_where_the_modules_end_in_a_normalization(tmp_path):
    uri = toy_text_source(tmp_path)
    plain = open_backbone(resolve(uri))
    wanted = torch.nn.functional.normalize(plain(*plain.example(3)))
    kinds = ("sentence_transformers.models.Transformer", "sentence_transformers.models.Normalize")
    modules = [{"idx": i, "name": str(i), "path": "", "type": kind} for i, kind in enumerate(kinds)]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    source = resolve(uri)
    backbone = open_backbone(source)
    assert source.architecture["normalize"] and "normalize" not in plain.source.architecture
    assert torch.equal(backbone(*backbone.example(3)), wanted)
    engine = engine_for(source)
    ids = np.array([[2, 5, 6, 7, 3], [2, 5, 3, 0, 0]])
    (found,) = engine.run({"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)})
    assert engine.name == "onnxruntime"
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_picture_preprocessing_is_read_from_its_file(tmp_path):
    config = {"model_type": "vit", "image_size": 32, "hidden_size": 16}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"x": torch.zeros(2, 3)}, tmp_path / "model.safetensors")
    values = {
        "size": {"shortest_edge": 40},
        "crop_size": {"height": 32, "width": 32},
        "do_center_crop": True,
        "resample": 3,
        "image_mean": [0.4, 0.4, 0.4],
        "image_std": [0.2, 0.2, 0.2],
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    preprocess = read_folder(tmp_path, "hf:x").preprocess
    assert (preprocess.height, preprocess.resize, preprocess.crop_pct) == (32, "crop", 0.8)
    assert (preprocess.interpolation, preprocess.mean) == ("bicubic", (0.4, 0.4, 0.4))
    values = {"size": {"height": 32, "width": 48}, "resample": 2}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    preprocess = read_folder(tmp_path, "hf:x").preprocess
    assert (preprocess.height, preprocess.width, preprocess.resize) == (32, 48, "squash")
    np.testing.assert_equal(preprocess.mean, (0.5, 0.5, 0.5))


def test_folders_that_lack_something_say_what(tmp_path):
    uri = toy_text_source(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(SourceUnavailable, match=r"has no tokenizer\.json"):
        resolve(uri)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(SourceUnavailable, match="holds no weights"):
        resolve(uri)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UsageError, match="neither 'model_type' nor 'architecture'"):
        resolve(uri)


def test_old_names_and_state_dictionaries_are_understood(tmp_path):
    """As the first BERT files: LayerNorm.gamma and .beta, in a pytorch_model.bin."""
    uri = toy_text_source(tmp_path)
    expected = open_backbone(resolve(uri))
    state = load_file(tmp_path / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in state.items()
    }
    torch.save(old, tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    backbone = open_backbone(resolve(uri))
    assert torch.equal(backbone(*backbone.example(2)), expected(*expected.example(2)))


@pytest.mark.parametrize(
    "change", [{"architecture": "hf-hub:me/mine"}, {"model_args": {"checkpoint_path": "x"}}]
)
def test_a_configuration_cannot_name_other_files(tmp_path, change):
    timm_folder(tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change), encoding="utf-8")
    with pytest.raises(UsageError, match="is refused"):
        open_backbone(resolve(f"hf:{tmp_path / 'saved'}"))


@pytest.mark.parametrize(
    "bad",
    [
        {"auto_map": {"AutoModel": "evil.Model"}},
        {"text_config": {"auto_map": {"AutoModel": "evil.Model"}}},
        {"layers": [{"_target_": "os.system"}]},
        {"class_path": "subprocess.Popen"},
    ],
)
def test_a_configuration_that_names_code_is_refused(bad, tmp_path):
    uri = toy_text_source(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | bad), encoding="utf-8")
    with pytest.raises(UsageError, match="names code to import"):
        resolve(uri)


def test_no_kernel_is_fetched_for_a_configuration(tmp_path):
    uri = toy_text_source(tmp_path)
    path = tmp_path / "config.json"
    bad = {"_attn_implementation": "me/kernels"}
    path.write_text(json.dumps(json.loads(path.read_text()) | bad), encoding="utf-8")
    assert network_of(resolve(uri)).config._attn_implementation == "sdpa"
