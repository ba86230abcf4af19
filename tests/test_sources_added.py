"""A person's own shelf: added by URI, pinned by hash, found by `rank`, searched."""

import json
import re
import socket

import pytest

from headstart.cli.shelf import add as print_added
from headstart.cli.shelf import search as print_hits
from headstart.errors import IntegrityError, UnknownSource, UsageError
from headstart.ranking.candidates import Limits, candidates
from headstart.sources import packages
from headstart.sources import search as searching
from headstart.sources.added import added, card_path, drop
from headstart.sources.catalog import add, resolve, shelf
from headstart.sources.search import search
from headstart.task import Modality
from tests.toys import toy_picture_source, toy_text_source


@pytest.fixture
def toy(tmp_path, fresh_home):
    return toy_text_source(tmp_path / "bert")


def test_an_added_source_is_on_the_shelf_and_is_ranked(toy):
    made = add(toy)
    assert made.card == card_path(toy) and made.source.weights_sha256 in made.card.read_text()
    (entry,) = [one for one in shelf() if one.source.uri == toy]
    assert entry.on_disk and entry.source.modality is Modality.TEXT
    found, _ = candidates(Modality.TEXT, None, Limits(), seed=0)
    assert toy in [one.uri for one in found]
    assert drop(toy) and not drop(toy)
    assert toy not in [one.source.uri for one in shelf()]


def test_changed_weights_are_refused_until_added_again(toy, tmp_path):
    add(toy)
    weights = tmp_path / "bert" / "model.safetensors"
    toy_text_source(tmp_path / "bert", seed=9)
    with pytest.raises(IntegrityError, match="other weights than when it was added"):
        resolve(toy)
    (entry,) = [one for one in shelf() if one.source.uri == toy]
    assert not entry.on_disk and "headstart sources add" in entry.why
    _, left = candidates(Modality.TEXT, [toy], Limits(), seed=0)
    assert "other weights" in left[0].reason
    add(toy)
    assert resolve(toy).uri == toy and weights.exists()


