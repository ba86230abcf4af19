"""Store: facts in SQLite (or PostgreSQL), by thin questions and answers.

What a call wrote is on disk when the call returns: write-ahead log, `synchronous=FULL`, one short
transaction a call. Only facts live here; arrays and graphs are files that the tables name and hash.
A database notices no flipped bit: every fact carries a seal, a hash of all its values, and one
whose seal is broken is as if it were not there.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects import postgresql, sqlite

from headstart.errors import IntegrityError
from headstart.io import plain
from headstart.machine import home
from headstart.store.database import LOST, engine_of, reading, tried, writing
from headstart.store.schema import feature_rows, graphs, leases, outcomes, prepare, shards

_AT_ONCE = 2_000  # hashes in one IN

#: A row hash, its shard's id, its position: of the types that were written, unless damaged.
_Listed = sa.Row[Any, Any, Any]


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
    seal: str


@dataclass(frozen=True)
class GraphEntry:
    """A compiled trunk: where its file is, its hash, and what was found when it was made."""

    key: str
    file: str
    sha256: str
    meta: dict[str, Any]
    created: str
    seal: str


@dataclass(frozen=True)
class Lease:
    """A job that somebody does: who, and how often they have said so."""

    study: str
    job: str
    owner: str
    beats: int


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

    def check(self) -> None:
        """Read the whole database, and refuse one that is damaged.

        Raises
        ------
        IntegrityError
            Where a page of it cannot be right.
        """
        if self._engine.dialect.name != "sqlite":
            return  # a server looks after its own pages
        with self._reading() as link:
            said = link.exec_driver_sql("PRAGMA integrity_check").scalar()
        if said != "ok":
            raise IntegrityError(
                f"The store {self._engine.url.database} is damaged: {said}.\n"
                f"Move that file away. {LOST}"
            )

    # -- features ---------------------------------------------------------------------------------

    @tried
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
            values: dict[str, Any] = facts | {"n_rows": len(row_hashes)}
            values |= {"created": _now(), "seal": ""}
            shard_id = _first_key(link.execute(sa.insert(shards).values(**values)))
            # In one order: else two with the same rows wait for each other.
            rows = [
                {"key": key, "row_hash": row_hash, "shard_id": shard_id, "position": position}
                for row_hash, position in sorted(first.items())
            ]
            if rows:
                link.execute(_insert(link, feature_rows).on_conflict_do_nothing(), rows)
            seal = _shard_seal(link, shard_id, Shard(id=shard_id, **values))
            link.execute(sa.update(shards).where(shards.c.id == shard_id).values(seal=seal))
        return shard_id

    def find_rows(self, key: str, row_hashes: NDArray[np.void]) -> NDArray[np.int64]:
        """Return (shard id, position) a row, shape (n, 2); -1 where it is not known under `key`.

        Parameters
        ----------
        key
            What the rows are the features of.
        row_hashes
            The hash of each row's content, ascending, no two alike; shape (n,).
        """
        places = np.full((len(row_hashes), 2), -1, dtype=np.int64)
        lost = set()
        with self._reading() as link:
            for listed in _listed(link, key, row_hashes):
                broken = {row[1] for row in listed if not _is_plain(*row, row_hashes.itemsize)}
                _place(places, row_hashes, [row for row in listed if row[1] not in broken])
                lost |= broken
        for shard_id in lost:  # as its seal would say
            self.drop_shard(shard_id)
        return places

    def shard(self, shard_id: int) -> Shard | None:
        """Return what is known of a shard, or None; a shard whose seal is broken is not known."""
        with self._reading() as link:
            row = link.execute(sa.select(shards).where(shards.c.id == shard_id)).one_or_none()
            found = None if row is None else Shard(**row._mapping)
            is_whole = found is not None and found.seal == _shard_seal(link, shard_id, found)
        return found if is_whole else None

    def shards(self, key: str | None = None) -> tuple[Shard, ...]:
        """Return every shard of a key (of all keys if None), oldest first."""
        query = sa.select(shards).order_by(shards.c.id)
        if key is not None:
            query = query.where(shards.c.key == key)
        with self._reading() as link:
            return tuple(Shard(**row._mapping) for row in link.execute(query))

    @tried
    def drop_shard(self, shard_id: int) -> None:
        """Forget a shard and its rows; the file is left to the caller."""
        with self._writing() as link:
            link.execute(sa.delete(feature_rows).where(feature_rows.c.shard_id == shard_id))
            link.execute(sa.delete(shards).where(shards.c.id == shard_id))

    # -- graphs -----------------------------------------------------------------------------------

    @tried
    def put_graph(self, key: str, file: str, sha256: str, meta: Mapping[str, Any]) -> None:
        """Record a compiled trunk, in place of an older one of the same key."""
        facts = {"file": file, "sha256": sha256, "meta": _json(meta), "created": _now()}
        facts["seal"] = _seal(key, file, sha256, facts["meta"])
        with self._writing() as link:
            insert = _insert(link, graphs).values(key=key, **facts)
            link.execute(insert.on_conflict_do_update(index_elements=["key"], set_=facts))

    def get_graph(self, key: str) -> GraphEntry | None:
        """Return what is known of a compiled trunk, or None."""
        return next((one for one in self.graphs() if one.key == key), None)  # there are few

    def graphs(self) -> tuple[GraphEntry, ...]:
        """Return every compiled trunk that is known."""
        with self._reading() as link:
            found = [GraphEntry(**row._mapping) for row in link.execute(sa.select(graphs))]
        return tuple(
            one for one in found if one.seal == _seal(one.key, one.file, one.sha256, one.meta)
        )

    @tried
    def drop_graph(self, key: str) -> None:
        """Forget a compiled trunk; the file is left to the caller."""
        with self._writing() as link:
            link.execute(sa.delete(graphs).where(graphs.c.key == key))

    # -- outcomes ---------------------------------------------------------------------------------

    @tried
    def put_outcome(self, study: str, job: str, facts: Mapping[str, Any]) -> None:
        """Record what came of a job of a study, in place of an older outcome of it."""
        said = _sealed(study, job, facts)
        with self._writing() as link:
            insert = _insert(link, outcomes).values(study=study, job=job, **said)
            link.execute(insert.on_conflict_do_update(index_elements=["study", "job"], set_=said))

    @tried
    def first_outcome(self, study: str, job: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Record what came of a job unless something is recorded; return what is."""
        if (kept := self.outcomes(study).get(job)) is not None:
            return kept
        with self._writing() as link:
            here = sa.and_(outcomes.c.study == study, outcomes.c.job == job)
            # Locked, where writers do not wait for each other: else what is broken could be in
            # order by now, and somebody else's.
            row = link.execute(sa.select(outcomes).where(here).with_for_update()).one_or_none()
            if row is not None and row.seal != _seal(study, job, row.facts):
                link.execute(sa.delete(outcomes).where(here))
            said = _sealed(study, job, facts)
            insert = _insert(link, outcomes).values(study=study, job=job, **said)
            link.execute(insert.on_conflict_do_nothing())
        return self.outcomes(study)[job]

    def outcomes(self, study: str) -> dict[str, dict[str, Any]]:
        """Return job → what came of it, for every finished job of a study."""
        found = self._outcomes(outcomes.c.study == study)
        return {job: facts for (_, job), facts in found.items()}

    def outcomes_under(self, prefix: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Return (study, job) → what came of it, for every study whose name begins so."""
        return self._outcomes(outcomes.c.study.startswith(prefix, autoescape=True))

    def _outcomes(self, those: sa.ColumnElement[bool]) -> dict[tuple[str, str], dict[str, Any]]:
        table = outcomes.c
        query = sa.select(table.study, table.job, table.facts, table.seal).where(those)
        with self._reading() as link:
            found = link.execute(query).all()
        return {
            (study, job): facts
            for study, job, facts, seal in found
            if seal == _seal(study, job, facts)
        }

    def studies(self) -> dict[str, str]:
        """Return study → when its last outcome was recorded."""
        latest = sa.func.max(outcomes.c.created)
        query = sa.select(outcomes.c.study, latest).group_by(outcomes.c.study)
        with self._reading() as link:
            return {study: created for study, created in link.execute(query)}

    @tried
    def drop_study(self, study: str) -> None:
        """Forget what came of every job of a study."""
        with self._writing() as link:
            link.execute(sa.delete(outcomes).where(outcomes.c.study == study))

    # -- leases -----------------------------------------------------------------------------------

    @tried
    def claim(self, study: str, job: str, owner: str, dead: Lease | None = None) -> Lease | None:
        """Take a job that nobody else has; return None if it is ours, else the lease it is held by.

        Parameters
        ----------
        study, job
            The job.
        owner
            Who takes it: a text that no other owner has.
        dead
            A lease whose owner is known to be dead: it is taken over, if it is still that one.
        """
        ours, table = {"study": study, "job": job, "owner": owner, "beats": 0}, leases.c
        here = sa.and_(table.study == study, table.job == job)
        with self._writing() as link:
            if dead is not None:
                same = sa.and_(here, table.owner == dead.owner, table.beats == dead.beats)
                link.execute(sa.delete(leases).where(same))
            insert = _insert(link, leases).values(**ours).on_conflict_do_nothing()
            if link.execute(insert.returning(table.job)).one_or_none() is not None:
                return None
            held = link.execute(sa.select(leases).where(here)).one_or_none()
        if held is None:  # where writers do not wait for each other: given back just now
            return self.claim(study, job, owner)
        return None if held.owner == owner else Lease(**held._mapping)

    @tried
    def beat(self, study: str, owner: str) -> None:
        """Say that an owner lives, for all its jobs of a study."""
        table = leases.c
        mine = sa.and_(table.study == study, table.owner == owner)
        with self._writing() as link:
            link.execute(sa.update(leases).where(mine).values(beats=table.beats + 1))

    @tried
    def release(self, study: str, owner: str, job: str | None = None) -> None:
        """Give back a job, or all that an owner has of a study."""
        table = leases.c
        mine = sa.and_(table.study == study, table.owner == owner)
        with self._writing() as link:
            only = mine if job is None else sa.and_(mine, table.job == job)
            link.execute(sa.delete(leases).where(only))

    def held(self, study: str) -> tuple[Lease, ...]:
        """Return the jobs of a study that somebody has."""
        with self._reading() as link:
            found = link.execute(sa.select(leases).where(leases.c.study == study))
            return tuple(Lease(**row._mapping) for row in found)

    # -- inside -----------------------------------------------------------------------------------

    def _reading(self) -> AbstractContextManager[sa.Connection]:
        return reading(self._engine)

    def _writing(self) -> AbstractContextManager[sa.Connection]:
        return writing(self._engine)


def open_store(url: str | None = None) -> Store:
    """Open the store, making its tables where there are none.

    Parameters
    ----------
    url
        "sqlite:///…" or "postgresql://…"; by default `HEADSTART_STORE`, else `store.sqlite` in the
        home folder.
    """
    asked = url or os.environ.get("HEADSTART_STORE") or f"sqlite:///{home() / 'store.sqlite'}"
    engine = engine_of(asked)
    try:
        prepare(engine)
    except BaseException:
        engine.dispose()
        raise
    return Store(engine)


def _seal(*values: Any) -> str:
    # A flipped bit may turn a text into bytes, which JSON has not: any other text will do for them.
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def _json(values: Mapping[str, Any]) -> dict[str, Any]:
    # As the database will give it back: the seal is of that.
    return dict(json.loads(json.dumps(plain(values), allow_nan=False)))


def _sealed(study: str, job: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    plain = _json(facts)
    return {"facts": plain, "created": _now(), "seal": _seal(study, job, plain)}


def _shard_seal(link: sa.Connection, shard_id: int, shard: Shard) -> str:
    """Return the seal of a shard and of the rows that are listed in it."""
    rows = feature_rows.c
    listed = sa.select(rows.position, rows.row_hash).where(rows.shard_id == shard_id)
    found = link.execute(listed).all()
    if not all(type(at) is int and isinstance(name, bytes) for at, name in found):
        return "broken"
    rows_told = sorted((at, name.hex()) for at, name in found)
    return _seal(shard.key, shard.file, shard.sha256, shard.n_rows, shard.precision, rows_told)


def _insert(link: sa.Connection, table: sa.Table) -> Any:
    return (postgresql if link.dialect.name == "postgresql" else sqlite).insert(table)


def _first_key(result: Any) -> int:
    return int(result.inserted_primary_key[0])


def _listed(
    link: sa.Connection, key: str, row_hashes: NDArray[np.void]
) -> Iterator[Sequence[_Listed]]:
    """Yield the rows under a key that are asked for, in parts."""
    table = feature_rows.c
    query = sa.select(table.row_hash, table.shard_id, table.position).where(table.key == key)
    for start in range(0, len(row_hashes), _AT_ONCE):
        asked = row_hashes[start : start + _AT_ONCE].tolist()
        yield link.execute(query.where(table.row_hash.in_(asked))).all()


def _is_plain(row_hash: Any, shard_id: Any, position: Any, size: int) -> bool:
    """Return whether a row has the types it was written with; a flipped bit may change them."""
    is_named = isinstance(row_hash, bytes) and len(row_hash) == size
    return is_named and type(shard_id) is int and type(position) is int


def _place(
    places: NDArray[np.int64], row_hashes: NDArray[np.void], listed: Sequence[_Listed]
) -> None:
    """Note where the rows are that are asked for."""
    names = np.frombuffer(b"".join(row[0] for row in listed), dtype=row_hashes.dtype)
    at = np.searchsorted(row_hashes, names).clip(max=len(row_hashes) - 1)
    is_asked = row_hashes[at] == names
    found = np.array([row[1:] for row in listed], dtype=np.int64)
    places[at[is_asked]] = found.reshape(-1, 2)[is_asked]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
