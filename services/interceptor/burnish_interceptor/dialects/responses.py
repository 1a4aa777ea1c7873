"""The Responses API: `POST /responses`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson

from burnish_interceptor.dialects import body as bodies
from burnish_interceptor.dialects import responses_reply
from burnish_interceptor.dialects.body import Body
from burnish_interceptor.dialects.dialect import BadRequest, Forced, Outgoing, Shown, Tokens
from burnish_interceptor.dialects.responses_stream import ResponseStream
from burnish_interceptor.dialects.splice import Edit
from burnish_interceptor.dialects.stream import AnswerStream
from burnish_interceptor.dialects.usage import UsageRule
from burnish_interceptor.prompts.edit import Message, PromptEdit

SYSTEM_ROLES = frozenset({"system", "developer"})
# What would be kept at the provider under the suite's key, where other apps could reach it.
_KEPT = {
    "background": "wait for the answer, or stream it",
    "context_management": "send the items that are to stay",
    "conversation": "send the whole conversation in `input`",
    "previous_response_id": "send the whole conversation in `input`",
    "prompt": "send the prompt's text in `instructions`",
}
_REFUSED = frozenset(_KEPT)
_NO_MESSAGE = {
    "function_call": "assistant",
    "custom_tool_call": "assistant",
    "reasoning": "assistant",
    "function_call_output": "tool",
    "custom_tool_call_output": "tool",
}


class ResponsesRequest:
    """A response as it was asked for.

    Its conversation is `instructions` as a system message, where there are any, then the items of
    `input`; an item that is no message counts with the role of whoever made it.

    Attributes:
        path: Where responses stand below a base URL.
        api: Name of the API in metrics and traces.
        conversational: Whether there is a conversation.
        body: The bytes as they came.
        messages: Role and text of each message.
        model: Model that the app names, or empty.
        stream: Whether the app wants events.
    """

    path: ClassVar[str] = "/responses"
    api: ClassVar[str] = "responses"
    conversational: ClassVar[bool] = True
    __slots__ = ("_offset", "_parsed", "body", "messages", "model", "stream")

    def __init__(self, raw: bytes) -> None:
        parsed = Body(raw, listed="input")
        for name, remedy in _KEPT.items():
            if parsed.data.get(name):
                raise BadRequest(f"`{name}` is not served here; {remedy}")
        instructions = parsed.typed("instructions", str)
        front = [] if instructions is None else [Message("system", instructions)]
        self._parsed = parsed
        self._offset = len(front)
        self.body = raw
        self.messages = (*front, *_messages(parsed.data.get("input")))
        self.model: str = parsed.typed("model", str) or ""
        self.stream = bool(parsed.typed("stream", bool))
        # An answer repeats them within two objects, so they must be fit to be written there.
        echoed = [parsed.data.get(name) for name in responses_reply.ECHOED]
        bodies.written([[one for one in echoed if isinstance(one, dict | list)]], "the body")

    @classmethod
    def parse(cls, raw: bytes) -> ResponsesRequest:
        """Parses a body.

        Raises:
            BadRequest: It is no JSON object with an input, is over a limit or nested too deeply, or
                asks for something to be kept at the provider.
        """
        return cls(raw)

    def rewritten(self, edit: PromptEdit, forced: Forced) -> Outgoing:
        """Returns the call for the provider, which is told to store nothing.

        Raises:
            BadRequest: The body repeats a name.
        """
        sent = self._parsed.typed("max_output_tokens", int)
        limit = forced.model.max_output_tokens or sent or bodies.DEFAULT_OUTPUT_TOKENS
        changes = self._parsed.settings(forced, refused=_REFUSED)
        changes["store"] = b"false"
        changes["max_output_tokens"] = orjson.dumps(limit)
        texts = dict(edit.texts)
        if edit.system is not None:
            system = next((i for i, m in enumerate(self.messages) if m.role in SYSTEM_ROLES), None)
            if system is None:
                changes["instructions"] = orjson.dumps(edit.system)
            else:
                texts[system] = edit.system
        if self._offset and 0 in texts:
            changes["instructions"] = orjson.dumps(texts.pop(0))
        edits: list[Edit] = []
        if isinstance(self._parsed.data.get("input"), list):
            edits = self._edits(texts, edit)
        elif texts or edit.demos:
            changes["input"] = self._input(texts, edit)
        return Outgoing(self._parsed.changed(changes, edits), forced.model, limit)

    def answer(self, body: bytes, shown: Shown) -> tuple[bytes, Tokens | None]:
        """Returns a whole answer for the app, and the provider's tokens in and out."""
        return responses_reply.response(body, self._parsed.data, shown.model, self._usage(shown))

    def events(self, shown: Shown) -> AnswerStream:
        """Returns what turns the provider's events into the app's."""
        return ResponseStream(self._parsed.data, model=shown.model, usage=self._usage(shown))

    def _usage(self, shown: Shown) -> UsageRule | None:
        return UsageRule.of(shown.usage, self.messages)

    def _edits(self, texts: Mapping[int, str], edit: PromptEdit) -> list[Edit]:
        spans, given = self._parsed.items(), self._parsed.data["input"]
        edits = []
        for index, text in texts.items():
            start, end = spans[index - self._offset]
            new = _with_text(given[index - self._offset], self.body[start:end], text)
            edits.append((start, end, new))
        if edit.demos:
            items = [item for demo in edit.demos for item in _items(demo)]
            before = max(0, edit.demos_before - self._offset)
            edits.append(bodies.inserted(spans, before, items))
        return edits

    def _input(self, texts: Mapping[int, str], edit: PromptEdit) -> bytes:
        text = texts.get(self._offset, self._parsed.data["input"])
        if not edit.demos:
            return orjson.dumps(text)
        parts = [orjson.dumps({"role": "user", "content": text})]
        before = max(0, edit.demos_before - self._offset)
        parts[before:before] = [item for demo in edit.demos for item in _items(demo)]
        return b"[" + b",".join(parts) + b"]"


