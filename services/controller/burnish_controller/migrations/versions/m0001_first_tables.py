"""The first tables: jobs, events, search space, rollouts, rewards, calls, traces."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "calls",
        sa.Column("tenant", sa.String(), primary_key=True),
        sa.Column("scope", sa.String(), primary_key=True),
        sa.Column("request_hash", sa.String(), primary_key=True),
        sa.Column("ordinal", sa.Integer(), primary_key=True),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("worst_tokens", sa.Integer(), nullable=False),
        sa.Column("worst_usd", sa.Float(), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=True),
        sa.Column("estimated", sa.Integer(), nullable=False),
        sa.Column("lost_calls", sa.Integer(), nullable=False),
        sa.Column("lost_tokens", sa.Integer(), nullable=False),
        sa.Column("lost_usd", sa.Float(), nullable=True),
        sa.Column("stage_id", sa.String(), nullable=True),
        sa.Column("reply", sa.LargeBinary(), nullable=True),
        sa.Column("trace", sa.LargeBinary(), nullable=True),
        sa.Column("failure", sa.LargeBinary(), nullable=True),
    )
    op.create_index("calls_by_job", "calls", ["tenant", "job_id"])
    op.create_table(
        "candidates",
        sa.Column("tenant", sa.String(), primary_key=True),
        sa.Column("job_id", sa.String(), primary_key=True),
        sa.Column("candidate_id", sa.String(), primary_key=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "components",
        sa.Column("tenant", sa.String(), primary_key=True),
        sa.Column("job_id", sa.String(), primary_key=True),
        sa.Column("component_id", sa.String(), primary_key=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("tenant", sa.String(), primary_key=True),
        sa.Column("job_id", sa.String(), primary_key=True),
        sa.Column("sequence", sa.Integer(), primary_key=True),
        sa.Column("event_key", sa.String(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("tenant", "job_id", "event_key", name="events_key"),
    )
    op.create_table(
        "jobs",
        sa.Column("tenant", sa.String(), primary_key=True),
        sa.Column("job_id", sa.String(), primary_key=True),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("spec", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("templates", sa.LargeBinary(), nullable=True),
        sa.Column("create_time", sa.Float(), nullable=False),
        sa.Column("start_time", sa.Float(), nullable=True),
        sa.Column("end_time", sa.Float(), nullable=True),
        sa.Column("paused_seconds", sa.Float(), nullable=False),
        sa.UniqueConstraint("tenant", "request_id", name="jobs_request"),
    )
    op.create_index("jobs_by_time", "jobs", ["tenant", "create_time"])
    op.create_table(
        "rewards",
        sa.Column("tenant", sa.String(), primary_key=True),
        sa.Column("rollout_id", sa.String(), primary_key=True),
        sa.Column("graph", sa.String(), primary_key=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "rollouts",
        sa.Column("tenant", sa.String(), primary_key=True),
        sa.Column("rollout_id", sa.String(), primary_key=True),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("candidate_id", sa.String(), nullable=False),
        sa.Column("pool", sa.Integer(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("repeat", sa.Integer(), nullable=False),
        sa.Column("fidelity", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("fused", sa.Float(), nullable=True),
        sa.Column("failure_reason", sa.String(), nullable=True),
        sa.Column("cost_usd", sa.Float(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("end_time", sa.Float(), nullable=False),
    )
    op.create_index("rollouts_by_job", "rollouts", ["tenant", "job_id", "phase"])
    op.create_table(
        "study_entries",
        sa.Column("tenant", sa.String(), primary_key=True),
        sa.Column("job_id", sa.String(), primary_key=True),
        sa.Column("revision", sa.Integer(), primary_key=True),
        sa.Column("entry_key", sa.String(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("tenant", "job_id", "entry_key", name="study_entries_key"),
    )
    op.create_table(
        "traces",
        sa.Column("tenant", sa.String(), primary_key=True),
        sa.Column("call_id", sa.String(), primary_key=True),
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("policy", sa.String(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.create_index("traces_by_rollout", "traces", ["tenant", "rollout_id"])


def downgrade() -> None:
    """Drops the tables."""
    op.drop_table("traces")
    op.drop_table("study_entries")
    op.drop_table("rollouts")
    op.drop_table("rewards")
    op.drop_table("jobs")
    op.drop_table("events")
    op.drop_table("components")
    op.drop_table("candidates")
    op.drop_table("calls")
