"""The bridge from batches of traces to their messages; beside `convert.py` for its size.

What calls share is written once per batch, and a column is one call into the protobuf runtime for
the whole batch.
"""

from __future__ import annotations

from burnish.api.trace.v1 import trace_service_pb2 as trace_v1
from burnish_interceptor.trace_batch import Packed, TraceBatch


def traces_request(node_id: str, batch: TraceBatch, *, dropped: int) -> trace_v1.WriteTracesRequest:
    """Writes a batch.

    Args:
        node_id: Stable id of the replica.
        batch: The traces.
        dropped: Traces lost since the last batch that was stored.
    """
    request = trace_v1.WriteTracesRequest(node_id=node_id, dropped_count=dropped)
    columns = request.columns
    _share(columns, batch)
    columns.call_ids.extend(batch.call_ids)
    columns.rollout_ids.extend(batch.rollout_ids)
    columns.trace_ids.extend(batch.trace_ids)
    _fill(columns.app_requests, batch.app_requests)
    _fill(columns.provider_requests, batch.provider_requests)
    columns.provider_request_hashes.extend(batch.provider_request_hashes)
    _fill(columns.replies, batch.replies)
    columns.reply_statuses.extend(batch.reply_statuses)
    columns.streams.extend(batch.streams)
    columns.start_times.extend(batch.start_times)
    columns.latencies.extend(batch.latencies)
    columns.first_byte_latencies.extend(batch.first_byte_latencies)
    columns.overheads.extend(batch.overheads)
    columns.input_tokens.extend(batch.input_tokens)
    columns.output_tokens.extend(batch.output_tokens)
    columns.match_ratios.extend(batch.match_ratios)
    _fill(columns.bindings, batch.bindings)
    for position, problem in batch.problems.items():
        failure = columns.failures[position]
        failure.reason = problem.reason
        failure.message = problem.message
        failure.retryable = problem.retryable
    return request


def _fill(column: trace_v1.JoinedBodies, bodies: Packed) -> None:
    if bodies.lengths:
        column.zstd = b"".join(bodies.frames)
        column.lengths.extend(bodies.lengths)


def _share(columns: trace_v1.TraceColumns, batch: TraceBatch) -> None:
    columns.shared_indexes.extend(batch.shared_indexes)
    for served in batch.served:
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
