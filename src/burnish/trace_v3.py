"""Writes the traces of one rollout in trace format 3, whole or in its compact wire form.

The app's view holds nothing of a candidate: the app's own messages, and the answers that it was
given. The provider's view holds what the provider was sent, where that was kept.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from burnish import trace_replies
from burnish.api.trace.v1 import trace_service_pb2 as trace_v1
from burnish.trace_replies import Answered, Asked, Json

SCHEMA_VERSION = "3.0"
_RECORD_VERSION = "1.0"
_OK = 200
_SHOWN = frozenset({"role", "content", "refusal", "tool_calls", "function_call"})
_SYSTEM = "burnish.interceptor"
_MESSAGE_TYPES = {
    "user": "user_input",
    "system": "observation",
    "developer": "observation",
    "tool": "result",
    "assistant": "agent_response",
}


class View(enum.Enum):
    """Whose messages are shown."""

    APP = "app"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class _Read:
    trace: trace_v1.Trace
    asked: Asked
    answered: Answered
    start: float
    latency: float

    @property
    def end(self) -> float:
        return self.start + self.latency


def session(rollout_id: str, traces: Sequence[trace_v1.Trace], *, view: View = View.APP) -> Json:
    """Returns the whole session trace of a rollout.

    Args:
        rollout_id: The rollout.
        traces: Its calls, in the order they began.
        view: Whose messages are shown.
    """
    calls = [_read(one, view) for one in traces]
    steps = [_step(rollout_id, index, one, view) for index, one in enumerate(calls)]
    return {
        "schema_version": SCHEMA_VERSION,
        "session_id": rollout_id,
        "created_at": _iso(calls[0].start) if calls else None,
        "session_time_steps": steps,
        "event_history": [event for step in steps for event in step["events"]],
        "markov_blanket_message_history": [
            message for step in steps for message in step["markov_blanket_messages"]
        ],
        "metadata": _metadata(rollout_id, traces, view),
        "session_metadata": None,
    }


def compact(rollout_id: str, traces: Sequence[trace_v1.Trace], *, view: View = View.APP) -> Json:
    """Returns the compact wire form: one `lm_call` per call.

    Args:
        rollout_id: The rollout.
        traces: Its calls, in the order they began.
        view: Whose messages are shown.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "event_history": [_lm_call(rollout_id, _read(one, view)) for one in traces],
        "markov_blanket_message_history": [],
        "metadata": _metadata(rollout_id, traces, view),
    }


def _read(trace: trace_v1.Trace, view: View) -> _Read:
    api = trace.api or trace_replies.CHAT
    body = trace.call.app_request
    if view is View.PROVIDER and trace.call.provider_request:
        body = trace.call.provider_request
    answered = Answered()
    if trace.reply.status == _OK:
        stream = trace.reply.content_type.startswith("text/event-stream")
        answered = trace_replies.answered(trace.reply.body, api=api, stream=stream)
        if view is View.APP:
            # A model's reasoning may quote its instructions, and the app was not given it.
            shown = [_only(_SHOWN, message) for message in answered.messages]
            answered = replace(answered, messages=shown)
    return _Read(
        trace=trace,
        asked=trace_replies.asked(body, api=api),
        answered=answered,
        start=trace.call.start_time.ToNanoseconds() / 1e9,
        latency=trace.call.latency.ToNanoseconds() / 1e9,
    )


def _lm_call(rollout_id: str, call: _Read) -> Json:
    answer = call.answered
    response: Json = {
        "message": answer.messages[0] if answer.messages else None,
        "usage": _usage(call),
        "finish_reason": answer.finish_reasons[0] if answer.finish_reasons else None,
    }
    if error := _error(call.trace):
        response["error"] = error
    return {
        "type": "lm_call",
        "event_type": "lm_call",
        "timestamp": _iso(call.start),
        "llm_request": {"messages": list(call.asked.messages), **call.asked.params},
        "llm_response": response,
        "correlation_id": rollout_id,
    }


def _step(rollout_id: str, index: int, call: _Read, view: View) -> Json:
    step_id = f"{rollout_id}/{index}"
    return {
        "step_id": step_id,
        "step_index": index,
        "timestamp": _iso(call.start),
        "turn_number": index,
        "events": [_event(call, view)],
        "markov_blanket_messages": _messages(step_id, call),
        "step_metadata": {"stage_id": call.trace.call.stage_id},
        "completed_at": _iso(call.end),
    }


