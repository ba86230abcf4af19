"""`headstart cache`: how much, what can go, whether it is whole."""

import dataclasses
import errno
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer

from headstart.cli import cache, show
from headstart.cli.verbs.cache import cache as verb
from headstart.data.readers import read
from headstart.features.extract import extract
from headstart.io import sha256_file, write_npy, write_safetensors, write_sealed_json, write_text
from headstart.ranking.memory import memory_bytes
from headstart.sources.catalog import resolve
from headstart.sources.files import _name_of
from headstart.store.leases import Leases, Owner
from headstart.store.store import open_store
from tests.drafts import draft_of
from tests.test_cli import headstart
from tests.toys import toy_text_source


@pytest.fixture
def home(fresh_home, tmp_path):
    """A home with features, a graph, moved weights, a ranking and the outcome of a study."""
    table = tmp_path / "t.csv"
    table.write_text("text,label\n" + "".join(f"good {i},a\nbad {i},b\n" for i in range(8)))
    source = resolve(toy_text_source(tmp_path / "encoder"))
    assert extract(source, read(table)).n_computed == 16
    arrays = {"w": np.ones(4, dtype=np.float32)}
    moved = fresh_home / "sources" / "moved" / f"{_name_of(arrays)}.safetensors"
    write_safetensors(moved, arrays)
    write_sealed_json(fresh_home / "rankings" / "r.json", [1, 2])
    with open_store() as store:
        (graph,) = store.graphs()
    memory_bytes(SimpleNamespace(key=graph.key, path=fresh_home / "graphs" / graph.file))
    write_npy(fresh_home / "outcomes" / "study" / "job.npy", np.ones(3))
    with open_store() as store:
        store.put_outcome("study", "job", {"score": 0.5})
    return fresh_home


def make_old(folder, days):
    at = time.time() - days * 86_400
    for path in cache._files(folder):
        os.utime(path, (at, at))


def names(home):
    return {path.relative_to(home).parts[0] for path in cache._files(home)}


def test_size_counts_every_part(home):
    found = {part.name: part for part in cache.size()}
    assert {name for name, part in found.items() if part.n_files} >= {
        "features", "graphs", "sources", "rankings", "outcomes", "store"}  # fmt: skip
    assert found["features"].n_bytes == sum(
        p.stat().st_size for p in cache._files(home / "features")
    )


def test_gc_removes_what_nothing_names_and_nothing_else(home):
    write_npy(home / "features" / "gone" / "orphan.npy", np.ones(9))
    (home / "graphs" / "x.onnx.bad").write_bytes(b"x")
    dead = draft_of(home / "features" / "x.npy", 999999999)
    dead.write_bytes(b"half")
    assert cache.collect().removed == ("graphs/x.onnx.bad",)  # the orphan may be under way
    assert not dead.exists()
    before = names(home)
    make_old(home, days=0.5)
    assert cache.collect().removed == ("features/gone/orphan.npy",)
    assert not (home / "features" / "gone").exists()
    assert names(home) == before
    make_old(home / "sources", days=2)
    (removed,) = cache.collect().removed
    assert removed.startswith("sources/moved/")
    assert cache.verify() == cache.Verified(cache.verify().n_files, ())


def test_gc_leaves_what_another_machine_is_writing(home):
    """A half-written file there, and a folder that holds nothing yet; both two hours old."""
    elsewhere = [home / "features" / name for name in (
        f".x.npy.{'0' * 8}-1-{'a' * 8}.tmp", f".y.{'0' * 8}-1-{'a' * 8}.tmp")]  # fmt: skip
    elsewhere[0].write_bytes(b"half")
    elsewhere[1].mkdir()
    for path in elsewhere:
        os.utime(path, (time.time() - 7200,) * 2)
    cache.collect()
    assert all(path.exists() for path in elsewhere)


def test_gc_says_what_could_not_be_removed(home, monkeypatch, capsys):
    for name in ("x", "y"):
        (home / "graphs" / f"{name}.onnx.bad").write_bytes(b"x")
    unlink = Path.unlink

    def failing(path, **how):
        if path.name == "x.onnx.bad":
            raise OSError(errno.EIO, "Input/output error")
        unlink(path, **how)

    monkeypatch.setattr(Path, "unlink", failing)
    with pytest.raises(typer.Exit) as stopped:
        verb("gc", json=True)
    assert stopped.value.exit_code == 5
    assert json.loads(capsys.readouterr().out) == {
        "removed": ["graphs/y.onnx.bad"], "n_bytes": 1, "left": ["graphs/x.onnx.bad"],
    }  # fmt: skip
    assert not (home / "graphs" / "y.onnx.bad").exists()
    with pytest.raises(typer.Exit):
        verb("gc")
    assert "left       graphs/x.onnx.bad" in capsys.readouterr().out


