"""Database: an SQLite file or a PostgreSQL, its transactions, and its errors in our words."""

import functools
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa

from headstart.errors import Busy, HeadstartError, IntegrityError, ResourceError, UsageError
from headstart.extras import need
from headstart.machine import free_space_bytes

#: What a store may need at once: its log, and a page or two.
SPACE_BYTES = 200_000

#: How long a writer waits for another one.
BUSY_TIMEOUT_S = 30

#: What PostgreSQL calls a deadlock, and transactions that cannot both be: one of them is ended.
_ENDED = ("40P01", "40001")

#: How often a transaction is tried that was ended.
_N_TRIES = 5

#: What a person loses with the file.
LOST = (
    "Features and graphs are computed again, and so is what studies had found; how often a test "
    "set was read is lost."
)

#: What is told where SQLite keeps its journal otherwise.
_NO_LOG = (
    "A store needs SQLite's write-ahead log, and SQLite has none there: its journal is {!r}.\n"
    "Expected a file on a disk of this machine: HEADSTART_STORE=sqlite:///PATH, or another "
    "HEADSTART_HOME."
)

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection to ask."""
    with _our_errors(engine.url), engine.connect() as link:
        yield link


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection in a transaction that is kept as a whole, or not at all."""
    with _our_errors(engine.url), engine.connect() as plain:
        with (link := plain.execution_options(is_write=True)).begin():
            yield link


def tried(ask: Callable[P, T]) -> Callable[P, T]:
    """Let a transaction be tried again that the server ended, or whose connection was dropped.

    It may have been kept all the same: a second time it must come to what it came to at first.
    """

    @functools.wraps(ask)
    def again(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(_N_TRIES - 1):
            try:
                return ask(*args, **kwargs)
            except HeadstartError as error:
                if not _was_ended(error.__cause__):
                    raise
        return ask(*args, **kwargs)

    return again


def _was_ended(error: BaseException | None) -> bool:
    if not isinstance(error, sa.exc.DBAPIError):
        return False
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _ENDED


def engine_of(asked: str) -> sa.Engine:
    """Return the engine of a URL, "sqlite:///…" or "postgresql://…"."""
    try:
        url = sa.make_url(asked)
        backend = url.get_backend_name()
    except (sa.exc.ArgumentError, ValueError) as error:  # the latter of a port in letters
        raise UsageError(_unknown_store(asked)) from error
    if backend == "postgresql":
        need("psycopg", extra="postgresql")
        # A server that was started again, or does not keep what is idle, has dropped connections.
        return sa.create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    if backend != "sqlite":
        raise UsageError(_unknown_store(asked))
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    sa.event.listen(engine, "connect", _on_connect)
    sa.event.listen(engine, "begin", _on_begin)
    return engine


def _unknown_store(asked: str) -> str:
    scheme = asked.partition(":")[0]  # the rest may hold a password
    return (
        f"HEADSTART_STORE, which begins with {scheme!r}, names no store.\n"
        "Expected 'sqlite:///PATH' or 'postgresql://USER@HOST:5432/NAME'; unset it for the "
        "default."
    )


def _on_connect(connection: Any, _: Any) -> None:
    # We say BEGIN ourselves: the driver's own habit starts transactions too late for a safe write.
    connection.isolation_level = None
    # A fact with a broken letter is a changed fact, which its seal shows; the others are read.
    connection.text_factory = lambda text: text.decode(errors="replace")
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    _write_ahead(connection)


def _write_ahead(connection: Any) -> None:
    """Turn the write-ahead log on, which a new file lacks.

    SQLite does not wait for a lock here: of several processes that open a new file, all but one
    would fail at once.

    Raises
    ------
    UsageError
        Where there can be none: in memory, or on a file system without shared memory.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                return
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            if mode != "wal":
                raise UsageError(_NO_LOG.format(mode))
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _on_begin(link: sa.Connection) -> None:
    # A writer takes the lock at once, so that two of them wait instead of failing half-way.
    is_write = link.get_execution_options().get("is_write")
    link.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


@contextmanager
def _our_errors(url: sa.URL) -> Iterator[None]:
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _told(url, str(error.orig)) from error
    except sqlite3.Error as error:  # while a connection is made
        raise _told(url, str(error)) from error
    except (UnicodeError, json.JSONDecodeError) as error:
        raise _told(url, f"it holds what is no text ({error})") from error


def _told(url: sa.URL, reason: str) -> HeadstartError:
    """Return the error of ours that a database's error is, with what to do."""
    where = shown(url)
    if url.get_backend_name() != "sqlite":
        return HeadstartError(
            f"The store {where} cannot be used: {reason.strip()}.\n"
            "Start that server, correct HEADSTART_STORE, or unset it for the store on this machine."
        )
    if "locked" in reason:
        return Busy(
            f"The store {where} was held by another process for {BUSY_TIMEOUT_S} s.\n"
            "Wait for it to end, or set HEADSTART_HOME to another folder."
        )
    if any(word in reason for word in ("full", "I/O", "unable to open", "readonly")):
        free = free_space_bytes(Path(where))
        return ResourceError(
            f"The store {where} cannot be read or written: {reason}; some {SPACE_BYTES:,} bytes "
            f"needed, {free:,} free.\nFree some, look at the disk and at who may write there, or "
            "set HEADSTART_HOME to another folder."
        )
    return IntegrityError(
        f"The store {where} cannot be used: {reason}.\nMove that file away and start again. {LOST}"
    )


def shown(url: sa.URL) -> str:
    """Return how a store is shown to a person: never its password."""
    return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string()
