"""The bridge from calls as they were seen to trace messages; beside `convert.py` for its size.

Traces leave column by column. What calls share is written once per batch, and a column is one call
into the protobuf runtime for the whole batch, so that a trace costs about a microsecond.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson

from burnish.api.trace.v1 import trace_service_pb2 as trace_v1
from burnish_interceptor.seen import SeenCall, Served

_UNKNOWN = (-1, -1)


def traces_request(
    node_id: str, calls: Sequence[SeenCall], *, dropped: int, provider_request: str
) -> trace_v1.WriteTracesRequest:
    """Writes the traces of some calls.

    Args:
        node_id: Stable id of the replica.
        calls: The calls.
        dropped: Traces lost since the last batch that was stored.
        provider_request: What is kept of the bodies that providers were sent: their `hash`, `full`
            or `off`.
    """
    request = trace_v1.WriteTracesRequest(node_id=node_id, dropped_count=dropped)
    columns = request.columns
    _share(columns, calls)
    columns.call_ids.extend([call.call_id for call in calls])
    columns.rollout_ids.extend([call.rollout_id for call in calls])
    columns.app_requests.extend([call.app_request for call in calls])
    if provider_request == "full":
        columns.provider_requests.extend([call.provider_request for call in calls])
    elif provider_request == "hash":
        columns.provider_request_hashes.extend([_hash(call.provider_request) for call in calls])
    columns.replies.extend([call.reply for call in calls])
    columns.reply_statuses.extend([call.reply_status for call in calls])
    columns.streams.extend([call.stream for call in calls])
    columns.start_times.extend([call.start_time for call in calls])
    columns.latencies.extend([call.latency for call in calls])
    columns.first_byte_latencies.extend([call.first_byte_latency for call in calls])
    columns.overheads.extend([call.overhead for call in calls])
    usages = [call.usage or _UNKNOWN for call in calls]
    columns.input_tokens.extend([usage[0] for usage in usages])
    columns.output_tokens.extend([usage[1] for usage in usages])
    columns.match_ratios.extend(
        [-1.0 if call.match_ratio is None else call.match_ratio for call in calls]
    )
    columns.trace_ids.extend(
        [call.trace.trace_id if call.traceparent else call.call_id[-32:] for call in calls]
    )
    columns.bindings.extend(
        [orjson.dumps(call.bindings) if call.bindings else b"" for call in calls]
    )
    for position, call in enumerate(calls):
        if call.problem is not None:
            failure = columns.failures[position]
            failure.reason = call.problem.reason
            failure.message = call.problem.message
            failure.retryable = call.problem.retryable
    return request


def _share(columns: trace_v1.TraceColumns, calls: Sequence[SeenCall]) -> None:
    places: dict[Served, int] = {}
    columns.shared_indexes.extend([places.setdefault(call.served, len(places)) for call in calls])
    for served in places:
        shared = columns.shared.add()
        trace = shared.trace
        trace.policy = f"policies/{served.policy_id}"
        trace.policy_version = served.policy_version
        trace.provider = served.provider
        trace.model = served.model
        trace.api = served.api
        trace.arm = served.arm
        trace.call.stage_id = served.stage_id
        trace.call.candidate_id = served.candidate_id
        if served.price is not None:
            shared.price.input_usd_per_million, shared.price.output_usd_per_million = served.price


def _hash(body: bytes) -> bytes:
    return hashlib.sha256(body).digest() if body else b""
