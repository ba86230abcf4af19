"""store.py: facts that survive, and errors a person can act on."""

import hashlib
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest
import sqlalchemy as sa

from headstart.errors import (
    Busy,
    HeadstartError,
    IntegrityError,
    MissingExtra,
    ResourceError,
    StoreVersionError,
    UsageError,
)
from headstart.store.database import _told
from headstart.store.schema import feature_rows, outcomes
from headstart.store.store import _sealed, open_store


def row(i):
    return hashlib.blake2b(str(i).encode(), digest_size=16).digest()


def find(store, key, rows):
    """Return row → (shard, position) of those that are known."""
    names = np.unique(np.array(rows, dtype="V16"))
    places = store.find_rows(key, names).tolist()
    return {row: tuple(at) for row, at in zip(names.tolist(), places, strict=True) if at[0] >= 0}


@pytest.fixture
def store(fresh_home):
    with open_store() as store:
        yield store


def test_rows_are_found_where_they_were_put(store):
    first = store.add_shard("k", "a.npy", "0" * 64, "float16", [row(1), row(2), row(1)])
    second = store.add_shard("k", "b.npy", "1" * 64, "float32", [row(2), row(3)])
    other = store.add_shard("other", "c.npy", "2" * 64, "float16", [row(1)])
    assert find(store, "k", [row(1), row(2), row(3), row(4)]) == {
        row(1): (first, 0),
        row(2): (first, 1),
        row(3): (second, 1),
    }
    assert find(store, "other", [row(1), row(2)]) == {row(1): (other, 0)}
    assert find(store, "k", []) == {}


def test_a_shard_is_remembered_and_dropped(store):
    shard_id = store.add_shard("k", "a.npy", "0" * 64, "float16", [row(1), row(2)])
    kept = store.add_shard("k", "b.npy", "1" * 64, "float16", [row(3)])
    shard = store.shard(shard_id)
    assert (shard.file, shard.n_rows, shard.precision) == ("a.npy", 2, "float16")
    assert [shard.id for shard in store.shards("k")] == [shard_id, kept]
    store.drop_shard(shard_id)
    assert store.shard(shard_id) is None
    assert find(store, "k", [row(1), row(2), row(3)]) == {row(3): (kept, 0)}
    store.drop_shard(kept)
    assert store.add_shard("k", "c.npy", "2" * 64, "float16", []) > kept


def test_many_rows_are_found_in_as_many_questions(store):
    rows = [row(i) for i in range(25_000)]
    shard_id = store.add_shard("k", "a.npy", "0" * 64, "float16", rows)
    for n in (1, 2_000, 5_001, 25_000):
        new = [row(-i) for i in range(1, 4)]
        assert find(store, "k", rows[:n] + new) == {rows[i]: (shard_id, i) for i in range(n)}


def test_what_is_not_finite_is_kept_as_null(store):
    facts = {"score": float("nan"), "curve": [np.float32(0.5), float("inf")]}
    store.put_outcome("study", "job", facts)
    assert store.outcomes("study") == {"job": {"score": None, "curve": [0.5, None]}}


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
        "import os\nfrom headstart.store.store import open_store\n"
        "store = open_store()\n"
        "store.add_shard('k', 'a.npy', 'x', 'float16', [b'a' * 16])\n"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    with open_store() as store:
        assert find(store, "k", [b"a" * 16]) == {b"a" * 16: (1, 0)}


