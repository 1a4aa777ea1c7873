"""What providers answer in the other APIs, whole and as events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from burnish_interceptor.testing import provider
from burnish_interceptor.testing.provider import Script
from burnish_interceptor.transport.exchange import Request


def response(text: str = "card_arrival", **more: object) -> dict[str, Any]:
    """Returns a response of the Responses API as a provider would send it, with its echoes."""
    message = {
        "id": "msg_provider",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
    }
    return {
        "id": "resp_provider",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "provider-model",
        "output": [{"id": "rs_1", "type": "reasoning", "summary": []}, message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 11,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 14,
        },
        **more,
    }


def response_events(words: Sequence[str] = ("card", "_", "arrival"), **more: object) -> bytes:
    """Returns the events of a response, a reasoning item first.

    Args:
        words: Pieces of the text.
        more: Further members of the response.
    """
    text = "".join(words)
    whole = response(text, **more)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    reasoning, message = whole["output"]
    place = {"item_id": "msg_provider", "output_index": 1, "content_index": 0}
    part = message["content"][0]
    opened = {**message, "status": "in_progress", "content": []}
    found: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": reasoning},
        {"type": "response.output_item.done", "output_index": 0, "item": reasoning},
        {"type": "response.output_item.added", "output_index": 1, "item": opened},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        *(
            {"type": "response.output_text.delta", **place, "delta": word, "logprobs": []}
            for word in words
        ),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 1, "item": message},
        {"type": "response.completed", "response": whole},
    ]
    return b"".join(
        _event({**event, "sequence_number": number}, name=event["type"])
        for number, event in enumerate(found)
    )


def legacy_completion(text: str = "card_arrival", **more: object) -> dict[str, Any]:
    """Returns a legacy completion as a provider would send it."""
    return {
        "id": "cmpl-provider",
        "object": "text_completion",
        "created": 1_700_000_000,
        "model": "provider-model",
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
        **more,
    }


def legacy_events(words: Sequence[str] = ("card", "_", "arrival"), **more: object) -> bytes:
    """Returns the events of a legacy completion."""
    choices = [
        {"index": 0, "text": word, "logprobs": None, "finish_reason": None} for word in words
    ]
    choices.append({"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"})
    head = {**legacy_completion(), **more}
    del head["usage"]
    pieces = [_event({**head, "choices": [choice]}) for choice in choices]
    usage = _event({**head, "choices": [], "usage": legacy_completion()["usage"]})
    return b"".join(pieces) + usage + b"data: [DONE]\n\n"


def embeddings(count: int = 1, **more: object) -> dict[str, Any]:
    """Returns embeddings as a provider would send them."""
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": [0.25, -0.5]}
            for index in range(count)
        ],
        "model": "provider-embedding",
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
        **more,
    }


def tool_events(arguments: str = '{"intent":"card_arrival"}') -> bytes:
    """Returns a chat completion that calls a tool, as events."""
    half = len(arguments) // 2
    call = {"index": 0, "id": "call_1", "type": "function"}
    deltas = [
        {"role": "assistant", "content": None},
        {"tool_calls": [{**call, "function": {"name": "classify", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": arguments[:half]}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": arguments[half:]}}]},
    ]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    head = {"id": "chatcmpl-provider", "object": "chat.completion.chunk", "created": 1_700_000_000}
    pieces = [_event({**head, "model": "provider-model", "choices": [one]}) for one in choices]
    return b"".join(pieces) + b"data: [DONE]\n\n"


def usual(request: Request) -> Script:
    """Returns a usual answer to a call of any API."""
    asked = json.loads(request.body)
    api = request.head.target.rpartition("/v1/")[2]
    events = asked.get("stream") is True
    if api == "responses":
        body = response_events() if events else _dumps(response())
    elif api == "embeddings":
        given = asked["input"]
        body = _dumps(embeddings(len(given) if isinstance(given, list) else 1))
    elif api == "completions":
        body = legacy_events() if events else _dumps(legacy_completion())
    elif events:
        body = tool_events() if asked.get("tools") else provider.events()
    else:
        body = provider.completion()
    content_type = "text/event-stream" if events else "application/json"
    return Script(body=body, content_type=content_type)


def _event(data: Mapping[str, Any], *, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def _dumps(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data).encode()
