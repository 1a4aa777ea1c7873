"""What it takes to go on after a crash: which request began a call, its price, a pause's begin."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns."""
    op.add_column(
        "calls", sa.Column("begin_sequence", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("calls", sa.Column("input_price", sa.Float(), nullable=True))
    op.add_column("calls", sa.Column("output_price", sa.Float(), nullable=True))
    op.add_column("jobs", sa.Column("paused_since", sa.Float(), nullable=True))


def downgrade() -> None:
    """Drops the columns."""
    op.drop_column("jobs", "paused_since")
    op.drop_column("calls", "output_price")
    op.drop_column("calls", "input_price")
    op.drop_column("calls", "begin_sequence")
