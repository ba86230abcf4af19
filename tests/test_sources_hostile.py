"""Sources that cannot be what they say: an error of ours that names the field or the file."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headstart.data.dataset import from_arrays
from headstart.errors import HeadstartError, IntegrityError, SourceUnavailable, UsageError
from headstart.features.extract import extract
from headstart.features.graphs import cut
from headstart.io import sha256_file
from headstart.sources.catalog import open_backbone, resolve
from tests.test_sources_formats import packed_file
from tests.toys import toy_picture_source, toy_text_source


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    uri = toy_picture_source(tmp_path_factory.mktemp("card"))
    return Path(uri.removeprefix("file:"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(toy_text_source(tmp_path_factory.mktemp("hub") / "hub").removeprefix("file:"))


def changed(card: Path, tmp_path: Path, old: str, new: str) -> str:
    """Write the card with one change beside a copy of its weights; return its URI."""
    shutil.copy(card.with_suffix(".safetensors"), tmp_path)
    text = re.sub(old, new, card.read_text(encoding="utf-8"))
    assert text != card.read_text(encoding="utf-8"), old
    (tmp_path / "toy.toml").write_text(text, encoding="utf-8")
    return f"file:{tmp_path / 'toy.toml'}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "Toy EfficientNet"', "title = 3", "title = 3; expected a text"),
        ("size_bytes = .*", "size_bytes = 1.5", "size_bytes = 1.5; expected a whole number"),
        ("size_bytes = .*", "prior = true", "prior = True; expected a number"),
        (r"\[location\]\npath", "location", "location = 'toy.safetensors'; expected a table"),
        ("path = .*", 'package = "timm"', "expected { path }"),
        ('name = "test_efficientnet"', "", "timm needs 'name'"),
        ('"timm"', '"transformers"', "transformers needs 'config'"),
        ('format = "safetensors"', 'format = "onnx"', "an ONNX file is its own architecture"),
        (r"\n\[preprocess\]", 'options = "a"\n[preprocess]', "options = 'a'; expected a table"),
        (r"\n\[preprocess\]", 'pooling = "max"\n[preprocess]', "expected one of 'mean', 'cls'"),
        (r"\n\[preprocess\]", 'match = "any"\n[preprocess]', "expected one of 'names', 'order'"),
        ("height = 32", 'height = "32"', "height = '32'; expected a whole number"),
        ("height = 32", "height = -3", "whole numbers from 1"),
        ("height = 32", "height = 320000", "whole numbers from 1"),
        ("mean = .*", "mean = [0.5]", "as many numbers in mean and std as channels"),
        ("std = .*", "std = [0.0, 0.5, 0.5]", "std > 0"),
        ("crop_pct = 1.0", "crop_pct = nan", "crop_pct and scale > 0"),
        ("weights_sha256 = .*", 'weights_sha256 = "00"', "weights_sha256 = '00'; expected 64"),
    ],
)
def test_a_card_is_refused_by_the_field(
    card: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        resolve(changed(card, tmp_path, old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("test_efficientnet", "test_vit", "the weights lack 78 tensors"),
        ("test_efficientnet", "test_resnet", "makes no network|lack"),
        (r"\n\[preprocess\]", "options = {foo = 3}\n[preprocess]", "makes no network"),
        ('path = "toy.safetensors"', 'path = "."', "is no file"),
        ("weights_sha256 = .*", f'weights_sha256 = "{"0" * 64}"', "is not the file its card"),
    ],
)
def test_weights_that_do_not_belong_are_refused(
    card: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(HeadstartError, match=said):
        open_backbone(resolve(changed(card, tmp_path, old, new)))


@pytest.mark.parametrize(("name", "said"), [("h5", "cannot be read as h5"), ("q4", "a q4 file")])
def test_a_file_of_another_format_is_refused(
    card: Path, tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(IntegrityError, match=said):
        open_backbone(resolve(changed(card, tmp_path, '"safetensors"', f'"{name}"')))


def packed_source(folder: Path, sha256: str) -> str:
    """Write texts' weights in four bits, with their vocabulary, and a card; return its URI."""
    packed_file(folder / "x.bin")
    (folder / "x.toml").write_text(
        f'modality = "text"\nformat = "q4"\nweights_sha256 = "{sha256}"\n'
        'location = {path = "x.bin"}\n'
        'architecture = {library = "transformers", config = {model_type = "bert"}}\n',
        encoding="utf-8",
    )
    return f"file:{folder / 'x.toml'}"


