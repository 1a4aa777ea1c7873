"""The bridge from calls as they were seen to trace messages; beside `convert.py` for its size."""

from __future__ import annotations

import hashlib

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from burnish.api.ledger.v1 import call_ledger_service_pb2 as ledger_v1
from burnish.api.trace.v1 import trace_service_pb2 as trace_v1
from burnish.api.types.v1 import rollout_pb2
from burnish_interceptor.seen import SeenCall

_BILLION = 1_000_000_000
_MILLION = 1e6
_EVENTS = "text/event-stream"
_JSON = "application/json"


def trace(call: SeenCall, *, provider_request: str) -> trace_v1.Trace:
    """Writes the trace of a call.

    Args:
        call: The call.
        provider_request: What is kept of the body that the provider was sent.
    """
    served = call.served
    kept = call.provider_request if provider_request == "full" else b""
    message = trace_v1.Trace(
        call_id=call.call_id,
        rollout_id=call.rollout_id,
        policy=f"policies/{served.policy_id}",
        policy_version=served.policy_version,
        call=ledger_v1.CallTrace(
            stage_id=served.stage_id,
            candidate_id=served.candidate_id,
            app_request=call.app_request,
            provider_request=kept,
            bindings=call.bindings,
            start_time=_timestamp(call.start_time),
            latency=_duration(call.latency),
            first_byte_latency=_duration(call.first_byte_latency),
        ),
        provider=served.provider,
        model=served.model,
        match_ratio=call.match_ratio,
        overhead=_duration(call.overhead),
        trace_id="" if call.trace is None else call.trace.trace_id,
        api=served.api,
        arm=served.arm,
    )
    if call.provider_request and provider_request == "hash":
        message.provider_request_hash = hashlib.sha256(call.provider_request).digest()
    if call.reply_status:
        message.reply.status = call.reply_status
        message.reply.content_type = _EVENTS if call.stream else _JSON
        message.reply.body = call.reply
    if call.usage is not None:
        read, written = call.usage
        message.usage.input_tokens, message.usage.output_tokens = read, written
        message.usage.call_count = 1
        if served.price is not None:
            dollars = (read * served.price[0] + written * served.price[1]) / _MILLION
            message.usage.cost_usd = dollars
    if call.problem is not None:
        message.failure.CopyFrom(
            rollout_pb2.Failure(
                reason=call.problem.reason,
                message=call.problem.message,
                retryable=call.problem.retryable,
            )
        )
    return message


def _timestamp(seconds: float) -> Timestamp:
    whole = int(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * _BILLION))


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * _BILLION))
