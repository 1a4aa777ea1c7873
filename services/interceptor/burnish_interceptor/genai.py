"""Calls in the words of OpenTelemetry's GenAI conventions: the one place that spells its names.

Content is off unless it is asked for, and even then it is the app's own messages and the answer
that it was given: never a candidate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from burnish import trace_replies
from burnish.trace_replies import Answered, Asked
from burnish_interceptor.seen import SeenCall

Value = str | int | float | bool | Sequence[str]

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
ERROR_TYPE = "error.type"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - no secret
TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105 - no secret
DURATION = "gen_ai.client.operation.duration"
FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"

TOKEN_BUCKETS = tuple(4**power for power in range(14))
SECOND_BUCKETS = tuple(0.01 * 2**power for power in range(14))

_OPERATIONS = {"completions": "text_completion", "embeddings": "embeddings"}
_PROVIDERS = {"google": "gcp.gemini", "google_native": "gcp.gemini"}
_PARAMS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
}
_DETAILS = (
    (("prompt_tokens_details", "cached_tokens"), "gen_ai.usage.cache_read.input_tokens"),
    (("input_tokens_details", "cached_tokens"), "gen_ai.usage.cache_read.input_tokens"),
    (("completion_tokens_details", "reasoning_tokens"), "gen_ai.usage.reasoning.output_tokens"),
    (("output_tokens_details", "reasoning_tokens"), "gen_ai.usage.reasoning.output_tokens"),
)
_OK = 200
_SYSTEM_ROLES = ("system", "developer")


def span_name(call: SeenCall) -> str:
    """Returns the name of a call's span: operation and model."""
    return f"{_operation(call)} {call.served.model}"


def metric_attributes(call: SeenCall) -> dict[str, Value]:
    """Returns what a call's metrics are told apart by; no id is among it."""
    served = call.served
    found: dict[str, Value] = {
        OPERATION: _operation(call),
        PROVIDER: _PROVIDERS.get(served.provider, served.provider),
        REQUEST_MODEL: served.model,
    }
    error = error_type(call)
    return {**found, ERROR_TYPE: error} if error else found


def span_attributes(call: SeenCall, *, content: bool) -> dict[str, Value]:
    """Returns the attributes of a call's span.

    Args:
        call: The call.
        content: Whether the app's messages and its answer are among them.
    """
    served = call.served
    asked = trace_replies.asked(call.app_request, api=served.api)
    answered = Answered()
    if call.reply_status == _OK:
        answered = trace_replies.answered(call.reply, api=served.api, stream=call.stream)
    found = metric_attributes(call)
    found["gen_ai.conversation.id"] = call.rollout_id
    found["gen_ai.request.stream"] = call.stream
    for key, name in _PARAMS.items():
        value = asked.params.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value
    found |= _answer(call, answered)
    found |= _ours(call)
    return found | _content(asked, answered) if content else found


def error_type(call: SeenCall) -> str:
    """Returns what went wrong: a reason, or the status that the app was given; empty if nothing."""
    if call.problem is not None:
        return call.problem.reason
    return str(call.status) if call.status >= 400 else ""


def _operation(call: SeenCall) -> str:
    return _OPERATIONS.get(call.served.api, "chat")


def _answer(call: SeenCall, answered: Answered) -> dict[str, Value]:
    found: dict[str, Value] = {}
    if answered.response_id:
        found["gen_ai.response.id"] = answered.response_id
        found[RESPONSE_MODEL] = call.served.model
    reasons = [reason for reason in answered.finish_reasons if reason]
    if reasons:
        found["gen_ai.response.finish_reasons"] = reasons
    if call.stream and call.first_byte_latency > 0:
        found["gen_ai.response.time_to_first_chunk"] = call.first_byte_latency
    if call.usage is not None:
        found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"] = call.usage
    for (outer, inner), name in _DETAILS:
        details = answered.usage.get(outer)
        count = details.get(inner) if isinstance(details, Mapping) else None
        if isinstance(count, int):
            found[name] = count
    return found


def _ours(call: SeenCall) -> dict[str, Value]:
    served = call.served
    found: dict[str, Value] = {
        "burnish.mode": served.mode,
        "burnish.policy": served.policy_id,
        "burnish.policy.version": served.policy_version,
        "burnish.stage": served.stage_id,
        "burnish.arm": served.arm,
        "burnish.candidate.id": served.candidate_id,
        "burnish.overhead": call.overhead,
    }
    if call.match_ratio is not None:
        found["burnish.match_ratio"] = call.match_ratio
    return {name: value for name, value in found.items() if value != ""}


def _content(asked: Asked, answered: Answered) -> dict[str, Value]:
    system = [one for one in asked.messages if one.get("role") in _SYSTEM_ROLES]
    others = [one for one in asked.messages if one.get("role") not in _SYSTEM_ROLES]
    return {
        "gen_ai.system_instructions": json.dumps(system, ensure_ascii=False),
        "gen_ai.input.messages": json.dumps(others, ensure_ascii=False),
        "gen_ai.output.messages": json.dumps(
            [{"role": "assistant", "content": answered.text, "tool_calls": answered.tool_calls}],
            ensure_ascii=False,
        ),
    }