def test_two_processes_may_make_and_fill_it_at_once(fresh_home):
    code = (
        "import sys\nfrom headstart.store.store import open_store\n"
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


#: The tables as they were before seals and leases.
FIRST_TABLES = """
CREATE TABLE schema (version INTEGER NOT NULL PRIMARY KEY);
INSERT INTO schema VALUES (1);
CREATE TABLE shards (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, file TEXT NOT NULL,
    sha256 TEXT NOT NULL, n_rows INTEGER NOT NULL, precision TEXT NOT NULL, created TEXT NOT NULL);
CREATE INDEX ix_shards_key ON shards (key);
CREATE TABLE graphs (
    key TEXT NOT NULL PRIMARY KEY, file TEXT NOT NULL, sha256 TEXT NOT NULL, meta JSON NOT NULL,
    created TEXT NOT NULL);
CREATE TABLE feature_rows (
    key TEXT NOT NULL, row_hash BLOB NOT NULL, shard_id INTEGER NOT NULL REFERENCES shards (id),
    position INTEGER NOT NULL, PRIMARY KEY (key, row_hash)) WITHOUT ROWID;
INSERT INTO shards VALUES (7, 'k', 'a.npy', 'x', 2, 'float16', '2026-11-01T00:00:00+00:00');
INSERT INTO feature_rows VALUES
    ('k', X'01010101010101010101010101010101', 7, 0),
    ('k', X'02020202020202020202020202020202', 7, 1);
INSERT INTO graphs VALUES ('g', 'g.onnx', 'y', '{"parity": 1e-06}', '2026-11-01T00:00:00+00:00');
"""


def old_store(home):
    """Write a store as the first version did; it has no table of outcomes yet."""
    home.mkdir(exist_ok=True)
    with sqlite3.connect(home / "store.sqlite") as link:
        link.executescript(FIRST_TABLES)
    link.close()


def test_an_old_store_is_migrated_and_keeps_what_it_knew(fresh_home):
    old_store(fresh_home)
    for _ in range(2):
        with open_store() as store:
            ones, twos = (bytes([i]) * 16 for i in (1, 2))
            assert find(store, "k", [ones, twos]) == {ones: (7, 0), twos: (7, 1)}
            assert store.shard(7).file == "a.npy"
            assert store.get_graph("g").meta == {"parity": 1e-6}
            store.put_outcome("study", "job", {"score": 0.5})
            assert store.outcomes("study") == {"job": {"score": 0.5}}
            assert store.claim("study", "job", "me") is None
            store.release("study", "me")


def test_what_is_broken_in_an_old_store_hinders_nothing_and_stays(fresh_home):
    old_store(fresh_home)
    with sqlite3.connect(fresh_home / "store.sqlite") as link:
        link.executescript("""
            CREATE TABLE outcomes (study TEXT NOT NULL, job TEXT NOT NULL, facts JSON NOT NULL,
                created TEXT NOT NULL, PRIMARY KEY (study, job));
            INSERT INTO outcomes VALUES ('study', 'whole', '{"score": 0.5}', 'now'),
                ('study', 'cut', '{"score": ', 'now'), ('study', 'bytes', X'FF00', 'now'),
                (X'07', 'job', '{}', 'now');
            INSERT INTO graphs VALUES ('cut', 'c.onnx', 'y', '{"par', 'now');
            INSERT INTO shards VALUES (8, 'k', 'b.npy', 'x', 1, 'float16', 'now');
            INSERT INTO feature_rows VALUES ('k', 'a text', 8, 0);
        """)
    link.close()
    with open_store() as store:
        assert store.outcomes("study") == {"whole": {"score": 0.5}}
        assert (store.get_graph("g").file, store.get_graph("cut")) == ("g.onnx", None)
        assert (store.shard(7).file, store.shard(8)) == ("a.npy", None)
    with sqlite3.connect(fresh_home / "store.sqlite") as link:
        kept = dict(
            link.execute("SELECT job, facts FROM outcomes WHERE study = 'study'").fetchall()
        )
        assert (kept["cut"], kept["bytes"]) == ('{"score": ', b"\xff\x00")
    link.close()


def test_what_the_migrations_make_is_what_the_code_declares(store):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from headstart.store import schema

    with store._reading() as link:
        options = {"compare_type": True, "target_metadata": schema._tables}
        assert (
            compare_metadata(MigrationContext.configure(link, opts=options), schema._tables) == []
        )


def test_a_newer_store_is_refused(fresh_home):
    open_store().close()
    with sqlite3.connect(fresh_home / "store.sqlite") as link:
        link.execute("UPDATE alembic_version SET version_num = '9999'")
    link.close()
    with pytest.raises(StoreVersionError, match="schema 9999; this Headstart knows") as caught:
        open_store()
    assert "HEADSTART_HOME" in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_current_store_is_opened_without_the_write_lock(store, fresh_home):
    holder = sqlite3.connect(fresh_home / "store.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        with open_store() as second:
            assert second.outcomes("study") == {}
    finally:
        holder.close()


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE outcomes SET facts = replace(facts, '0.5', '0.7')", "outcomes"),
        ("UPDATE outcomes SET job = 'other'", "outcomes"),
        ("UPDATE outcomes SET job = CAST(job AS BLOB)", "outcomes"),
        ("UPDATE outcomes SET facts = '{\"score\": '", "outcomes"),
        ("UPDATE outcomes SET facts = 7", "outcomes"),
        ("UPDATE outcomes SET facts = CAST(X'7B22FF223A317D' AS TEXT)", "outcomes"),
        ("UPDATE graphs SET meta = 'none'", "graphs"),
        ("UPDATE graphs SET sha256 = 'z'", "graphs"),
        ("UPDATE graphs SET meta = replace(meta, 'e-06', 'e-05')", "graphs"),
        ("UPDATE shards SET file = 'b.npy'", "shards"),
        ("UPDATE feature_rows SET position = 1 - position", "shards"),
        ("UPDATE feature_rows SET row_hash = X'07' WHERE position = 0", "shards"),
        ("UPDATE feature_rows SET shard_id = 99 WHERE position = 0", "shards"),
    ],
)
def test_a_changed_fact_is_as_if_it_were_not_there(store, fresh_home, change, table):
    shard = store.add_shard("k", "a.npy", "x", "float16", [row(1), row(2)])
    store.put_graph("g", "g.onnx", "y", {"parity": 1e-6})
    store.put_outcome("study", "job", {"score": 0.5})
    with sqlite3.connect(fresh_home / "store.sqlite") as link:
        link.execute("PRAGMA foreign_keys = OFF")
        link.execute(change)
    link.close()
    known = {
        "outcomes": bool(store.outcomes("study")),
        "graphs": store.get_graph("g") is not None,
        "shards": store.shard(shard) is not None,
    }
    assert known == {name: name != table for name in known}


