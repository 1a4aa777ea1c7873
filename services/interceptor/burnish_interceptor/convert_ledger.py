"""The bridge between calls and the messages of the call ledger."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from burnish.api.ledger.v1 import call_ledger_service_pb2 as ledger_v1
from burnish.api.types.v1 import model_pb2, rollout_pb2
from burnish_interceptor.calls import (
    Call,
    CallRecord,
    Decision,
    Outcome,
    Problem,
    StoredReply,
)
from burnish_interceptor.counted import Details, details
from burnish_interceptor.policies.policy import Model


def begin_call(call: Call) -> ledger_v1.BeginCall:
    """Writes the question for the ledger."""
    return ledger_v1.BeginCall(
        job=call.job,
        scope=call.rollout_id,
        attempt=call.attempt,
        request_hash=call.body_hash,
        client_retry=call.retry,
        client_key=call.client_key,
        role=ledger_v1.CALL_ROLE_TASK,
        model=_model_spec(call.model),
        worst_case=ledger_v1.WorstCase(
            input_tokens=len(call.body), output_tokens=call.max_output_tokens
        ),
    )


def decision(message: ledger_v1.CallDecision) -> Decision:
    """Reads the ledger's answer."""
    kind = message.WhichOneof("decision")
    if kind == "replay":
        reply = StoredReply(
            status=message.replay.status,
            content_type=message.replay.content_type,
            body=message.replay.body,
        )
        return Decision(call_id=message.call_id, replay=reply)
    if kind == "proceed":
        return Decision(call_id=message.call_id)
    refusal = Problem(
        reason=message.refused.reason or "REFUSED",
        message=message.refused.message,
        retryable=message.refused.retryable,
    )
    return Decision(call_id=message.call_id, refused=refusal)


def finish_call(call_id: str, outcome: Outcome) -> ledger_v1.FinishCall:
    """Writes the report for the ledger."""
    message = ledger_v1.FinishCall(
        call_id=call_id, not_sent=outcome.not_sent, trace=_trace(outcome.record)
    )
    if outcome.reply is not None:
        message.reply.status = outcome.reply.status
        message.reply.content_type = outcome.reply.content_type
        message.reply.body = outcome.reply.body
    if outcome.usage is not None:
        message.usage.input_tokens, message.usage.output_tokens = outcome.usage
        message.usage.call_count = 1
        if outcome.reply is not None:
            _add_details(message.usage, details(outcome.reply.body))
    if outcome.problem is not None:
        message.failure.CopyFrom(
            rollout_pb2.Failure(
                reason=outcome.problem.reason,
                message=outcome.problem.message,
                retryable=outcome.problem.retryable,
            )
        )
    return message


def _model_spec(model: Model) -> model_pb2.ModelSpec:
    message = model_pb2.ModelSpec(
        provider=model.provider,
        model=model.name,
        max_output_tokens=model.max_output_tokens,
        base_url=model.base_url,
    )
    if model.temperature is not None:
        message.temperature = model.temperature
    if model.price is not None:
        message.price.input_usd_per_million, message.price.output_usd_per_million = model.price
        message.price.MergeFromString(model.whole_price)
    return message


def _add_details(usage: rollout_pb2.Usage, found: Details) -> None:
    if found.cached is not None:
        usage.cached_input_tokens = found.cached
    if found.cache_write is not None:
        usage.cache_write_tokens = found.cache_write
    if found.reasoning is not None:
        usage.reasoning_tokens = found.reasoning


def _trace(record: CallRecord) -> ledger_v1.CallTrace:
    start = Timestamp()
    start.FromNanoseconds(int(record.start_time * 1e9))
    return ledger_v1.CallTrace(
        stage_id=record.stage_id,
        candidate_id=record.candidate_id,
        app_request=record.app_request,
        provider_request=record.provider_request,
        bindings=record.bindings,
        start_time=start,
        latency=_duration(record.latency),
        first_byte_latency=_duration(record.first_byte_latency),
        trace_id=record.trace_id,
        match_ratio=record.match_ratio,
        overhead=_duration(record.overhead),
        api=record.api,
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration
