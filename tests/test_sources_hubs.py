"""Models in the hub's own layout: what a folder says is what the library itself would do."""

import dataclasses
import hashlib
import json
import shutil
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from headstart.errors import IntegrityError, SourceUnavailable, UnknownSource, UsageError
from headstart.extras import import_timm
from headstart.features.engine import engine_for
from headstart.features.inputs import inputs_for
from headstart.progress import listen
from headstart.sources import hubs, packages
from headstart.sources.catalog import (
    add,
    at_hand,
    default,
    open_backbone,
    resolve,
    shelf,
    verify,
    weights_path,
)
from headstart.sources.hubs import read_folder
from headstart.sources.networks import network_of
from headstart.task import Modality
from tests.listener import Notes
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


def in_cache(folder: Path, cache: Path, name: str, *, without: tuple[str, ...] = ()) -> str:
    """Lay a folder out as the hub's cache does: blobs named by hash, snapshots of links."""
    root = cache / f"models--{name.replace('/', '--')}"
    commit = "c0ffee"
    for part in ("blobs", "refs", f"snapshots/{commit}"):
        (root / part).mkdir(parents=True)
    (root / "refs" / "main").write_text(commit, encoding="ascii")
    for path in (one for one in folder.iterdir() if one.name not in without):
        blob = hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, root / "blobs" / blob)
        (root / "snapshots" / commit / path.name).symlink_to(f"../../blobs/{blob}")
    return commit


@pytest.fixture
def cache(tmp_path, monkeypatch):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hubs, "_asked", set())
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    return tmp_path / "huggingface" / "hub"


@pytest.mark.parametrize("uri", ["timm:test_efficientnet.r160_in1k", "timm:timm/test_efficientnet"])
def test_timm_names_are_found_in_the_cache(uri, cache, tmp_path):
    network = timm_folder(tmp_path / "saved")
    name = uri.removeprefix("timm:")
    in_cache(tmp_path / "saved", cache, name if "/" in name else f"timm/{name}")
    source = resolve(uri)
    preprocess = source.preprocess
    assert (preprocess.height, preprocess.width, preprocess.resize) == (48, 48, "squash-crop")
    assert (preprocess.crop_pct, preprocess.interpolation) == (48 / 50, "bilinear")
    assert (preprocess.mean, preprocess.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert (source.trained_on, source.license) == ("ImageNet-1k", "apache-2.0")
    verify(source)
    backbone = open_backbone(source)
    (pixels,) = backbone.example(2)
    with torch.no_grad():
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True)
    torch.testing.assert_close(backbone(pixels).detach(), expected)


def test_the_oldest_timm_files_say_all_at_the_root(tmp_path):
    timm_folder(tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    config = json.loads(path.read_text())
    config |= config.pop("pretrained_cfg") | {"crop_mode": "center"}
    path.write_text(json.dumps(config), encoding="utf-8")
    source = resolve(f"hf:{tmp_path / 'saved'}")
    preprocess = source.preprocess
    assert (preprocess.height, preprocess.resize, preprocess.crop_pct) == (48, "crop", 0.95)
    assert (preprocess.mean, preprocess.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert source.license == "apache-2.0"


def test_timm_cuts_the_center_out_of_what_it_squashed(tmp_path):
    timm_folder(tmp_path / "saved")
    inputs = inputs_for(resolve(f"hf:{tmp_path / 'saved'}").preprocess)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((600, 300), Image.Resampling.BICUBIC)
    wanted = picture.resize((50, 50), Image.Resampling.BILINEAR).crop((1, 1, 49, 49))
    assert np.abs(inputs.row(picture).astype(int) - np.asarray(wanted)).max() <= 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"crop_mode": "border"}, "crop_mode = 'border', crop_pct = 0.95"),
        ({"interpolation": "lanczos"}, "interpolation = 'lanczos'"),
    ],
)
def test_what_timm_does_and_headstart_not_is_refused(tmp_path, change, said):
    timm_folder(tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["pretrained_cfg"] |= change
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        resolve(f"hf:{tmp_path / 'saved'}")
    config["pretrained_cfg"] |= {"crop_mode": "border", "crop_pct": 1.0, "interpolation": None}
    path.write_text(json.dumps(config), encoding="utf-8")
    preprocess = resolve(f"hf:{tmp_path / 'saved'}").preprocess
    assert (preprocess.resize, preprocess.interpolation) == ("pad", "bicubic")


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


@pytest.fixture
def hub(tmp_path, cache, monkeypatch):
    """A hub that holds what is in a folder; what it was asked for is kept, as its client would."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    held, asked = tmp_path / "held", []

    def download(repository, *, revision, allow_patterns, cache_dir):
        asked.append((repository, revision, allow_patterns))
        snapshot = cache_dir / f"models--{repository.replace('/', '--')}/snapshots/{revision}"
        for path in held.rglob("*.*"):
            file = path.relative_to(held)
            if any(fnmatch(str(file), pattern) for pattern in allow_patterns):
                (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
                (snapshot / file).unlink(missing_ok=True)
                shutil.copy(path, snapshot / file)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return held, asked


def sentence_encoder(folder: Path, pooling: str = '{"pooling_mode": "cls"}') -> None:
    toy_text_source(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(pooling)
    kinds = ("sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling")
    (folder / "modules.json").write_text(json.dumps([{"type": kind} for kind in kinds]))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 24}')


LATE = ("1_Pooling", "modules.json", "sentence_bert_config.json")


def test_what_a_snapshot_lacks_is_fetched_once(hub, cache):
    held, asked = hub
    sentence_encoder(held)
    commit = in_cache(held, cache, "me/mine", without=LATE)
    for _ in range(2):
        source = resolve("hf:me/mine")
        assert (source.architecture["pooling"], source.preprocess.max_length) == ("cls", 24)
    assert [(name, revision) for name, revision, _ in asked] == [("me/mine", commit)]
    assert "pytorch_model.bin" not in asked[0][2]  # the weights are there


def test_an_interrupted_download_goes_on(hub, cache):
    held, asked = hub
    toy_text_source(held)
    commit = in_cache(held, cache, "me/mine", without=("model.safetensors",))
    verify(resolve("hf:me/mine"))
    assert asked[0][:2] == ("me/mine", commit)


def test_weights_are_fetched_once(hub):
    held, asked = hub
    sentence_encoder(held)
    again = held / "pytorch_model.bin", held / "onnx" / "model.safetensors", held / "x.safetensors"
    for path in again:
        path.parent.mkdir(exist_ok=True)
        shutil.copy(held / "model.safetensors", path)
    source = resolve("hf:me/mine")
    assert source.architecture["pooling"] == "cls"  # 1_Pooling/config.json came too
    there = weights_path(source).parent
    assert not any((there / path.relative_to(held)).exists() for path in again)
    assert len(asked) == 1


def test_pickled_weights_are_fetched_where_there_are_no_others(hub):
    held, _ = hub
    toy_text_source(held)
    torch.save(load_file(held / "model.safetensors"), held / "pytorch_model.bin")
    (held / "model.safetensors").unlink()
    source = resolve("hf:me/mine")
    assert weights_path(source).name == "pytorch_model.bin"
    open_backbone(source)


@pytest.mark.parametrize("known_by", ["listing", "in vain"])
def test_the_hub_is_not_asked_for_what_a_model_has_not(known_by, hub, cache):
    held, asked = hub
    toy_text_source(held)
    commit = in_cache(held, cache, "me/mine")
    root = cache / "models--me--mine"
    if known_by == "listing":
        (root / "trees").mkdir()
        files = {path.name: {} for path in held.iterdir()}
        (root / "trees" / f"{commit}.json").write_text(json.dumps({"files": files}))
    else:
        (root / ".no_exist" / commit).mkdir(parents=True)
        (root / ".no_exist" / commit / "modules.json").touch()
    notes = Notes()
    with listen(notes):
        assert resolve("hf:me/mine").architecture["pooling"] == "mean"
    assert asked == [] and notes.said == []


def test_without_the_network_a_guess_is_told(cache, tmp_path):
    sentence_encoder(tmp_path / "saved")
    in_cache(tmp_path / "saved", cache, "me/mine", without=LATE)
    notes = Notes()
    with listen(notes):
        assert resolve("hf:me/mine").architecture["pooling"] == "mean"
    (said,) = notes.said
    assert "lacks modules.json; the mean of at most 512 tokens is taken" in said


def test_a_hub_that_cannot_be_reached_leaves_what_can_be_used(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    calls = []

    def unreachable(*_, **__):
        calls.append(1)
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    toy_text_source(tmp_path / "saved")
    in_cache(tmp_path / "saved", cache, "me/mine")
    in_cache(tmp_path / "saved", cache, "me/cut", without=("model.safetensors",))
    assert resolve("hf:me/mine") == resolve("hf:me/mine")
    assert len(calls) == 1
    with pytest.raises(SourceUnavailable, match="could not be fetched: OSError: no route"):
        resolve("hf:me/cut")


def test_weights_that_were_never_fetched_are_said_without_the_network(cache, tmp_path):
    toy_text_source(tmp_path / "saved")
    in_cache(tmp_path / "saved", cache, "me/mine", without=("model.safetensors",))
    with pytest.raises(SourceUnavailable, match=r"not whole .*HF_HUB_OFFLINE is set"):
        resolve("hf:me/mine")


@pytest.mark.parametrize(
    ("names", "folder"),
    [
        ({"HF_HUB_CACHE": "$ROOT/a", "HUGGINGFACE_HUB_CACHE": "b", "HF_HOME": "c"}, "a"),
        ({"HUGGINGFACE_HUB_CACHE": "$ROOT/b", "HF_HOME": "c"}, "b"),
        ({"HF_HOME": "$ROOT/c", "XDG_CACHE_HOME": "d"}, "c/hub"),
        ({"XDG_CACHE_HOME": "$ROOT/d"}, "d/huggingface/hub"),
        ({"HOME": "$ROOT"}, ".cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_hub_itself_looks(names, folder, cache, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("ROOT", str(tmp_path))
    for name, value in names.items():
        monkeypatch.setenv(name, value.replace("$ROOT", str(tmp_path)) if name == "HOME" else value)
    assert hubs.hub_cache() == tmp_path / folder


def test_a_list_fetches_nothing(hub, cache, fresh_home, monkeypatch):
    held, asked = hub
    toy_text_source(held)
    in_cache(held, cache, "me/mine")
    add("hf:me/mine")
    for is_here in (True, False):
        monkeypatch.setattr(hubs, "_asked", set())
        asked.clear()
        (entry,) = [one for one in shelf() if one.source.uri == "hf:me/mine"]
        assert entry.on_disk == is_here and asked == []
        assert resolve("hf:me/mine") and len(asked) == 1  # named, it is fetched
        shutil.rmtree(cache)
    assert "nothing is downloaded to look at it" in entry.why


def test_a_source_that_is_to_be_fetched_again_comes_after_those_on_disk(
    hub, cache, fresh_home, monkeypatch
):
    held, asked = hub
    toy_text_source(held)
    in_cache(held, cache, "me/mine")
    add("hf:me/mine")
    shutil.rmtree(cache)
    asked.clear()
    assert at_hand(Modality.TEXT)[-1].uri == "hf:me/mine" and asked == []
    monkeypatch.setattr(packages, "cards", dict)  # nothing else is installed
    assert default(Modality.TEXT) == "hf:me/mine"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert at_hand(Modality.TEXT) == []
    with pytest.raises(SourceUnavailable, match="No source for text is on this machine"):
        default(Modality.TEXT)


def test_a_cache_that_is_damaged_is_no_unknown_source(cache, tmp_path):
    toy_text_source(tmp_path / "saved")
    in_cache(tmp_path / "saved", cache, "me/mine")
    (cache / "models--me--mine" / "refs" / "main").write_bytes(b"\xff")
    with pytest.raises(SourceUnavailable, match="hf:me/mine cannot be read"):
        resolve("hf:me/mine")


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


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ('{"pooling_mode": "lasttoken"}', "'lasttoken'"),
        ('{"pooling_mode_max_tokens": true, "pooling_mode_mean_tokens": false}', "'max'"),
        ('{"pooling_mode_weightedmean_tokens": true}', "'weightedmean'"),
        ('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}', "cls, mean"),
    ],
)
def test_a_pooling_that_is_not_done_here_is_refused(tmp_path, said, name):
    sentence_encoder(tmp_path, pooling=said)
    with pytest.raises(UsageError, match=f"{name}(.|\n)*cls, mean"):
        resolve(f"hf:{tmp_path}")


def test_a_module_that_is_not_done_here_is_refused(tmp_path):
    uri = toy_text_source(tmp_path)
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in ("Pooling", "Dense")]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UsageError, match=r"'Dense'(.|\n)*Transformer, Pooling, Normalize"):
        resolve(uri)


def test_a_pooling_that_was_lost_is_told(tmp_path):
    sentence_encoder(tmp_path)
    (tmp_path / "1_Pooling" / "config.json").unlink()
    notes = Notes()
    with listen(notes):
        resolve(f"hf:{tmp_path}")
    assert "lacks 1_Pooling/config.json" in notes.said[0]


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


def prompted(folder: Path, name: str | None) -> str:
    sentence_encoder(folder)
    said = {"prompts": {"query": "cat: ", "plain": ""}, "default_prompt_name": name}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(said))
    return f"hf:{folder}"


@pytest.mark.parametrize(("name", "prefix"), [("query", "cat: "), ("plain", ""), (None, "")])
def test_the_default_prompt_stands_before_every_text(tmp_path, name, prefix):
    preprocess = resolve(prompted(tmp_path, name)).preprocess
    assert preprocess.prefix == prefix
    bare = inputs_for(dataclasses.replace(preprocess, prefix=""))
    assert inputs_for(preprocess).row("good").tolist() == bare.row(f"{prefix}good").tolist()


def test_a_default_prompt_that_is_missing_or_not_pooled_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"'passage', which is not among(.|\n)*query, plain"):
        resolve(prompted(tmp_path / "missing", "passage"))
    uri = prompted(tmp_path / "unpooled", "query")
    said = {"pooling_mode": "mean", "include_prompt": False}
    (tmp_path / "unpooled" / "1_Pooling" / "config.json").write_text(json.dumps(said))
    with pytest.raises(UsageError, match="leaves the prompt 'query' out"):
        resolve(uri)


def test_lower_casing_is_done_by_the_tokenizer_or_refused(tmp_path):
    sentence_encoder(tmp_path)
    (tmp_path / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    inputs = inputs_for(resolve(f"hf:{tmp_path}").preprocess)
    assert inputs.row("GOOD").tolist() == inputs.row("good").tolist()
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": None}))
    with pytest.raises(UsageError, match="lower-cased before the tokenizer"):
        resolve(f"hf:{tmp_path}")


def test_two_networks_in_one_are_refused(tmp_path):
    uri = toy_text_source(tmp_path)
    path = tmp_path / "config.json"
    two = {"model_type": "clip", "text_config": {}, "vision_config": {}}
    path.write_text(json.dumps(json.loads(path.read_text()) | two))
    with pytest.raises(UsageError, match="save its vision part alone"):
        resolve(uri)


def test_a_relative_folder_is_found_from_anywhere(tmp_path, monkeypatch):
    toy_text_source(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    source = resolve("hf:./mine")
    monkeypatch.chdir("/")
    open_backbone(source)
    assert inputs_for(source.preprocess).row("good").size == 3


def test_picture_preprocessing_is_read_from_its_file(tmp_path):
    config = {"model_type": "vit", "image_size": 32, "hidden_size": 16}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"x": torch.zeros(2, 3)}, tmp_path / "model.safetensors")
    values = {
        "image_processor_type": "BitImageProcessor",
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