def test_a_job_that_is_ours_may_be_taken_again(store):
    """As it is where the connection was lost before the answer came."""
    assert store.claim("study", "job", "me") is None
    assert store.claim("study", "job", "me") is None
    assert store.claim("study", "job", "you").owner == "me"


def test_the_first_of_two_answers_stays(store):
    assert store.first_outcome("study", "plan", {"epochs": 3}) == {"epochs": 3}
    assert store.first_outcome("study", "plan", {"epochs": 4}) == {"epochs": 3}


def test_a_broken_answer_is_replaced_and_the_others_are_read(store, fresh_home):
    store.put_outcome("study", "plan", {"epochs": 3})
    store.put_outcome("study", "other", {"epochs": 5})
    with sqlite3.connect(fresh_home / "store.sqlite") as link:
        link.execute("UPDATE outcomes SET facts = '{' WHERE job = 'plan'")
    link.close()
    assert store.outcomes("study") == {"other": {"epochs": 5}}
    assert store.first_outcome("study", "plan", {"epochs": 4}) == {"epochs": 4}
    assert store.outcomes("study") == {"other": {"epochs": 5}, "plan": {"epochs": 4}}


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


@pytest.mark.parametrize(
    "url", ["mysql://me:secret@host/db", "postgresql://me:secret@host:port/db", "nonsense"]
)
def test_an_unknown_store_is_refused_without_its_password(url, monkeypatch):
    monkeypatch.setenv("HEADSTART_STORE", url)
    with pytest.raises(UsageError, match="no store") as caught:
        open_store()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_store_in_memory_is_refused(url, monkeypatch):
    monkeypatch.setenv("HEADSTART_STORE", url)
    with pytest.raises(UsageError, match=r"(?s)its journal is 'memory'.*sqlite:///PATH"):
        open_store()


def test_a_store_elsewhere(tmp_path):
    open_store(f"sqlite:///{tmp_path / 'x.sqlite'}").close()
    assert (tmp_path / "x.sqlite").exists()


def test_a_folder_that_is_not_ours_is_explained(tmp_path):
    with pytest.raises(ResourceError, match="cannot be read or written"):
        open_store(f"sqlite:///{tmp_path / 'nowhere' / 'x.sqlite'}")


def test_postgresql_answers_alike(postgresql):
    for _ in range(2):
        with open_store(postgresql) as store:
            shard_id = store.add_shard("k", "a.npy", "0" * 64, "float16", [row(1), row(1), row(2)])
            found = find(store, "k", [row(1), row(2), row(3)])
            assert found.keys() == {row(1), row(2)}
            assert found[row(2)] == (shard_id, 2)
            assert store.shard(shard_id).seal
            store.drop_shard(shard_id)
            assert find(store, "k", [row(1)]) == {}
            store.add_shard("many", "b.npy", "0" * 64, "float16", [row(i) for i in range(21_000)])
            assert len(find(store, "many", [row(i) for i in range(21_000)])) == 21_000
            store.put_graph("g", "g.onnx", "y", {"parity": 1e-6})
            assert store.get_graph("g").meta == {"parity": 1e-6}
            store.put_outcome("study", "job", {"score": 0.1 + 0.2, "curve": [1, float("nan")]})
            assert store.outcomes("study") == {"job": {"score": 0.1 + 0.2, "curve": [1, None]}}
            assert store.first_outcome("study", "job", {}) == store.outcomes("study")["job"]
            assert store.claim("study", "job", "me") is None
            held = store.claim("study", "job", "you")
            assert (held.owner, held.beats) == ("me", 0)
            store.beat("study", "me")
            assert store.claim("study", "job", "you", dead=held).beats == 1
            store.release("study", "me")
            store.drop_study("study")


