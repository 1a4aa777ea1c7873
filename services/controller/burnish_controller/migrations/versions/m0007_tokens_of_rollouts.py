"""Tokens beside the cost of every rollout."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; tokens of rollouts that finished before stay unknown."""
    op.add_column("rollouts", sa.Column("tokens", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Drops the column."""
    op.drop_column("rollouts", "tokens")