def test_a_tokenizer_is_kept_by_the_hash_that_was_found(tmp_path: Path, fresh_home: Path) -> None:
    """What a card says is no name of a file, nor does it stand for the weights of another card."""
    for said, kind in (("../../evil", UsageError), ("f" * 64, IntegrityError)):
        with pytest.raises(kind):
            resolve(packed_source(tmp_path, said))
    assert not list(tmp_path.rglob("*.tokenizer.json"))
    digest = sha256_file(tmp_path / "x.bin")
    kept = resolve(packed_source(tmp_path, digest)).preprocess.tokenizer
    assert Path(kept) == fresh_home / "sources" / f"{digest}.tokenizer.json"


@pytest.mark.parametrize("size", [60, 100])
def test_a_vocabulary_cut_short_is_refused(tmp_path: Path, fresh_home: Path, size: int) -> None:
    uri, weights = packed_source(tmp_path, ""), tmp_path / "x.bin"
    weights.write_bytes(weights.read_bytes()[:size])
    with pytest.raises(IntegrityError, match="cannot be read as q4"):
        resolve(uri)


@pytest.mark.parametrize("size", [0, 7, 5000])
def test_weights_cut_short_are_refused(card: Path, tmp_path: Path, size: int) -> None:
    uri = changed(card, tmp_path, "weights_sha256 = .*\n", "")
    weights = tmp_path / "toy.safetensors"
    weights.write_bytes(weights.read_bytes()[:size])
    with pytest.raises(IntegrityError, match=r"not a whole \.safetensors file|header"):
        open_backbone(resolve(uri))


def rewrite(name: str, **values: object) -> Callable[[Path], None]:
    """Return what changes some values of a JSON file of a folder."""

    def change(folder: Path) -> None:
        old = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(old | values), encoding="utf-8")

    return change


def truncate(folder: Path) -> None:
    """Cut the weights in the middle."""
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:3000])


def shard(folder: Path) -> None:
    """Put an index in the place of the weights, of a file that is not there."""
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (lambda f: (f / "config.json").write_text("{oops"), IntegrityError, "is not JSON"),
        (lambda f: (f / "config.json").write_text("[1]"), UsageError, "neither 'model_type'"),
        (lambda f: (f / "model.safetensors").unlink(), SourceUnavailable, "holds no weights"),
        (truncate, IntegrityError, "not a whole"),
        (shard, SourceUnavailable, "model-1.safetensors, which is not beside it"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), IntegrityError, "is no tokenizer"),
        (rewrite("config.json", model_type="no"), IntegrityError, "transformers makes no network"),
        (rewrite("config.json", hidden_size=64), IntegrityError, "transformers makes no network"),
        (rewrite("config.json", num_attention_heads=5), IntegrityError, "makes no network"),
        (rewrite("config.json", max_position_embeddings="x"), UsageError, "cannot be understood"),
        (rewrite("config.json", max_position_embeddings=0), UsageError, "max_length"),
    ],
)
def test_a_folder_of_the_hub_is_refused_by_the_file(
    folder: Path, tmp_path: Path, change: Callable[[Path], object], kind: type, said: str
) -> None:
    copy = shutil.copytree(folder, tmp_path / "hub")
    change(copy)
    data = from_arrays(["a good film", "a bad film"])
    with pytest.raises(kind, match=said):
        extract(resolve(f"file:{copy}"), data, cache=False)


def test_an_onnx_graph_that_does_not_fit_its_card_is_refused(tmp_path: Path) -> None:
    from headstart.sources.packages import card_of

    path = card_of("ppocr-recognizer")
    assert path is not None
    text = path.read_text(encoding="utf-8").replace('"BGR"', '"L"').replace("127.5, 127.5, ", "")
    (tmp_path / "ocr.toml").write_text(text, encoding="utf-8")
    rows = from_arrays([np.zeros((48, 48, 3), np.uint8)] * 4)
    with pytest.raises(IntegrityError, match="does not run on what the card declares"):
        extract(resolve(f"file:{tmp_path / 'ocr.toml'}"), rows, cache=False)


def test_a_node_that_gives_nothing_is_no_output(tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    x = helper.make_tensor_value_info("x", 1, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], [], name="y")], "g", [x], [])
    onnx.save(helper.make_model(graph), tmp_path / "g.onnx")
    with pytest.raises(UsageError, match="no value or node named 'y'"):
        cut(tmp_path / "g.onnx", "y", "out")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("timm:resnt18", "for example timm:resnet18"),
        ("timm:resnt18.a1_in1k", "for example timm:resnet18"),
        ("hf:./nowhere", "no folder ./nowhere"),
        ("hf:/no/where", "no folder /no/where"),
    ],
)
def test_a_slip_of_the_pen_is_no_search_of_the_hub(uri: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve(uri)


def test_a_folder_with_a_card_says_which(card: Path) -> None:
    with pytest.raises(UsageError, match=r"Did you mean file:.*toy\.toml"):
        resolve(f"file:{card.parent}")