def test_a_folder_is_known_by_its_absolute_path(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for spelled in ("hf:./bert", "hf:bert", "hf:../" + tmp_path.name + "/bert"):
        assert add(spelled).source.uri == f"hf:{tmp_path}/bert"
    (card,) = added()
    path = card_path(card.uri)
    path.write_text(path.read_text().replace('"unknown"', '"MIT"'))
    assert resolve("hf:./bert").license == "MIT"
    monkeypatch.chdir("/")
    assert [one.on_disk for one in shelf() if one.source.uri == card.uri] == [True]
    assert not drop("hf:./bert")  # another folder from here
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bert").rename(tmp_path / "gone")
    assert drop("hf:./bert") and added() == ()


def test_a_card_by_another_path_to_it_is_removed(tmp_path, fresh_home, monkeypatch):
    toy_picture_source(tmp_path / "toy")
    monkeypatch.chdir(tmp_path)
    (name,) = (path.name for path in (tmp_path / "toy").glob("*.toml"))
    made = add(f"file:./toy/{name}")
    assert made.source.uri == f"file:{tmp_path}/toy/{name}"
    assert drop(f"file:toy/../toy/{name}") and added() == ()


def test_what_is_added_twice_is_said_and_keeps_what_was_written(toy, tmp_path, capsys):
    print_added(toy, json=False)
    assert "already" not in capsys.readouterr().out
    path = card_path(toy)
    path.write_text(path.read_text().replace('"unknown"', '"MIT"'))
    print_added(toy, json=False)
    assert "already, with these weights" in capsys.readouterr().out
    assert resolve(toy).license == "MIT"
    before = resolve(toy).weights_sha256
    toy_text_source(tmp_path / "bert", seed=9)
    print_added(toy, json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["before"] == before != told["sha256"] == resolve(toy).weights_sha256


def test_what_the_card_says_stands(toy):
    path = add(toy).card
    path.write_text(path.read_text().replace('"unknown"', '"MIT"'))
    assert resolve(toy).license == "MIT"
    found, _ = candidates(Modality.TEXT, [toy], Limits(license="permissive"), seed=0)
    assert [one.uri for one in found] == [toy]


def test_what_the_card_of_a_packaged_source_says_stands_on_the_shelf(
    tmp_path, fresh_home, monkeypatch
):
    toy_picture_source(tmp_path)
    monkeypatch.setattr(packages, "cards", lambda: {"toy": tmp_path / "toy.toml"})
    path = add("pkg:toy").card
    card = path.read_text().replace("Apache-2.0", "MIT").replace("prior = 0.0", "prior = 0.9")
    path.write_text(card)
    (entry,) = shelf()
    assert entry.on_disk and (entry.source.license, entry.source.prior) == ("MIT", 0.9)
    assert drop("pkg:toy") and shelf()[0].source.license == "Apache-2.0"


def test_a_card_with_other_fields_is_refused(toy):
    path = add(toy).card
    card = path.read_text()
    for wrong in (card + "color = 3\n", re.sub("prior = .*", 'prior = "0.8"', card)):
        path.write_text(wrong)
        for do in (added, shelf):
            with pytest.raises(IntegrityError, match="no card of an added source"):
                do()


def test_damaged_weights_are_not_added(tmp_path, fresh_home):
    uri = toy_picture_source(tmp_path / "toy")
    (tmp_path / "toy" / "toy.safetensors").write_bytes(b"nothing")
    with pytest.raises(IntegrityError, match="not the file its card speaks of"):
        add(uri)
    assert added() == ()


@pytest.mark.parametrize("uri", ["scratch:pkg:efficientnet-lite0", "identity:"])
def test_what_has_no_weights_is_not_added(uri, fresh_home):
    with pytest.raises(UsageError, match="no pretrained weights"):
        add(uri)


def test_names_that_lead_nowhere_are_not_added(tmp_path, fresh_home, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for uri, error in (
        ("nothing", UnknownSource), ("timm:no.such", UnknownSource),
        (f"file:{tmp_path}/gone.toml", Exception),
    ):  # fmt: skip
        with pytest.raises(error):
            add(uri)
    assert added() == ()


def test_search_finds_the_shelf_and_timm_and_says_that_the_hub_is_not_there(
    fresh_home, monkeypatch, capsys
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hits, notes = search("efficientnet_lite0")
    assert {("pkg:efficientnet-lite0", "shelf"), ("timm:tf_efficientnet_lite0.in1k", "timm")} <= {
        (hit.uri, hit.where) for hit in hits
    }
    assert notes == ("the hub could not be asked: HF_HUB_OFFLINE is set",)
    assert search("EfficientNet_Lite0") == (hits, notes)
    print_hits("efficientnet_lite0", json=True)
    assert json.loads(capsys.readouterr().out)["notes"] == list(notes)


def test_search_asks_no_hub_where_transformers_may_not(fresh_home, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    monkeypatch.setattr(searching, "_timm", lambda *_: [])
    assert search("bert-toy")[1] == ("the hub could not be asked: TRANSFORMERS_OFFLINE is set",)


def test_search_asks_the_hub_where_it_is_reachable(fresh_home, monkeypatch):
    asked = []

    class Model:
        id, pipeline_tag = "someone/bert-toy", "fill-mask"

    class Api:
        def list_models(self, **given):
            asked.append(given)
            return [Model]

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setattr(searching, "_timm", lambda *_: [])
    with socket.create_server(("127.0.0.1", 0)) as hub:
        there = f"http://127.0.0.1:{hub.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", there)
        hits, notes = search("bert-toy", most=3)
    assert search("bert-toy", most=3)[1] == (
        "the hub could not be asked: 127.0.0.1 is not reachable (Connection refused)",
    )
    assert asked == [{"search": "bert-toy", "limit": 3}] and notes == ()
    assert [hit.uri for hit in hits] == ["hf:someone/bert-toy"]


def test_a_package_adds_cards_through_its_entry_point(tmp_path, fresh_home, monkeypatch):
    uri = toy_picture_source(tmp_path)

    class Entry:
        name = "zoo"

        def load(self):
            return str(tmp_path)

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Entry()])
    packages._foreign_folders.cache_clear()
    try:
        assert "pkg:toy" in [one.source.uri for one in shelf() if one.on_disk]
        assert resolve("pkg:toy").weights_sha256 == resolve(uri).weights_sha256
    finally:
        packages._foreign_folders.cache_clear()
