"""A seal on every fact, since a database notices no flipped bit; and leases for running jobs.

A fact that is broken already gets none: it stays where it is, and is as if it were not there.
"""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the seals, those of what is there too, and the leases."""
    for table in ("shards", "graphs", "outcomes"):
        op.add_column(table, sa.Column("seal", sa.Text, nullable=False, server_default=""))
    op.create_index("ix_feature_rows_shard_id", "feature_rows", ["shard_id"])
    op.create_table(
        "leases",
        sa.Column("study", sa.Text, primary_key=True),
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("beats", sa.Integer, nullable=False),
    )
    link = op.get_bind()
    _seal_graphs(link)
    _seal_outcomes(link)
    _seal_shards(link)


def _seal_graphs(link: sa.Connection) -> None:
    table = sa.table("graphs", *map(sa.column, ("key", "file", "sha256", "meta", "seal")))
    at = table.c
    meta = sa.cast(at.meta, sa.Text).label("meta")
    for row in link.execute(sa.select(at.key, at.file, at.sha256, meta)).all():
        seal = _sealed(row.key, row.file, row.sha256, facts=row.meta)
        link.execute(sa.update(table).where(at.key == row.key).values(seal=seal))


def _seal_outcomes(link: sa.Connection) -> None:
    table = sa.table("outcomes", *map(sa.column, ("study", "job", "facts", "seal")))
    at = table.c
    facts = sa.cast(at.facts, sa.Text).label("facts")
    for row in link.execute(sa.select(at.study, at.job, facts)).all():
        seal = _sealed(row.study, row.job, facts=row.facts)
        where = sa.and_(at.study == row.study, at.job == row.job)
        link.execute(sa.update(table).where(where).values(seal=seal))


def _seal_shards(link: sa.Connection) -> None:
    names = ("id", "key", "file", "sha256", "n_rows", "precision", "seal")
    shards = sa.table("shards", *map(sa.column, names))
    rows = sa.table("feature_rows", sa.column("row_hash", sa.LargeBinary),
                    *map(sa.column, ("shard_id", "position")))  # fmt: skip
    for one in link.execute(sa.select(shards)).all():
        listed = sa.select(rows.c.position, rows.c.row_hash).where(rows.c.shard_id == one.id)
        found = link.execute(listed).all()
        if not all(type(at) is int and isinstance(name, bytes) for at, name in found):
            continue
        rows_told = sorted((at, name.hex()) for at, name in found)
        seal = _sealed(one.key, one.file, one.sha256, one.n_rows, one.precision, rows_told)
        link.execute(sa.update(shards).where(shards.c.id == one.id).values(seal=seal))


def _sealed(*values: object, facts: str | None = None) -> str:
    """Return the seal of values and of facts in JSON; none where these cannot be read."""
    # A copy of the store's own: a later change of it must not change what this file does.
    try:
        told = values if facts is None else (*values, json.loads(facts))
        text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError):
        return ""
    return hashlib.sha256(text.encode()).hexdigest()
