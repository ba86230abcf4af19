"""store.py: facts that survive, and errors a person can act on."""

import hashlib
import os
import sqlite3
import subprocess
import sys

import pytest

from headstart.errors import Busy, IntegrityError, MissingExtra, StoreVersionError, UsageError
from headstart.store import open_store


def row(i):
    return hashlib.blake2b(str(i).encode(), digest_size=16).digest()


@pytest.fixture
def store(fresh_home):
    with open_store() as store:
        yield store


def test_rows_are_found_where_they_were_put(store):
    first = store.add_shard("k", "a.npy", "0" * 64, "float16", [row(1), row(2), row(1)])
    second = store.add_shard("k", "b.npy", "1" * 64, "float32", [row(2), row(3)])
    other = store.add_shard("other", "c.npy", "2" * 64, "float16", [row(1)])
    assert store.find_rows("k", [row(1), row(2), row(3), row(4)]) == {
        row(1): (first, 0),
        row(2): (first, 1),
        row(3): (second, 1),
    }
    assert store.find_rows("other", [row(1), row(2)]) == {row(1): (other, 0)}
    assert store.find_rows("k", []) == {}


def test_a_shard_is_remembered_and_dropped(store):
    shard_id = store.add_shard("k", "a.npy", "0" * 64, "float16", [row(1), row(2)])
    kept = store.add_shard("k", "b.npy", "1" * 64, "float16", [row(3)])
    shard = store.shard(shard_id)
    assert (shard.file, shard.n_rows, shard.precision) == ("a.npy", 2, "float16")
    assert [shard.id for shard in store.shards("k")] == [shard_id, kept]
    store.drop_shard(shard_id)
    assert store.shard(shard_id) is None
    assert store.find_rows("k", [row(1), row(2), row(3)]) == {row(3): (kept, 0)}
    store.drop_shard(kept)
    assert store.add_shard("k", "c.npy", "2" * 64, "float16", []) > kept


def test_many_rows_are_found_in_every_way_of_asking(store):
    rows = [row(i) for i in range(25_000)]
    shard_id = store.add_shard("k", "a.npy", "0" * 64, "float16", rows)
    for n in (1, 2_000, 5_001, 25_000):
        found = store.find_rows("k", rows[:n])
        assert len(found) == n
        assert found[rows[n - 1]] == (shard_id, n - 1)


def test_graphs(store):
    assert store.get_graph("k") is None
    store.put_graph("k", "a.onnx", "0" * 64, {"parity": 1e-6})
    store.put_graph("k", "b.onnx", "1" * 64, {"parity": 1e-7, "outputs": ["a"]})
    entry = store.get_graph("k")
    assert (entry.file, entry.meta) == ("b.onnx", {"parity": 1e-7, "outputs": ["a"]})
    store.drop_graph("k")
    assert store.get_graph("k") is None


def test_what_was_said_is_there_for_the_next_process(fresh_home):
    code = (
        "import os\nfrom headstart.store import open_store\n"
        "store = open_store()\n"
        "store.add_shard('k', 'a.npy', 'x', 'float16', [b'a' * 16])\n"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    with open_store() as store:
        assert store.find_rows("k", [b"a" * 16]) == {b"a" * 16: (1, 0)}


def test_two_processes_may_make_and_fill_it_at_once(fresh_home):
    code = (
        "import sys\nfrom headstart.store import open_store\n"
        "store = open_store()\n"
        "for i in range(20):\n"
        "    store.add_shard(sys.argv[1], 'f', 'x', 'float16', [bytes([i]) * 16])\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, key]) for key in ("a", "b", "c")]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    with open_store() as store:
        assert [len(store.shards(key)) for key in ("a", "b", "c")] == [20, 20, 20]


def test_it_is_durable_as_promised(store):
    with store._reading() as link:
        assert link.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert link.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_another_version_is_refused(fresh_home):
    open_store().close()
    with sqlite3.connect(fresh_home / "store.sqlite") as link:
        link.execute("UPDATE schema SET version = 99")
    link.close()
    with pytest.raises(StoreVersionError, match="schema 99; expected 1") as caught:
        open_store()
    assert "HEADSTART_HOME" in str(caught.value)


def test_a_store_from_before_a_table_gets_it(fresh_home):
    open_store().close()
    with sqlite3.connect(fresh_home / "store.sqlite") as link:
        link.execute("DROP TABLE outcomes")
    link.close()
    with open_store() as store:
        store.put_outcome("study", "job", {"score": 0.5})
        assert store.outcomes("study") == {"job": {"score": 0.5}}


def test_a_file_that_is_no_store_is_explained(fresh_home):
    fresh_home.mkdir()
    (fresh_home / "store.sqlite").write_bytes(b"not a database, " * 100)
    with pytest.raises(IntegrityError, match="Move that file away"):
        open_store()


def test_a_lock_that_does_not_end_is_explained(store, fresh_home):
    holder = sqlite3.connect(fresh_home / "store.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with store._reading() as link:
            link.exec_driver_sql("PRAGMA busy_timeout = 50")
        with pytest.raises(Busy, match="held by another process"):
            store.drop_graph("k")
    finally:
        holder.close()


@pytest.mark.parametrize("url", ["mysql://me:secret@host/db", "nonsense"])
def test_an_unknown_store_is_refused_without_its_password(url, monkeypatch):
    monkeypatch.setenv("HEADSTART_STORE", url)
    with pytest.raises(UsageError, match="no store") as caught:
        open_store()
    assert "secret" not in str(caught.value)


def test_a_store_elsewhere(tmp_path):
    open_store(f"sqlite:///{tmp_path / 'x.sqlite'}").close()
    assert (tmp_path / "x.sqlite").exists()


@pytest.mark.skipif("HEADSTART_TEST_POSTGRESQL" not in os.environ, reason="no PostgreSQL named")
def test_postgresql_answers_alike():
    with open_store(os.environ["HEADSTART_TEST_POSTGRESQL"]) as store:
        shard_id = store.add_shard("k", "a.npy", "0" * 64, "float16", [row(1), row(1)])
        assert store.find_rows("k", [row(1)])[row(1)] == (shard_id, 0)
        store.drop_shard(shard_id)


def test_postgresql_needs_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"headstart\[postgresql\]"):
        open_store("postgresql://me@host/db")
