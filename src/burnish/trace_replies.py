"""Reads what an app asked and what a provider answered out of bodies as they went over the wire.

Chat completions, Responses, completions and embeddings, whole or as event streams. Whatever is not
understood is left out: a trace is read long after the call, when nothing can be refused any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
CHAT = "chat_completions"
RESPONSES = "responses"
COMPLETIONS = "completions"
EMBEDDINGS = "embeddings"
_CONVERSATION = frozenset({"messages", "instructions", "input", "prompt"})
_RESPONSE_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request.

    Attributes:
        messages: The conversation as chat messages, whatever the API.
        params: Everything else that was asked, such as `model` and `temperature`.
    """

    messages: Sequence[Json] = ()
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A reply.

    Attributes:
        messages: The assistant's messages, one per choice.
        finish_reasons: Why each choice ended, as the provider says.
        usage: The provider's own usage object; empty when it gave none.
        response_id: The provider's id; empty when it gave none.
    """

    messages: Sequence[Json] = ()
    finish_reasons: Sequence[str | None] = ()
    usage: Mapping[str, Any] = field(default_factory=dict)
    response_id: str = ""

    @property
    def text(self) -> str:
        """Text of the first choice; empty when it answered by tool calls only."""
        return text_of(self.messages[0]) if self.messages else ""

    @property
    def tool_calls(self) -> list[Json]:
        """Tool calls of the first choice."""
        return list(self.messages[0].get("tool_calls") or ()) if self.messages else []


def asked(body: bytes, *, api: str = CHAT) -> Asked:
    """Reads a request."""
    request = _object(body)
    params = {key: value for key, value in request.items() if key not in _CONVERSATION}
    if api == RESPONSES:
        return Asked(messages=_responses_input(request), params=params)
    if api in (COMPLETIONS, EMBEDDINGS):
        given = request.get("prompt" if api == COMPLETIONS else "input")
        texts = given if isinstance(given, list) else [given]
        messages = [{"role": "user", "content": one} for one in texts if isinstance(one, str)]
        return Asked(messages=messages, params=params)
    return Asked(messages=_objects(request.get("messages")), params=params)


def answered(body: bytes, *, api: str = CHAT, stream: bool = False) -> Answered:
    """Reads a reply: JSON, or a whole event stream."""
    if api == RESPONSES:
        return _responses_answer(_last_response(events(body)) if stream else _object(body))
    chunks = list(events(body)) if stream else [_object(body)]
    return _choices_answer(chunks)


def events(body: bytes) -> Iterator[Json]:
    """Yields the objects of an event stream, its end mark and its comments left out."""
    for block in body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n"):
        lines = [
            line.removeprefix(b"data:").strip()
            for line in block.split(b"\n")
            if line.startswith(b"data:")
        ]
        data = b"\n".join(lines)
        if data and data != b"[DONE]":
            found = _object(data)
            if found:
                yield found


def text_of(message: Mapping[str, Any]) -> str:
    """Returns the text of a message, its text parts joined."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    texts = [part.get("text") for part in _objects(content)]
    return "".join(text for text in texts if isinstance(text, str))


def _choices_answer(chunks: Iterable[Json]) -> Answered:
    messages: dict[int, Json] = {}
    reasons: dict[int, str | None] = {}
    usage: Mapping[str, Any] = {}
    response_id = ""
    for chunk in chunks:
        response_id = response_id or str(chunk.get("id") or "")
        if isinstance(chunk.get("usage"), dict):
            usage = chunk["usage"]
        for choice in _objects(chunk.get("choices")):
            index = choice.get("index")
            index = index if isinstance(index, int) else 0
            message = messages.setdefault(index, {"role": "assistant", "content": None})
            _add(message, _part_of(choice))
            reasons[index] = choice.get("finish_reason") or reasons.get(index)
    order = sorted(messages)
    return Answered(
        messages=[_finished(messages[index]) for index in order],
        finish_reasons=[reasons.get(index) for index in order],
        usage=usage,
        response_id=response_id,
    )


def _part_of(choice: Json) -> Json:
    """Returns what one choice, or one piece of a choice, says."""
    for name in ("message", "delta"):
        if isinstance(choice.get(name), dict):
            found: Json = choice[name]
            return found
    return {"content": choice.get("text")}


def _add(message: Json, part: Json) -> None:
    for key, value in part.items():
        if key == "tool_calls":
            _add_tool_calls(message.setdefault("tool_calls", {}), _objects(value))
        elif key in ("content", "refusal", "reasoning", "reasoning_content"):
            if isinstance(value, str):
                message[key] = _text(message.get(key)) + value
            elif value is not None:
                message[key] = value
        elif value is not None:
            message[key] = value


def _add_tool_calls(calls: dict[int, Json], pieces: Sequence[Json]) -> None:
    for position, piece in enumerate(pieces):
        index = piece.get("index")
        index = index if isinstance(index, int) else position
        call = calls.setdefault(index, {"id": "", "type": "function", "function": {}})
        call["id"] = piece.get("id") or call["id"]
        call["type"] = piece.get("type") or call["type"]
        function = piece.get("function")
        if isinstance(function, dict):
            known = call["function"]
            known["name"] = known.get("name") or _text(function.get("name"))
            known["arguments"] = known.get("arguments", "") + _text(function.get("arguments"))


def _finished(message: Json) -> Json:
    calls = message.get("tool_calls")
    if isinstance(calls, dict):
        return {**message, "tool_calls": [calls[index] for index in sorted(calls)]}
    return message


def _responses_input(request: Json) -> list[Json]:
    messages: list[Json] = []
    instructions = request.get("instructions")
    if isinstance(instructions, str):
        messages.append({"role": "system", "content": instructions})
    given = request.get("input")
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    for item in _objects(given):
        if "role" in item:
            messages.append({"role": item["role"], "content": item.get("content")})
        elif item.get("type") == "function_call":
            messages.append({"role": "assistant", "tool_calls": [_tool_call(item)]})
        elif item.get("type") == "function_call_output":
            call_id, output = item.get("call_id"), item.get("output")
            messages.append({"role": "tool", "tool_call_id": call_id, "content": output})
    return messages


def _last_response(found: Iterable[Json]) -> Json:
    last: Json = {}
    for event in found:
        ends = _text(event.get("type")) in _RESPONSE_ENDS
        if ends and isinstance(event.get("response"), dict):
            last = event["response"]
    return last


def _responses_answer(response: Json) -> Answered:
    items = _objects(response.get("output"))
    if not items:
        return Answered(usage=_mapping(response.get("usage")))
    text = "".join(text_of(item) for item in items if item.get("type") == "message")
    calls = [_tool_call(item) for item in items if item.get("type") == "function_call"]
    message: Json = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = calls
    status = response.get("status")
    details = _mapping(response.get("incomplete_details")).get("reason")
    return Answered(
        messages=[message],
        finish_reasons=[details or (status if isinstance(status, str) else None)],
        usage=_mapping(response.get("usage")),
        response_id=str(response.get("id") or ""),
    )


def _tool_call(item: Json) -> Json:
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def _object(body: bytes) -> Json:
    try:
        return _mapping(json.loads(body))
    except (ValueError, RecursionError):
        return {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