def _event(call: _Read, view: View) -> Json:
    trace = call.trace
    usage = _usage(call)
    metadata: Json = {
        "call_id": trace.call_id,
        "stage_id": trace.call.stage_id,
        "policy": trace.policy,
        "policy_version": trace.policy_version,
        "arm": trace.arm,
        "first_byte_ms": _milliseconds(trace.call.first_byte_latency.ToNanoseconds()),
    }
    if trace.HasField("match_ratio"):
        metadata["match_ratio"] = trace.match_ratio
    if trace.HasField("overhead"):
        metadata["overhead_ms"] = _milliseconds(trace.overhead.ToNanoseconds())
    if view is View.PROVIDER:
        metadata["candidate_id"] = trace.call.candidate_id
        metadata["provider_request_sha256"] = trace.provider_request_hash.hex()
    return {
        "event_type": "lm_call",
        "system_instance_id": trace.call.stage_id or _SYSTEM,
        "time_record": {"event_time": call.start, "message_time": None},
        "metadata": metadata,
        "event_metadata": None,
        "model_name": trace.model,
        "provider": trace.provider or None,
        "input_tokens": usage["prompt_tokens"],
        "output_tokens": usage["completion_tokens"],
        "total_tokens": usage["total_tokens"],
        "cost_usd": trace.usage.cost_usd if trace.usage.HasField("cost_usd") else None,
        "latency_ms": _milliseconds(trace.call.latency.ToNanoseconds()),
        "span_id": None,
        "trace_id": trace.trace_id or None,
        "system_state_before": None,
        "system_state_after": None,
        "call_records": [_record(call, usage)],
    }


def _record(call: _Read, usage: Json) -> Json:
    trace, answer = call.trace, call.answered
    error = _error(trace)
    return {
        "call_id": trace.call_id,
        "api_type": trace.api or trace_replies.CHAT,
        "provider": trace.provider or None,
        "model_name": trace.model,
        "schema_version": _RECORD_VERSION,
        "started_at": _iso(call.start),
        "completed_at": _iso(call.end),
        "latency_ms": _milliseconds(trace.call.latency.ToNanoseconds()),
        "request_params": dict(call.asked.params),
        "input_messages": list(call.asked.messages),
        "output_messages": list(answer.messages),
        "outputs": [
            {"index": index, "message": message, "finish_reason": reason}
            for index, (message, reason) in enumerate(
                zip(answer.messages, answer.finish_reasons, strict=True)
            )
        ],
        "output_text": answer.text,
        "output_tool_calls": answer.tool_calls,
        "usage": usage,
        "finish_reason": answer.finish_reasons[0] if answer.finish_reasons else None,
        "tool_results": [one for one in call.asked.messages if one.get("role") == "tool"],
        "chunks": None,
        "outcome": "error" if error else "success",
        "error": error,
        "token_traces": None,
        "metadata": {"response_id": answer.response_id},
    }


def _messages(step_id: str, call: _Read) -> list[Json]:
    inputs = [(message, call.start) for message in call.asked.messages]
    outputs = [(message, call.end) for message in call.answered.messages]
    return [_message(step_id, call, message, when) for message, when in (*inputs, *outputs)]


def _message(step_id: str, call: _Read, message: Json, when: float) -> Json:
    role = str(message.get("role") or "")
    kind = "action" if message.get("tool_calls") else _MESSAGE_TYPES.get(role, "observation")
    return {
        "content": {"text": trace_replies.text_of(message), "json_payload": message},
        "message_type": kind,
        "time_record": {"event_time": when, "message_time": None},
        "metadata": {"step_id": step_id, "from_system_role": role, "call_id": call.trace.call_id},
    }


def _metadata(rollout_id: str, traces: Sequence[trace_v1.Trace], view: View) -> Json:
    found: Json = {
        "session_id": rollout_id,
        "trace_correlation_id": rollout_id,
        "correlation_ids": {"trace_correlation_id": rollout_id},
        "source": _SYSTEM,
        "view": view.value,
        "mixed": any(trace.mixed for trace in traces),
    }
    policies = sorted({trace.policy for trace in traces if trace.policy})
    return {**found, "policies": policies} if policies else found


def _usage(call: _Read) -> Json:
    """Returns the provider's usage in the names of chat completions, with what else it says."""
    usage = call.trace.usage
    given: Mapping[str, Any] = call.answered.usage
    known = call.trace.HasField("usage")
    read = given.get("prompt_tokens", given.get("input_tokens"))
    written = given.get("completion_tokens", given.get("output_tokens"))
    read = read if isinstance(read, int) else usage.input_tokens if known else None
    written = written if isinstance(written, int) else usage.output_tokens if known else None
    total = None if read is None or written is None else read + written
    names = {"input_tokens", "output_tokens"}
    extra = {key: value for key, value in given.items() if key not in names}
    return {
        **extra,
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": total,
    }


def _error(trace: trace_v1.Trace) -> Json | None:
    if trace.HasField("failure"):
        return {"reason": trace.failure.reason, "message": trace.failure.message}
    if not trace.HasField("reply"):
        return {"reason": "NO_ANSWER", "message": "the app left before the answer"}
    if trace.reply.status != _OK:
        return {"reason": f"PROVIDER_STATUS_{trace.reply.status}", "message": ""}
    return None


def _only(keys: frozenset[str], message: Json) -> Json:
    return {key: value for key, value in message.items() if key in keys}


def _milliseconds(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
