"""When a trace was stored, so that the oldest can make room."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column and its index."""
    op.add_column(
        "traces", sa.Column("create_time", sa.Float(), nullable=False, server_default="0")
    )
    op.create_index("traces_by_time", "traces", ["tenant", "create_time"])


def downgrade() -> None:
    """Drops them."""
    op.drop_index("traces_by_time", "traces")
    op.drop_column("traces", "create_time")
