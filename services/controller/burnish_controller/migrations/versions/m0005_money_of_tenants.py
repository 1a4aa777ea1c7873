"""The day that a call counts on, tokens that have rates of their own, and the apps' own keys."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_COLUMNS = ("cached_tokens", "cache_write_tokens", "reasoning_tokens")


def upgrade() -> None:
    """Adds the columns and the table."""
    op.add_column("calls", sa.Column("day", sa.Integer(), nullable=False, server_default="0"))
    for name in _COLUMNS:
        op.add_column("calls", sa.Column(name, sa.Integer(), nullable=True))
    op.add_column("calls", sa.Column("price", sa.LargeBinary(), nullable=True))
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
    for name in reversed(_COLUMNS):
        op.drop_column("calls", name)
    op.drop_column("calls", "day")
