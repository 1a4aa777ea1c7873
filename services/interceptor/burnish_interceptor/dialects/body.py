"""A request's body: parsed once for reading, and found again in its bytes for splicing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from burnish_interceptor.dialects.dialect import BadRequest, Forced
from burnish_interceptor.prompts import splice
from burnish_interceptor.prompts.splice import Member

Json = Any
Changes = dict[str, bytes | None]
MAX_MESSAGES = 2000
MAX_TOOLS = 128
DEFAULT_OUTPUT_TOKENS = 4096


def parsed(body: bytes) -> tuple[dict[str, Json], list[Member]]:
    """Returns a body's object, and where its members stand.

    Raises:
        BadRequest: It is no JSON object, or repeats a name.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON (at byte {error.pos})") from None
    if not isinstance(data, dict):
        raise BadRequest("the body is not a JSON object")
    members = splice.members(body)
    if len(members) != len(data):
        raise BadRequest("the body names the same field twice")
    tools = data.get("tools")
    if isinstance(tools, list) and len(tools) > MAX_TOOLS:
        raise BadRequest(f"{len(tools)} tools are over the limit of {MAX_TOOLS}")
    return data, members


def typed(data: Mapping[str, Json], name: str, kind: type) -> Json:
    """Returns a member, or None when it is missing or null.

    Raises:
        BadRequest: It has another type.
    """
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadRequest(f"`{name}` has the wrong type; it has to be a {kind.__name__}")
    return value


def count(data: Mapping[str, Json], name: str) -> int:
    """Returns how many answers are asked for, at least 1."""
    return max(1, typed(data, name, int) or 1)


def text_of(content: object) -> str:
    """Returns the text of a message's content: the string, or its text parts joined."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def with_text(content: object, raw: bytes, text: str, *, kind: str) -> bytes:
    """Returns a message's content with another text; parts that are no text keep their bytes.

    Args:
        content: The content, parsed.
        raw: The same as it was sent.
        text: The new text, put in place of the first text part.
        kind: `type` of a text part.
    """
    if not isinstance(content, list) or not content:
        return orjson.dumps(text)
    kept = []
    new = orjson.dumps({"type": kind, "text": text})
    written = False
    for part, span in zip(content, splice.items(raw), strict=True):
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            kept.append(span.of(raw))
        elif not written:
            kept.append(new)
            written = True
    return b"[" + b",".join(kept if written else [new, *kept]) + b"]"


def member(raw: bytes, name: str, value: bytes) -> bytes:
    """Returns a JSON object with one member changed, all else as it was."""
    return splice.replaced(raw, {name: value}, known=splice.members(raw))


def settings(forced: Forced, *, refused: tuple[str, ...]) -> Changes:
    """Returns the members that every API is forced to: the model, and what is taken away."""
    changes: Changes = dict.fromkeys(refused)
    changes["model"] = orjson.dumps(forced.model.name)
    if forced.model.temperature is not None:
        changes["temperature"] = orjson.dumps(forced.model.temperature)
    return changes


def ask_usage(data: Mapping[str, Json], forced: Forced, changes: Changes) -> None:
    """Has the provider tell the usage of a stream, where it can, beside the app's own options."""
    if not forced.ask_usage:
        changes["stream_options"] = None
    elif not wants_usage(data):
        options = data.get("stream_options")
        options = options if isinstance(options, dict) else {}
        changes["stream_options"] = orjson.dumps(options | {"include_usage": True})


def wants_usage(data: Mapping[str, Json]) -> bool:
    """Tells whether the app asks for usage in the stream."""
    options = data.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True
