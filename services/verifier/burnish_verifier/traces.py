"""Reads session traces: JSON of trace format 3, whole or in its compact form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from burnish.errors import BurnishError, Code
from burnish.trace_replies import text_of


class TraceUnusable(BurnishError):
    """A session trace that is missing, or is no trace; the rollout is left unscored."""

    code = Code.FAILED_PRECONDITION
    default_reason = "TRACE_INVALID"


def final_message(session_trace: bytes) -> str | None:
    """Returns the text of the last message of the last call; None when there was no call.

    Raises:
        TraceUnusable: There is no trace, or it is none.
    """
    if not session_trace:
        raise TraceUnusable(
            "the node reads the final message, and the rollout has no trace; "
            "send its calls through the interceptor, or give the trace",
            reason="TRACE_MISSING",
        )
    trace = _parsed(session_trace)
    messages = trace.get("markov_blanket_message_history")
    if isinstance(messages, list) and messages:
        return _content(messages[-1])
    events = trace.get("event_history")
    if not isinstance(events, list) or not events:
        return None
    answer = events[-1].get("llm_response") if isinstance(events[-1], Mapping) else None
    message = answer.get("message") if isinstance(answer, Mapping) else None
    return text_of(dict(message)) if isinstance(message, Mapping) else ""


def _content(message: object) -> str:
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, Mapping):
        text = content.get("text")
        return text if isinstance(text, str) else ""
    return content if isinstance(content, str) else ""


def _parsed(data: bytes) -> Mapping[str, Any]:
    try:
        trace = json.loads(data)
    except (ValueError, RecursionError):
        trace = None
    if not isinstance(trace, dict):
        raise TraceUnusable("the session trace is no JSON object; give trace format 3")
    return trace
