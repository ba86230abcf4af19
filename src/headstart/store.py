"""Store: facts in SQLite (or PostgreSQL), every table declared here.

What a call wrote is on disk when the call returns: write-ahead log, `synchronous=FULL`, one short
transaction a call. Only facts live here; arrays and graphs are files that the tables name and hash.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from headstart.errors import Busy, IntegrityError, ResourceError, StoreVersionError, UsageError
from headstart.extras import need
from headstart.machine import home

VERSION = 1
_BUSY_TIMEOUT_S = 30
_ASKED_AT_ONCE = 2_000  # hashes in one IN; from ten times that on, the whole index is read instead

_tables = sa.MetaData()

_schema = sa.Table("schema", _tables, sa.Column("version", sa.Integer, primary_key=True))

_shards = sa.Table(
    "shards",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, index=True),
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("n_rows", sa.Integer, nullable=False),
    sa.Column("precision", sa.Text, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sqlite_autoincrement=True,  # the id of a dropped shard never comes back
)

_feature_rows = sa.Table(
    "feature_rows",
    _tables,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("row_hash", sa.LargeBinary, primary_key=True),
    sa.Column("shard_id", sa.Integer, sa.ForeignKey("shards.id"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)

_graphs = sa.Table(
    "graphs",
    _tables,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("meta", sa.JSON, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
)

_outcomes = sa.Table(
    "outcomes",
    _tables,
    sa.Column("study", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
)


@dataclass(frozen=True)
class Shard:
    """A file of features: what it holds, where it is, and its hash."""

    id: int
    key: str
    file: str
    sha256: str
    n_rows: int
    precision: str
    created: str


@dataclass(frozen=True)
class GraphEntry:
    """A compiled trunk: where its file is, its hash, and what was found when it was made."""

    key: str
    file: str
    sha256: str
    meta: dict[str, Any]
    created: str


class Store:
    """The facts, by thin questions and answers; made by `open_store`."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    # -- features ---------------------------------------------------------------------------------

    def add_shard(
        self, key: str, file: str, sha256: str, precision: str, row_hashes: Sequence[bytes]
    ) -> int:
        """Record a shard and its rows in one transaction; return its id.

        A row that another shard of this key has already stays where it is.

        Parameters
        ----------
        key
            What the rows are the features of.
        file
            The shard's file, relative to its folder.
        sha256
            Of that file.
        precision
            "float16" or "float32".
        row_hashes
            The hash of each row's content, in the order of the shard.
        """
        facts = {"key": key, "file": file, "sha256": sha256, "precision": precision}
        first: dict[bytes, int] = {}
        for position, row_hash in enumerate(row_hashes):
            first.setdefault(row_hash, position)
        with self._writing() as link:
            insert = sa.insert(_shards).values(n_rows=len(row_hashes), created=_now(), **facts)
            shard_id = _first_key(link.execute(insert))
            rows = [
                {"key": key, "row_hash": row_hash, "shard_id": shard_id, "position": position}
                for row_hash, position in first.items()
            ]
            if rows:
                link.execute(_insert(link, _feature_rows).on_conflict_do_nothing(), rows)
        return shard_id

    def find_rows(self, key: str, row_hashes: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        """Return row hash → (shard id, position) for the rows that are known under `key`."""
        wanted = set(row_hashes)
        table = _feature_rows.c
        query = sa.select(table.row_hash, table.shard_id, table.position).where(table.key == key)
        found: dict[bytes, tuple[int, int]] = {}
        with self._reading() as link:
            for part in _parts(wanted, _ASKED_AT_ONCE):
                narrowed = query if part is None else query.where(table.row_hash.in_(part))
                for row_hash, shard_id, position in link.execute(narrowed):
                    if row_hash in wanted:
                        found[bytes(row_hash)] = (shard_id, position)
        return found

    def shard(self, shard_id: int) -> Shard | None:
        """Return what is known of a shard, or None."""
        with self._reading() as link:
            row = link.execute(sa.select(_shards).where(_shards.c.id == shard_id)).one_or_none()
        return None if row is None else Shard(**row._mapping)

    def shards(self, key: str) -> tuple[Shard, ...]:
        """Return every shard of a key, oldest first."""
        query = sa.select(_shards).where(_shards.c.key == key).order_by(_shards.c.id)
        with self._reading() as link:
            return tuple(Shard(**row._mapping) for row in link.execute(query))

    def drop_shard(self, shard_id: int) -> None:
        """Forget a shard and its rows; the file is left to the caller."""
        key = sa.select(_shards.c.key).where(_shards.c.id == shard_id).scalar_subquery()
        rows = _feature_rows.c
        with self._writing() as link:
            link.execute(sa.delete(_feature_rows).where(rows.key == key, rows.shard_id == shard_id))
            link.execute(sa.delete(_shards).where(_shards.c.id == shard_id))

    # -- graphs -----------------------------------------------------------------------------------

    def put_graph(self, key: str, file: str, sha256: str, meta: Mapping[str, Any]) -> None:
        """Record a compiled trunk, in place of an older one of the same key."""
        facts = {"file": file, "sha256": sha256, "meta": dict(meta), "created": _now()}
        with self._writing() as link:
            insert = _insert(link, _graphs).values(key=key, **facts)
            link.execute(insert.on_conflict_do_update(index_elements=["key"], set_=facts))

    def get_graph(self, key: str) -> GraphEntry | None:
        """Return what is known of a compiled trunk, or None."""
        with self._reading() as link:
            row = link.execute(sa.select(_graphs).where(_graphs.c.key == key)).one_or_none()
        return None if row is None else GraphEntry(**row._mapping)

    def drop_graph(self, key: str) -> None:
        """Forget a compiled trunk; the file is left to the caller."""
        with self._writing() as link:
            link.execute(sa.delete(_graphs).where(_graphs.c.key == key))

    # -- outcomes ---------------------------------------------------------------------------------

    def put_outcome(self, study: str, job: str, facts: Mapping[str, Any]) -> None:
        """Record what came of a job of a study, in place of an older outcome of it."""
        said = {"facts": dict(facts), "created": _now()}
        with self._writing() as link:
            insert = _insert(link, _outcomes).values(study=study, job=job, **said)
            link.execute(insert.on_conflict_do_update(index_elements=["study", "job"], set_=said))

    def outcomes(self, study: str) -> dict[str, dict[str, Any]]:
        """Return job → what came of it, for every finished job of a study."""
        table = _outcomes.c
        query = sa.select(table.job, table.facts).where(table.study == study)
        with self._reading() as link:
            return {job: facts for job, facts in link.execute(query)}

    # -- inside -----------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with _our_errors(self._engine.url), self._engine.connect() as link:
            yield link

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with _our_errors(self._engine.url), self._engine.connect() as plain:
            with (link := plain.execution_options(is_write=True)).begin():
                yield link


def open_store(url: str | None = None) -> Store:
    """Open the store, making its tables where there are none.

    Parameters
    ----------
    url
        "sqlite:///…" or "postgresql://…"; by default `HEADSTART_STORE`, else `store.sqlite` in the
        home folder.
    """
    asked = url or os.environ.get("HEADSTART_STORE") or f"sqlite:///{home() / 'store.sqlite'}"
    store = Store(_engine(asked))
    try:
        _prepare(store)
    except BaseException:
        store.close()
        raise
    return store


def _engine(asked: str) -> sa.Engine:
    try:
        url = sa.make_url(asked)
        backend = url.get_backend_name()
    except sa.exc.ArgumentError as error:
        raise UsageError(_unknown_store(asked)) from error
    if backend == "postgresql":
        need("psycopg", extra="postgresql")
        return sa.create_engine(url.set(drivername="postgresql+psycopg"))
    if backend != "sqlite":
        raise UsageError(_unknown_store(asked))
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})
    sa.event.listen(engine, "connect", _on_connect)
    sa.event.listen(engine, "begin", _on_begin)
    return engine


