"""The first tables; what a store from before this list of changes has already stays as it is."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables that are not there."""
    there = set(sa.inspect(op.get_bind()).get_table_names())
    if "shards" not in there:
        op.create_table(
            "shards",
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("key", sa.Text, nullable=False, index=True),
            sa.Column("file", sa.Text, nullable=False),
            sa.Column("sha256", sa.Text, nullable=False),
            sa.Column("n_rows", sa.Integer, nullable=False),
            sa.Column("precision", sa.Text, nullable=False),
            sa.Column("created", sa.Text, nullable=False),
            sqlite_autoincrement=True,
        )
    if "feature_rows" not in there:
        op.create_table(
            "feature_rows",
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("row_hash", sa.LargeBinary, primary_key=True),
            sa.Column("shard_id", sa.Integer, sa.ForeignKey("shards.id"), nullable=False),
            sa.Column("position", sa.Integer, nullable=False),
            sqlite_with_rowid=False,
        )
    if "graphs" not in there:
        op.create_table(
            "graphs",
            sa.Column("key", sa.Text, primary_key=True),
            sa.Column("file", sa.Text, nullable=False),
            sa.Column("sha256", sa.Text, nullable=False),
            sa.Column("meta", sa.JSON, nullable=False),
            sa.Column("created", sa.Text, nullable=False),
        )
    if "outcomes" not in there:
        op.create_table(
            "outcomes",
            sa.Column("study", sa.Text, primary_key=True),
            sa.Column("job", sa.Text, primary_key=True),
            sa.Column("facts", sa.JSON, nullable=False),
            sa.Column("created", sa.Text, nullable=False),
        )
    if "schema" in there:  # how a store said its version before
        op.drop_table("schema")
