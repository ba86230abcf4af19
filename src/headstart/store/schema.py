"""Schema: every table, and how a store of an older version becomes one of today.

A change of the tables is a file in `migrations/versions`, for Alembic. All that a store lacks is
done in one transaction under the write lock: a process killed meanwhile leaves the old schema, two
that start at once do it once.
"""

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from headstart.errors import StoreVersionError
from headstart.store.database import reading, shown, writing

#: The last file in `migrations/versions`.
REVISION = "0002"

#: The number of the lock that migrations of a PostgreSQL wait for.
_LOCK = 480_117

MIGRATIONS = Path(__file__).parent / "migrations"

_tables = sa.MetaData()


class Facts(sa.TypeDecorator[Any]):
    """JSON; what does not parse is None, which no seal is of: a fact that is not there."""

    impl = sa.JSON
    cache_ok = True

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:
        """Return what reads a value of the database."""
        if (read := super().result_processor(dialect, coltype)) is None:
            return None  # the driver reads it, of a server that keeps no other

        def tolerant(value: Any) -> Any:
            try:
                return read(value)
            except (ValueError, TypeError, RecursionError):
                return None

        return tolerant


_version = sa.table("alembic_version", sa.column("version_num"))

shards = sa.Table(
    "shards",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, index=True),
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("n_rows", sa.Integer, nullable=False),
    sa.Column("precision", sa.Text, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("seal", sa.Text, nullable=False),
    sqlite_autoincrement=True,  # the id of a dropped shard never comes back
)

feature_rows = sa.Table(
    "feature_rows",
    _tables,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("row_hash", sa.LargeBinary, primary_key=True),
    sa.Column("shard_id", sa.Integer, sa.ForeignKey("shards.id"), nullable=False, index=True),
    sa.Column("position", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)

graphs = sa.Table(
    "graphs",
    _tables,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("meta", Facts, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("seal", sa.Text, nullable=False),
)

outcomes = sa.Table(
    "outcomes",
    _tables,
    sa.Column("study", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("facts", Facts, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("seal", sa.Text, nullable=False),
)

leases = sa.Table(
    "leases",
    _tables,
    sa.Column("study", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("beats", sa.Integer, nullable=False),
)


def prepare(engine: sa.Engine) -> None:
    """Bring a store to the schema of this version; a current one is only looked at.

    Raises
    ------
    StoreVersionError
        Where a newer version of Headstart wrote it.
    """
    with reading(engine) as link:
        found = _revision(link)
    if found == REVISION:
        return
    with writing(engine) as link:
        if link.dialect.name == "postgresql":  # where writers do not wait for each other
            link.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        found = _revision(link)  # another process may have been quicker
        if found != REVISION:
            _check(found, shown(engine.url))
            _migrate(link)


def _revision(link: sa.Connection) -> str | None:
    if not sa.inspect(link).has_table(_version.name):
        return None
    found = link.execute(sa.select(_version.c.version_num)).scalar()
    return None if found is None else str(found)


def _check(found: str | None, where: str) -> None:
    if found is not None and found > REVISION:
        raise StoreVersionError(
            f"The store {where} has schema {found}; this Headstart knows {REVISION}.\n"
            "It was written by a newer version of Headstart: use that version, or set "
            "HEADSTART_HOME to a new folder (features are then computed again)."
        )


def _migrate(link: sa.Connection) -> None:
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(MIGRATIONS))

    def steps(revision: Any, _: MigrationContext) -> Any:
        return scripts._upgrade_revs(REVISION, revision)

    context = MigrationContext.configure(link, opts={"fn": steps, "script": scripts})
    with Operations.context(context):
        context.run_migrations()
