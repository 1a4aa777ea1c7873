"""Parts and weights beside every reward, and which graph's reward of a rollout its job goes by."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_PARTS = (
    "environment",
    "event",
    "outcome",
    "weight_environment",
    "weight_event",
    "weight_outcome",
)


def upgrade() -> None:
    """Adds the columns; parts of rewards given before stay unknown beside them."""
    for name in _PARTS:
        op.add_column("rewards", sa.Column(name, sa.Float(), nullable=True))
    op.add_column(
        "rewards", sa.Column("simulated", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("rollouts", sa.Column("graph", sa.String(), nullable=False, server_default=""))
    rollouts = sa.table("rollouts", *map(sa.column, ("tenant", "rollout_id", "graph")))
    rewards = sa.table("rewards", *map(sa.column, ("tenant", "rollout_id", "graph")))
    same = (rewards.c.tenant == rollouts.c.tenant) & (rewards.c.rollout_id == rollouts.c.rollout_id)
    first = sa.select(sa.func.min(rewards.c.graph)).where(same).scalar_subquery()
    op.execute(rollouts.update().values(graph=sa.func.coalesce(first, "")))


def downgrade() -> None:
    """Drops the columns."""
    op.drop_column("rollouts", "graph")
    op.drop_column("rewards", "simulated")
    for name in reversed(_PARTS):
        op.drop_column("rewards", name)
