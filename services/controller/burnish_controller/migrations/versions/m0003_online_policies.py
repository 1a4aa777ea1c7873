"""Online policies, and the prompts of their candidates."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "policies",
        sa.Column("tenant", sa.String(), primary_key=True),
        sa.Column("policy_id", sa.String(), primary_key=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=True),
        sa.Column("create_time", sa.Float(), nullable=False),
        sa.Column("update_time", sa.Float(), nullable=False),
    )
    op.create_index("policies_by_revision", "policies", ["tenant", "revision"])
    op.create_table(
        "policy_candidates",
        sa.Column("tenant", sa.String(), primary_key=True),
        sa.Column("policy_id", sa.String(), primary_key=True),
        sa.Column("candidate_id", sa.String(), primary_key=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )


def downgrade() -> None:
    """Drops the tables."""
    op.drop_table("policy_candidates")
    op.drop_index("policies_by_revision", "policies")
    op.drop_table("policies")
