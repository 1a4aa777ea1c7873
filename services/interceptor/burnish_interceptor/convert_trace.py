"""The bridge from calls as they were seen to trace messages; beside `convert.py` for its size."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from burnish.api.ledger.v1 import call_ledger_service_pb2 as ledger_v1
from burnish.api.trace.v1 import trace_service_pb2 as trace_v1
from burnish_interceptor.seen import SeenCall

_BILLION = 1_000_000_000
_MILLION = 1e6
_EVENTS = "text/event-stream"
_JSON = "application/json"


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
    for call in calls:
        # Filled in place: to put messages together first would copy every body.
        _fill(request.traces.add(), call, provider_request)
    return request


def _fill(message: trace_v1.Trace, call: SeenCall, provider_request: str) -> None:
    served = call.served
    message.call_id = call.call_id
    message.rollout_id = call.rollout_id
    message.policy = f"policies/{served.policy_id}"
    message.policy_version = served.policy_version
    message.provider = served.provider
    message.model = served.model
    message.api = served.api
    message.arm = served.arm
    if call.match_ratio is not None:
        message.match_ratio = call.match_ratio
    _set(message.overhead, call.overhead)
    if call.trace is not None:
        message.trace_id = call.trace.trace_id
    _fill_call(message.call, call, provider_request)
    if call.provider_request and provider_request == "hash":
        message.provider_request_hash = hashlib.sha256(call.provider_request).digest()
    if call.reply_status:
        reply = message.reply
        reply.status = call.reply_status
        reply.content_type = _EVENTS if call.stream else _JSON
        reply.body = call.reply
    if call.usage is not None:
        usage = message.usage
        read, written = call.usage
        usage.input_tokens = read
        usage.output_tokens = written
        usage.call_count = 1
        if served.price is not None:
            usage.cost_usd = (read * served.price[0] + written * served.price[1]) / _MILLION
    if call.problem is not None:
        message.failure.reason = call.problem.reason
        message.failure.message = call.problem.message
        message.failure.retryable = call.problem.retryable


def _fill_call(message: ledger_v1.CallTrace, call: SeenCall, provider_request: str) -> None:
    message.stage_id = call.served.stage_id
    message.candidate_id = call.served.candidate_id
    message.app_request = call.app_request
    if provider_request == "full":
        message.provider_request = call.provider_request
    if call.bindings:
        message.bindings.update(call.bindings)
    _set(message.start_time, call.start_time)
    _set(message.latency, call.latency)
    _set(message.first_byte_latency, call.first_byte_latency)


def _set(message: Timestamp | Duration, seconds: float) -> None:
    whole = int(seconds)
    message.seconds = whole
    message.nanos = int((seconds - whole) * _BILLION)
