"""The tables, as SQLAlchemy Core. Tenant is part of every key, from the first migration on.

Messages are kept as serialised protobuf in `data` columns beside the columns that are asked for.
Times are Unix seconds.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("job_id", String, primary_key=True),
    Column("request_id", String, nullable=True),
    Column("spec", LargeBinary, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=True),
    Column("state", Integer, nullable=False),
    Column("phase", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("templates", LargeBinary, nullable=True),
    Column("create_time", Float, nullable=False),
    Column("start_time", Float, nullable=True),
    Column("end_time", Float, nullable=True),
    Column("paused_seconds", Float, nullable=False),
    Column("paused_since", Float, nullable=True),
    UniqueConstraint("tenant", "request_id", name="jobs_request"),
    Index("jobs_by_time", "tenant", "create_time"),
)

events = Table(
    "events",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("job_id", String, primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("event_key", String, nullable=False),
    Column("data", LargeBinary, nullable=False),
    UniqueConstraint("tenant", "job_id", "event_key", name="events_key"),
)

components = Table(
    "components",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("job_id", String, primary_key=True),
    Column("component_id", String, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

candidates = Table(
    "candidates",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("job_id", String, primary_key=True),
    Column("candidate_id", String, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

study_entries = Table(
    "study_entries",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("job_id", String, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("entry_key", String, nullable=False),
    Column("data", LargeBinary, nullable=False),
    UniqueConstraint("tenant", "job_id", "entry_key", name="study_entries_key"),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("rollout_id", String, primary_key=True),
    Column("job_id", String, nullable=False),
    Column("phase", String, nullable=False),
    Column("candidate_id", String, nullable=False),
    Column("pool", Integer, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("repeat", Integer, nullable=False),
    Column("fidelity", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("fused", Float, nullable=True),
    Column("failure_reason", String, nullable=True),
    Column("cost_usd", Float, nullable=True),
    Column("tokens", Integer, nullable=True),
    Column("data", LargeBinary, nullable=False),
    Column("end_time", Float, nullable=False),
    Column("graph", String, nullable=False, server_default=""),
    Index("rollouts_by_job", "tenant", "job_id", "phase"),
)

rewards = Table(
    "rewards",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("rollout_id", String, primary_key=True),
    Column("graph", String, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("environment", Float, nullable=True),
    Column("event", Float, nullable=True),
    Column("outcome", Float, nullable=True),
    Column("weight_environment", Float, nullable=True),
    Column("weight_event", Float, nullable=True),
    Column("weight_outcome", Float, nullable=True),
    Column("simulated", Integer, nullable=False, server_default="0"),
)

calls = Table(
    "calls",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("scope", String, primary_key=True),
    Column("request_hash", String, primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("job_id", String, nullable=False),
    Column("role", String, nullable=False),
    Column("position", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("client_id", String, nullable=False),
    Column("begin_sequence", Integer, nullable=False, server_default="0"),
    Column("state", String, nullable=False),
    Column("model", String, nullable=False),
    Column("input_price", Float, nullable=True),
    Column("output_price", Float, nullable=True),
    Column("day", Integer, nullable=False, server_default="0"),
    Column("price", LargeBinary, nullable=True),
    Column("worst_tokens", Integer, nullable=False),
    Column("worst_usd", Float, nullable=True),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("cached_tokens", Integer, nullable=True),
    Column("cache_write_tokens", Integer, nullable=True),
    Column("reasoning_tokens", Integer, nullable=True),
    Column("cost_usd", Float, nullable=True),
    Column("estimated", Integer, nullable=False),
    Column("lost_calls", Integer, nullable=False),
    Column("lost_tokens", Integer, nullable=False),
    Column("lost_usd", Float, nullable=True),
    Column("stage_id", String, nullable=True),
    Column("reply", LargeBinary, nullable=True),
    Column("trace", LargeBinary, nullable=True),
    Column("failure", LargeBinary, nullable=True),
    Index("calls_by_job", "tenant", "job_id"),
)

call_keys = Table(
    "call_keys",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("scope", String, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("client_key", String, primary_key=True),
    Column("request_hash", String, primary_key=True),
    Column("ordinal", Integer, nullable=False),
)

traces = Table(
    "traces",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("call_id", String, primary_key=True),
    Column("rollout_id", String, nullable=False),
    Column("policy", String, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("create_time", Float, nullable=False, server_default="0"),
    Index("traces_by_rollout", "tenant", "rollout_id"),
    Index("traces_by_time", "tenant", "create_time"),
)

# A deleted policy leaves its row, so that revisions and versions never go back.
policies = Table(
    "policies",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("policy_id", String, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("data", LargeBinary, nullable=True),
    Column("create_time", Float, nullable=False),
    Column("update_time", Float, nullable=False),
    Index("policies_by_revision", "tenant", "revision"),
)

policy_candidates = Table(
    "policy_candidates",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("policy_id", String, primary_key=True),
    Column("candidate_id", String, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)