def _messages(given: object) -> list[Message]:
    if isinstance(given, str) and given:
        return [Message("user", given)]
    if not isinstance(given, list) or not given:
        raise BadRequest("`input` is missing or empty; send a text or a list of items")
    if len(given) > bodies.MAX_MESSAGES:
        raise BadRequest(f"{len(given)} items are over the limit of {bodies.MAX_MESSAGES}")
    return [_message(index, item) for index, item in enumerate(given)]


def _message(index: int, item: object) -> Message:
    if not isinstance(item, dict):
        raise BadRequest(f"input[{index}] is no object")
    kind, role = item.get("type") or "message", item.get("role")
    if kind == "item_reference":
        raise BadRequest(f"input[{index}] refers to a stored item; send the item itself")
    if kind != "message":
        maker = _NO_MESSAGE.get(kind, "assistant") if isinstance(kind, str) else "assistant"
        return Message(maker, bodies.text_of(item.get("output")))
    if not isinstance(role, str):
        raise BadRequest(f"input[{index}] is a message without a `role`")
    return Message(role, bodies.text_of(item.get("content")))


def _with_text(item: Mapping[str, Any], raw: bytes, text: str) -> bytes:
    name = "content" if (item.get("type") or "message") == "message" else "output"
    kind = "output_text" if item.get("role") == "assistant" else "input_text"
    return bodies.with_text(item, raw, name=name, kind=kind, text=text)


def _items(demo: bytes) -> list[bytes]:
    """Returns a chat message as items of an input."""
    message = orjson.loads(demo)
    if message.get("role") == "tool":
        output = {
            "type": "function_call_output",
            "call_id": message.get("tool_call_id", ""),
            "output": bodies.text_of(message.get("content")),
        }
        return [orjson.dumps(output)]
    found: list[dict[str, Any]] = []
    if text := bodies.text_of(message.get("content")):
        found.append({"role": message["role"], "content": text})
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        found.append(
            {
                "type": "function_call",
                "call_id": call.get("id", ""),
                "name": function.get("name", ""),
                "arguments": function.get("arguments", ""),
            }
        )
    return [orjson.dumps(item) for item in found]
