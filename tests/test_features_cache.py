"""Kept features are rounded alike everywhere, and never used unchecked."""

import os
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from headstart.features.cache import Block, FeatureCache, feature_key, rounded
from headstart.features.reading import HASH
from headstart.sources.preprocess import PicturePreprocess
from headstart.sources.source import Source
from headstart.store.store import open_store
from headstart.task import Modality
from tests.drafts import draft_of


@pytest.fixture
def cache(tmp_path, fresh_home):
    with open_store() as store:
        yield FeatureCache(store, tmp_path / "features")


def named(*rows):
    """Return the hashes of rows that are called so."""
    return np.array([row * 16 for row in rows], dtype=HASH)


def test_a_row_is_rounded_the_same_whatever_its_neighbors_are():
    fits, too_large, too_small = [1.0003, 2.0], [70000.0, 1.0], [1e-7, 3e-8]
    alone = rounded(np.array([fits], dtype=np.float32))
    among = rounded(np.array([fits, too_large, too_small], dtype=np.float32))
    assert alone.dtype == np.float16 and among.dtype == np.float32
    assert alone.astype(np.float32).tolist() == among[:1].tolist()
    assert among[1:].tolist() == np.array([too_large, too_small], dtype=np.float32).tolist()


def test_what_was_added_is_found(cache):
    block = Block.of(np.array([[1.0], [2.0]], dtype=np.float32))
    shard = cache.add("key", block, named(b"b", b"a"))
    assert cache.find("key", named(b"a", b"c")).tolist() == [[shard, 1], [-1, -1]]
    assert cache.find("other", named(b"b")).tolist() == [[-1, -1]]
    assert cache.open(shard).values.tolist() == [[1.0], [2.0]]


def test_ragged_rows_are_kept_with_their_offsets(cache):
    rows = [np.ones((2, 3), dtype=np.float32), np.zeros((1, 3), dtype=np.float32)]
    block = cache.open(cache.add("key", Block.of(rows), named(b"a", b"b")))
    assert block.offsets is not None and block.offsets.tolist() == [0, 2, 3]
    assert block.values.tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0]]


def test_two_processors_that_round_differently_keep_both_shards(cache):
    """Both computed the same rows; the file of one is not overwritten by the other's."""
    mine, theirs = (Block.of(np.array([[value]], dtype=np.float32)) for value in (1.0, 1.001))
    first = cache.add("key", mine, named(b"a"))
    second = cache.add("key", theirs, named(b"a"))
    fresh = FeatureCache(cache.store, cache.folder)
    assert fresh.find("key", named(b"a"))[0, 0] in (first, second)
    assert not list(cache.folder.rglob("*.bad"))
    assert cache.open(first).values.tolist() == [[1.0]]
    assert len(list(cache.folder.rglob("*.npy"))) == 2


def test_what_a_dead_writer_left_half_written_goes(cache):
    folder = cache.folder / "key"
    folder.mkdir(parents=True)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, living = (draft_of(folder / "x.npy", pid) for pid in (dead.pid, os.getpid()))
    left.write_bytes(b"half")
    living.write_bytes(b"half")
    cache.find("key", named(b"a"))
    assert [*folder.iterdir()] == [living]


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_damaged_shard_is_set_aside(cache, harm):
    cache.add("key", Block.of(np.ones((2, 3), dtype=np.float32)), named(b"a", b"b"))
    kept = cache.add("key", Block.of(np.ones((1, 3), dtype=np.float32)), named(b"c"))
    path = cache.folder / cache.store.shards("key")[0].file
    if harm == "changed":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    assert cache.find("key", named(b"a", b"b", b"c")).tolist() == [[-1, -1], [-1, -1], [kept, 0]]
    assert not path.exists()
    assert path.with_name(path.name + ".bad").exists() == (harm == "changed")
    assert cache.find("key", named(b"a")).tolist() == [[-1, -1]]


@pytest.mark.parametrize(
    "harm",
    ["shard_id = 'x'", "shard_id = X'07'", "position = 'x'", "row_hash = X'07'", "row_hash = 'a'"],
)
def test_a_row_that_is_listed_nowhere_is_computed_and_listed_again(cache, fresh_home, harm):
    block = Block.of(np.ones((2, 3), dtype=np.float32))
    cache.add("key", block, named(b"a", b"b"))
    with sqlite3.connect(fresh_home / "store.sqlite") as link:
        link.execute("PRAGMA foreign_keys = OFF")
        link.execute(f"UPDATE feature_rows SET {harm} WHERE position = 0")
    link.close()
    assert cache.find("key", named(b"a", b"b"))[0].tolist() == [-1, -1]
    assert (cache.find("key", named(b"a", b"b")) < 0).all()
    again = cache.add("key", block, named(b"a", b"b"))
    assert cache.find("key", named(b"a", b"b")).tolist() == [[again, 0], [again, 1]]


def test_the_key_names_everything_that_changes_the_numbers():
    def key(sha="a", stages=None, pooled=True, view=0, precision="float32", pixels=224):
        preprocess = PicturePreprocess(height=pixels)
        source = Source("file:x", Modality.IMAGE, preprocess, sha, "safetensors")
        return feature_key(source, stages, pooled, view, precision)

    others = [
        key(sha="b"),
        key(stages=3),
        key(stages=3, pooled=False),
        key(view=1),
        key(precision="bfloat16"),
        key(pixels=192),
    ]
    assert len({key(), *others}) == 7