def test_gc_removes_what_is_old_and_it_is_computed_again(home, tmp_path):
    make_old(home, days=40)
    source, rows = resolve(f"file:{tmp_path / 'encoder'}"), read(tmp_path / "t.csv")
    assert cache.collect(60 * 86_400).removed[0].startswith("sources/moved")
    assert cache.collect(30 * 86_400).n_bytes > 0
    assert {path.parent.name for path in cache._files(home)} <= {"home", "hashes"}
    with open_store() as store:
        assert store.shards() == () and store.graphs() == () and store.studies() == {}
    assert extract(source, rows).n_computed == 16
    assert extract(source, rows).n_computed == 0


def test_gc_removes_what_a_study_found_as_a_whole(home):
    """Not the old half of one; and nothing of one that somebody is at."""
    study = home / "outcomes" / "study"
    make_old(home, days=40)
    write_npy(study / "young.npy", np.ones(3))
    cache.collect(30 * 86_400)
    assert {path.name for path in study.iterdir()} == {"job.npy", "young.npy"}
    make_old(study, days=40)
    with open_store() as store, Leases(store, "study") as leases:
        leases.take("another job")
        cache.collect(30 * 86_400)
        assert {path.name for path in study.iterdir()} == {"job.npy", "young.npy"}
        assert "study" in store.studies()
    cache.collect(30 * 86_400)
    assert not study.exists()


def test_gc_removes_what_a_dead_study_found(home):
    make_old(home, days=40)
    with open_store() as store:
        here = Owner.here()
        store.claim("study", "job", str(dataclasses.replace(here, began="0")))
        cache.collect(30 * 86_400)
        assert store.studies() == {}
        store.put_outcome("study", "job", {"score": 0.5})
        write_npy(home / "outcomes" / "study" / "job.npy", np.ones(3))
        make_old(home, days=40)
        store.claim("study", "b", str(dataclasses.replace(here, machine="another machine")))
        cache.collect(30 * 86_400)
        assert "study" in store.studies()  # nobody here knows whether it is under way


def test_gc_leaves_the_cards_a_person_added(home):
    card = home / "sources" / "added" / "0123456789abcdef.toml"
    write_text(card, 'uri = "file:x"\n')
    make_old(home, days=400)
    cache.collect(86_400)
    assert card.exists()


def test_gc_removes_what_a_killed_conversion_left(home):
    for root in ("sources", "outcomes"):  # the second holds no file of its own
        left = draft_of(home / root / f"{'0' * 64}.state", 999999999)
        write_npy(left / "half.npy", np.ones(9))
    for path in cache._files(home / "outcomes" / "study"):
        path.unlink()
    cache.collect()
    assert not [path for path in home.rglob("*.tmp")]


@pytest.mark.parametrize("part", ["features", "graphs", "sources/moved", "rankings"])
def test_verify_finds_what_was_changed(home, part):
    path = next(cache._files(home / part))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    found = cache.verify()
    assert found.damaged == (str(path.relative_to(home)),)
    assert not path.exists() and not list(home.rglob("*.bad"))
    assert cache.verify().damaged == ()


def test_verify_leaves_what_is_being_written(home):
    folders = [home / "sources" / "moved", home / "sources" / "hashes", home / "rankings"]
    drafts = [draft_of(folder / "x", os.getpid()) for folder in folders]
    for draft in drafts:
        draft.parent.mkdir(exist_ok=True)
        draft.write_bytes(b"half")
    assert cache.verify().damaged == ()
    assert all(draft.exists() for draft in drafts)


def test_what_is_damaged_and_cannot_be_removed_is_told(home, monkeypatch, capsys):
    path = next(cache._files(home / "rankings"))
    path.write_text("{}")
    monkeypatch.setattr(cache, "remove", lambda path: None)
    found = cache.verify()
    assert found.damaged == found.left == (str(path.relative_to(home)),)
    show.verified(found)
    assert "could not be removed" in capsys.readouterr().out


def test_verify_reads_what_fits_said_of_the_test_rows(home):
    path = home / "outcomes" / "proved" / "fit.safetensors"
    write_safetensors(path, {"outputs": np.ones((4, 2), dtype=np.float32)})
    with open_store() as store:
        store.put_outcome("proved", "fit", {"outputs": sha256_file(path), "error": ""})
        store.put_outcome("proved", "diverged", {"outputs": "", "error": "not finite"})
        store.put_outcome("proved", "preparation", {"s": 1.5})
    before = cache.verify()
    assert before.damaged == ()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    assert cache.verify() == cache.Verified(before.n_files, ("outcomes/proved/fit.safetensors",))
    assert not path.exists()
    assert cache.verify().damaged == ()


def test_the_verb(home):
    found = json.loads(headstart("cache", "--json").stdout)
    assert {part["name"] for part in found} == {*cache.KEPT, "store"}
    assert "in all" in headstart("cache").stdout
    assert "free now" in headstart("cache", "gc", "--older-than", "99d").stdout
    assert headstart("cache", "verify").returncode == 0
    path = next(cache._files(home / "features"))
    path.write_bytes(path.read_bytes()[:-1])
    said = headstart("cache", "verify")
    assert said.returncode == 4 and "1 damaged" in said.stdout
    assert headstart("cache", "polish").returncode == 2
    assert headstart("cache", "size", "--older-than", "3d").returncode == 2
