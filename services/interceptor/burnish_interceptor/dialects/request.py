"""A chat request as the app sent it: its bytes, and the few fields that are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from burnish_interceptor.prompts import splice
from burnish_interceptor.prompts.edit import Message
from burnish_interceptor.prompts.splice import Member, Span

MAX_MESSAGES = 2000
MAX_TOOLS = 128


class BadRequest(Exception):
    """A body that is no chat request; the text is for the app."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A parsed chat request.

    Attributes:
        body: The bytes as they came.
        messages: Role and text of each message.
        spans: Where each message stands in `body`.
        members: The top-level members.
        model: Model that the app names, or empty.
        stream: Whether the app wants events.
        include_usage: Whether the app asked for usage in the stream.
        stream_options: The app's stream options.
        choices: How many answers the app wants.
        max_output_tokens: The app's own output limit, or None.
    """

    body: bytes
    messages: tuple[Message, ...]
    spans: tuple[Span, ...]
    members: tuple[Member, ...]
    model: str
    stream: bool
    include_usage: bool
    stream_options: dict[str, Any]
    choices: int
    max_output_tokens: int | None

    @classmethod
    def parse(cls, body: bytes) -> ChatRequest:
        """Parses a body.

        Raises:
            BadRequest: It is not a JSON object with a list of messages, repeats a name, or is over
                a limit.
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
        messages = _messages(data)
        at = next(member.value.start for member in members if member.name == "messages")
        options = data.get("stream_options")
        options = options if isinstance(options, dict) else {}
        return cls(
            body=body,
            messages=messages,
            spans=tuple(splice.items(body, at)),
            members=tuple(members),
            model=_typed(data, "model", str) or "",
            stream=bool(_typed(data, "stream", bool)),
            include_usage=options.get("include_usage") is True,
            stream_options=options,
            choices=max(1, _typed(data, "n", int) or 1),
            max_output_tokens=_limit(data),
        )

    def raw(self, index: int) -> bytes:
        """Returns one message as the app wrote it."""
        return self.spans[index].of(self.body)


def text_of(content: object) -> str:
    """Returns the text of a message's content: the string, or its text parts joined."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _messages(data: dict[str, Any]) -> tuple[Message, ...]:
    messages = data.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("`messages` is missing or empty; send a list of chat messages")
    if len(messages) > MAX_MESSAGES:
        raise BadRequest(f"{len(messages)} messages are over the limit of {MAX_MESSAGES}")
    tools = data.get("tools")
    if isinstance(tools, Sequence) and len(tools) > MAX_TOOLS:
        raise BadRequest(f"{len(tools)} tools are over the limit of {MAX_TOOLS}")
    found = []
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str):
            raise BadRequest(f"messages[{index}] is no object with a `role`")
        found.append(Message(role=role, text=text_of(message.get("content"))))
    return tuple(found)


def _typed(data: dict[str, Any], name: str, kind: type) -> Any:  # noqa: ANN401 - JSON values
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadRequest(f"`{name}` has the wrong type; it has to be a {kind.__name__}")
    return value


def _limit(data: dict[str, Any]) -> int | None:
    limits = [_typed(data, name, int) for name in ("max_completion_tokens", "max_tokens")]
    given = [limit for limit in limits if limit is not None]
    return max(given) if given else None
