"""A response of the Responses API as the app is given it.

The object repeats most of what it was asked with, `instructions` first of all. Those members are
the app's own here, never the provider's. Reasoning is left out, with its summaries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from burnish_interceptor.dialects.allow import (
    ID,
    Json,
    NotAnAnswer,
    Rule,
    by_type,
    call_id,
    fields,
    hashed,
    integer,
    list_of,
    matching,
    number,
    one_of,
    parsed,
    text,
)
from burnish_interceptor.dialects.chat_reply import SERVICE_TIER
from burnish_interceptor.dialects.dialect import Tokens
from burnish_interceptor.dialects.usage import RESPONSES, UsageRule, tokens

STATUS = one_of("completed", "incomplete", "in_progress", "queued", "failed", "cancelled")
_INCOMPLETE = fields(
    {"reason": one_of("max_output_tokens", "max_messages", "content_filter")},
)
# What a response repeats of its request, and what it says when the app did not send it.
ECHOED: Mapping[str, Json] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": None,
    "safety_identifier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": None,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}


def response(
    body: bytes, asked: Mapping[str, Json], model: str, usage: UsageRule | None
) -> tuple[bytes, Tokens | None]:
    """Returns a response for the app, and the provider's tokens in and out.

    Args:
        body: The provider's.
        asked: The app's own request.
        model: Model to report.
        usage: What is told of tokens; None tells nothing.

    Raises:
        NotAnAnswer: The body is no response, or one that failed.
    """
    data = parsed(body)
    if not isinstance(data.get("output"), list) or data.get("status") in ("failed", "cancelled"):
        raise NotAnAnswer
    shown = envelope(data, asked, model)
    shown["output"] = OUTPUT(data["output"])
    shown["usage"] = usage.shown(data.get("usage"), RESPONSES) if usage is not None else None
    return orjson.dumps(shown), tokens(data.get("usage"), RESPONSES)


def envelope(data: Mapping[str, Json], asked: Mapping[str, Json], model: str) -> dict[str, Any]:
    """Returns a response without its output and its usage."""
    shown: dict[str, Any] = {
        "id": hashed("resp_", data.get("id")),
        "object": "response",
        "created_at": number(data.get("created_at")) or 0,
        "status": STATUS(data.get("status")),
        "background": False,
        "error": None,
        "incomplete_details": _INCOMPLETE(data.get("incomplete_details")),
        "model": model,
        "output": [],
        "previous_response_id": None,
        "store": False,
        "usage": None,
    }
    shown |= {name: asked.get(name, other) for name, other in ECHOED.items()}
    if (completed := number(data.get("completed_at"))) is not None:
        shown["completed_at"] = completed
    if (tier := SERVICE_TIER(data.get("service_tier"))) is not None:
        shown["service_tier"] = tier
    return shown


def _id(prefix: str) -> Rule:
    return lambda value: hashed(prefix, value)


_ANNOTATION = by_type(
    {
        "url_citation": fields(
            {"start_index": integer, "end_index": integer, "url": text, "title": text}
        ),
        "file_citation": fields({"file_id": matching(ID), "filename": text, "index": integer}),
        "file_path": fields({"file_id": matching(ID), "index": integer}),
        "container_file_citation": fields(
            {
                "container_id": matching(ID),
                "file_id": matching(ID),
                "filename": text,
                "start_index": integer,
                "end_index": integer,
            }
        ),
    }
)
_TOKEN = {"token": text, "logprob": number, "bytes": list_of(integer)}
_LOGPROBS = list_of(fields({**_TOKEN, "top_logprobs": list_of(fields(_TOKEN))}))
_ITEM_STATUS = one_of(
    "in_progress",
    "completed",
    "incomplete",
    "failed",
    "searching",
    "generating",
    "interpreting",
    "calling",
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_SIZE = re.compile(r"auto|\d{1,5}x\d{1,5}")
PART = by_type(
    {
        "output_text": fields(
            {"text": text, "annotations": list_of(_ANNOTATION), "logprobs": _LOGPROBS}
        ),
        "refusal": fields({"refusal": text}),
    }
)
ITEM = by_type(
    {
        "message": fields(
            {
                "id": _id("msg_"),
                "role": one_of("assistant"),
                "status": _ITEM_STATUS,
                "phase": one_of("commentary", "final_answer"),
                "content": list_of(PART),
            }
        ),
        "function_call": fields(
            {
                "id": _id("fc_"),
                "call_id": call_id,
                "name": text,
                "namespace": text,
                "arguments": text,
                "status": _ITEM_STATUS,
            }
        ),
        "custom_tool_call": fields(
            {"id": _id("ctc_"), "call_id": call_id, "name": text, "input": text}
        ),
        "web_search_call": fields({"id": _id("ws_"), "status": _ITEM_STATUS}),
        "file_search_call": fields(
            {"id": _id("fs_"), "status": _ITEM_STATUS, "queries": list_of(text)}
        ),
        "code_interpreter_call": fields(
            {
                "id": _id("ci_"),
                "status": _ITEM_STATUS,
                "code": text,
                "container_id": _id("cntr_"),
            }
        ),
        "image_generation_call": fields(
            {
                "id": _id("ig_"),
                "status": _ITEM_STATUS,
                "result": matching(_BASE64),
                "output_format": one_of("png", "webp", "jpeg", "gif", "svg"),
                "size": matching(_SIZE),
            }
        ),
        "mcp_call": fields(
            {
                "id": _id("mcp_"),
                "status": _ITEM_STATUS,
                "name": text,
                "arguments": text,
                "server_label": matching(ID),
            }
        ),
    }
)
OUTPUT = list_of(ITEM)
_PLACE = {"item_id": lambda value: value, "output_index": integer, "content_index": integer}
# Events that say how far a tool of the provider's has come.
_STEPS = {
    "web_search_call": ("in_progress", "searching", "completed"),
    "file_search_call": ("in_progress", "searching", "completed"),
    "code_interpreter_call": ("in_progress", "interpreting", "completed"),
    "image_generation_call": ("in_progress", "generating", "completed"),
    "mcp_call": ("in_progress", "completed", "failed"),
}
# Every event that carries something of the answer, beside those that carry a whole response.
EVENTS: Mapping[str, Rule] = {
    "response.output_item.added": fields({"output_index": integer, "item": ITEM}),
    "response.output_item.done": fields({"output_index": integer, "item": ITEM}),
    "response.content_part.added": fields({**_PLACE, "part": PART}),
    "response.content_part.done": fields({**_PLACE, "part": PART}),
    "response.output_text.delta": fields({**_PLACE, "delta": text, "logprobs": _LOGPROBS}),
    "response.output_text.done": fields({**_PLACE, "text": text, "logprobs": _LOGPROBS}),
    "response.output_text.annotation.added": fields(
        {**_PLACE, "annotation_index": integer, "annotation": _ANNOTATION}
    ),
    "response.refusal.delta": fields({**_PLACE, "delta": text}),
    "response.refusal.done": fields({**_PLACE, "refusal": text}),
    "response.function_call_arguments.delta": fields({**_PLACE, "delta": text}),
    "response.function_call_arguments.done": fields({**_PLACE, "name": text, "arguments": text}),
    "response.custom_tool_call_input.delta": fields({**_PLACE, "delta": text}),
    "response.custom_tool_call_input.done": fields({**_PLACE, "input": text}),
    "response.mcp_call_arguments.delta": fields({**_PLACE, "delta": text}),
    "response.mcp_call_arguments.done": fields({**_PLACE, "arguments": text}),
    "response.code_interpreter_call_code.delta": fields({**_PLACE, "delta": text}),
    "response.code_interpreter_call_code.done": fields({**_PLACE, "code": text}),
    **{
        f"response.{kind}.{step}": fields(_PLACE)
        for kind, steps in _STEPS.items()
        for step in steps
    },
}