@pytest.mark.parametrize("is_broken", [False, True])
def test_postgresql_keeps_the_first_of_two_answers_at_once(postgresql, is_broken):
    with open_store(postgresql) as store, open_store(postgresql) as other:
        store.drop_study("study")
        if is_broken:
            store.put_outcome("study", "plan", {"epochs": 2})
            with store._writing() as link:
                link.exec_driver_sql("UPDATE outcomes SET seal = 'broken'")
        later = []
        second = threading.Thread(
            target=lambda: later.append(other.first_outcome("study", "plan", {"epochs": 4}))
        )
        with store._writing() as link:  # the first has answered, and is about to say so
            link.exec_driver_sql("DELETE FROM outcomes")
            said = _sealed("study", "plan", {"epochs": 3})
            link.execute(sa.insert(outcomes).values(study="study", job="plan", **said))
            second.start()
            second.join(0.5)
            assert not later
        second.join(30)
        assert later == [{"epochs": 3}]
        store.drop_study("study")


def test_postgresql_lists_rows_in_one_order(postgresql):
    """Else two that wait for each other hold what the other one wants: a deadlock."""
    low, high = sorted([row(1), row(2)])
    with open_store(postgresql) as store, open_store(postgresql) as other:
        shard_id = store.add_shard("elsewhere", "a.npy", "x", "float16", [])
        placed = {"key": "order", "shard_id": shard_id, "position": 0}
        second = threading.Thread(
            target=other.add_shard, args=("order", "b.npy", "x", "float16", [high, low])
        )
        with store._writing() as link:
            link.execute(sa.insert(feature_rows).values(row_hash=low, **placed))
            second.start()
            second.join(0.5)
            link.execute(sa.insert(feature_rows).values(row_hash=high, **placed))
        second.join(30)
        assert find(store, "order", [low, high]) == {low: (shard_id, 0), high: (shard_id, 0)}


#: Ends the transaction that records an outcome: the first time, or as often as it is tried.
ENDER = """
CREATE SEQUENCE ended;
CREATE FUNCTION ender() RETURNS trigger AS $$
BEGIN
    IF nextval('ended') <= {times} THEN {end}; END IF;
    RETURN new;
END $$ LANGUAGE plpgsql;
CREATE TRIGGER ender BEFORE INSERT ON outcomes FOR EACH ROW EXECUTE FUNCTION ender();
"""
DEADLOCK = "RAISE EXCEPTION 'deadlock detected: blocked by process 7' USING ERRCODE = '40P01'"
DROPPED = "PERFORM pg_terminate_backend(pg_backend_pid())"


@pytest.fixture
def ends(postgresql):
    """Have the server end what records an outcome, some times."""
    with open_store(postgresql) as store:

        def run(text):
            with store._writing() as link:
                link.exec_driver_sql(text)

        yield lambda end, times: run(ENDER.format(end=end, times=times))
        run("DROP FUNCTION ender CASCADE; DROP SEQUENCE ended")
        store.drop_study("ended")


@pytest.mark.parametrize("end", [DEADLOCK, DROPPED], ids=["deadlock", "dropped"])
def test_postgresql_is_asked_again_what_it_ended(postgresql, ends, end):
    with open_store(postgresql) as store:
        ends(end, 1)
        store.put_outcome("ended", "job", {"n": 1})
        assert store.outcomes("ended") == {"job": {"n": 1}}


def test_postgresql_that_ends_all_is_told_after_some_tries(postgresql, ends):
    with open_store(postgresql) as store:
        ends(DEADLOCK, 99)
        with pytest.raises(HeadstartError, match="deadlock detected") as caught:
            store.put_outcome("ended", "job", {"n": 1})
    assert not isinstance(caught.value, Busy)  # of other words, nobody holds it for 30 s


def test_postgresql_that_dropped_an_idle_connection_is_asked_on_another(postgresql):
    with open_store(postgresql) as store, open_store(postgresql) as other:
        store.put_outcome("study", "first", {})
        with other._writing() as link:
            link.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        assert store.outcomes("study") == {"first": {}}
        store.drop_study("study")


def test_only_of_sqlite_is_a_word_about_locks_a_lock():
    reason = "process 1 waits for ShareLock; blocked by process 2"
    assert "Start that server" in str(_told(sa.make_url("postgresql://host/db"), reason))
    assert isinstance(_told(sa.make_url("sqlite:///x"), "database is locked"), Busy)


def test_postgresql_that_is_not_there_is_explained_without_its_password(postgresql):
    with pytest.raises(HeadstartError, match="Start that server") as caught:
        open_store("postgresql+psycopg://me:secret@127.0.0.1:1/db")
    assert "secret" not in str(caught.value)


def test_postgresql_needs_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"headstart\[postgresql\]"):
        open_store("postgresql://me@host/db")
