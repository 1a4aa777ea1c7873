"""The day that a call counts on, tokens that have rates of their own, and the apps' own keys."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TOKENS = ("cached_tokens", "cache_write_tokens", "reasoning_tokens")


def upgrade() -> None:
    """Adds the columns and the table."""
    # What is summed up stands before the bodies: to read a column behind one costs reading it all.
    with op.batch_alter_table("calls", recreate="always") as calls:
        calls.add_column(
            sa.Column("day", sa.Integer(), nullable=False, server_default="0"),
            insert_after="attempt",
        )
        for name in _TOKENS:
            calls.add_column(sa.Column(name, sa.Integer(), nullable=True), insert_after="lost_usd")
        calls.add_column(sa.Column("price", sa.LargeBinary(), nullable=True))
    op.create_table(
        "call_keys",
        sa.Column("tenant", sa.String(), primary_key=True),
        sa.Column("scope", sa.String(), primary_key=True),
        sa.Column("attempt", sa.Integer(), primary_key=True),
        sa.Column("client_key", sa.String(), primary_key=True),
        sa.Column("request_hash", sa.String(), primary_key=True),
        sa.Column("ordinal", sa.Integer(), nullable=False),
    )


def downgrade() -> None:
    """Drops them."""
    op.drop_table("call_keys")
    op.drop_column("calls", "price")
    for name in reversed(_TOKENS):
        op.drop_column("calls", name)
    op.drop_column("calls", "day")