def _unknown_store(asked: str) -> str:
    scheme = asked.partition(":")[0]  # the rest may hold a password
    return (
        f"HEADSTART_STORE begins with {scheme!r}, which is no store.\n"
        "Expected 'sqlite:///PATH' or 'postgresql://USER@HOST/NAME'; unset it for the default."
    )


def _on_connect(connection: Any, _: Any) -> None:
    # We say BEGIN ourselves: the driver's own habit starts transactions too late for a safe write.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(link: sa.Connection) -> None:
    # A writer takes the lock at once, so that two of them wait instead of failing half-way.
    is_write = link.get_execution_options().get("is_write")
    link.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


def _prepare(store: Store) -> None:
    with store._writing() as link:
        lacking = set(_tables.tables) - set(sa.inspect(link).get_table_names())
        if lacking:  # a table more is no other schema: what is there is read as before
            _tables.create_all(link)
        if _schema.name in lacking:
            link.execute(sa.insert(_schema).values(version=VERSION))
        found = link.execute(sa.select(_schema.c.version)).scalar()
    if found != VERSION:
        raise StoreVersionError(
            f"The store {_shown(store._engine.url)} has schema {found}; expected {VERSION}.\n"
            "It was written by another version of Headstart: use that version, or set "
            "HEADSTART_HOME to a new folder (features are then computed again)."
        )


@contextmanager
def _our_errors(url: sa.URL) -> Iterator[None]:
    try:
        yield
    except sa.exc.DBAPIError as error:
        reason = str(error.orig)
        if "locked" in reason:
            raise Busy(
                f"The store {_shown(url)} was held by another process for {_BUSY_TIMEOUT_S} s.\n"
                "Wait for it to end, or set HEADSTART_HOME to another folder."
            ) from error
        if "full" in reason:
            raise ResourceError(
                f"No space left for the store {_shown(url)}.\n"
                "Free some, or set HEADSTART_HOME to a folder on a larger disk."
            ) from error
        raise IntegrityError(
            f"The store {_shown(url)} cannot be used: {reason}.\n"
            "Move that file away and start again: only cached features and graphs are lost, "
            "and they are computed again."
        ) from error


def _shown(url: sa.URL) -> str:
    return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string()


def _insert(link: sa.Connection, table: sa.Table) -> Any:
    return (postgresql if link.dialect.name == "postgresql" else sqlite).insert(table)


def _first_key(result: Any) -> int:
    return int(result.inserted_primary_key[0])


def _parts(wanted: set[bytes], size: int) -> Iterator[list[bytes] | None]:
    # One None means: read everything under the key; beyond a point that is faster than asking.
    if len(wanted) > 10 * size:
        yield None
        return
    hashes = sorted(wanted)
    for start in range(0, len(hashes), size):
        yield hashes[start : start + size]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
