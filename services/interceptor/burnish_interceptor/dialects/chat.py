"""Chat completions: `POST /chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import orjson

from burnish_interceptor.dialects import body as bodies
from burnish_interceptor.dialects import chat_reply, chat_usual
from burnish_interceptor.dialects.body import Body
from burnish_interceptor.dialects.dialect import (
    BadRequest,
    Forced,
    Outgoing,
    Shown,
    Tokens,
    UsageMode,
)
from burnish_interceptor.dialects.gemini import signatures
from burnish_interceptor.dialects.splice import Edit
from burnish_interceptor.dialects.stream import AnswerStream
from burnish_interceptor.dialects.usage import UsageRule
from burnish_interceptor.prompts.edit import NO_EDIT, Message, PromptEdit

SYSTEM_ROLES = frozenset({"system", "developer"})
_NEW_LIMIT, _OLD_LIMIT = "max_completion_tokens", "max_tokens"
# A member of an enumeration is found in a tenth of the time by a name of its own.
_EXACT = UsageMode.EXACT
_NEW_LIMIT_PROVIDERS = frozenset({"openai", "groq"})
# Fields by which a provider would repeat the prompt, or keep it for a later call.
_REFUSED = frozenset(
    {
        "add_generation_prompt",
        "continue_final_message",
        "echo",
        "previous_response_id",
        "prompt_logprobs",
        "return_prompt_token_ids",
        "return_token_ids",
        "store",
    }
)


class ChatRequest:
    """A chat completion as it was asked for.

    Attributes:
        path: Where chat completions stand below a base URL.
        api: Name of the API in metrics and traces.
        conversational: Whether there is a conversation.
        body: The bytes as they came.
        messages: Role and text of each message.
        model: Model that the app names, or empty.
        stream: Whether the app wants events.
        choices: How many answers the app wants.
        max_output_tokens: The app's own output limit, or None.
    """

    path: ClassVar[str] = "/chat/completions"
    api: ClassVar[str] = "chat_completions"
    conversational: ClassVar[bool] = True
    __slots__ = ("_parsed", "body", "choices", "max_output_tokens", "messages", "model", "stream")

    def __init__(self, raw: bytes) -> None:
        parsed = Body(raw, listed="messages")
        self._parsed = parsed
        self.body = raw
        self.messages = _messages(parsed.data)
        self.model: str = parsed.typed("model", str) or ""
        self.stream = bool(parsed.typed("stream", bool))
        self.choices = parsed.count("n")
        self.max_output_tokens = _limit(parsed)

    @classmethod
    def parse(cls, raw: bytes) -> ChatRequest:
        """Parses a body.

        Raises:
            BadRequest: It is no JSON object with a list of messages, or is over a limit.
        """
        return cls(raw)

    def rewritten(self, edit: PromptEdit, forced: Forced) -> Outgoing:
        """Returns the call for the provider.

        Raises:
            BadRequest: The body repeats a name.
        """
        parsed = self._parsed
        changes = parsed.settings(forced, refused=_REFUSED)
        limit = (
            forced.model.max_output_tokens or self.max_output_tokens or bodies.DEFAULT_OUTPUT_TOKENS
        )
        told = b"%d" % limit
        if _OLD_LIMIT in parsed.data:
            changes[_OLD_LIMIT] = told
        if _NEW_LIMIT in parsed.data:
            changes[_NEW_LIMIT] = told
        elif _OLD_LIMIT not in parsed.data:
            new = forced.model.provider in _NEW_LIMIT_PROVIDERS
            changes[_NEW_LIMIT if new else _OLD_LIMIT] = told
        if self.stream:
            parsed.ask_usage(forced, changes)
        signed = forced.model.provider == "google" and signatures.needed(forced.model.name)
        if signed and edit.demos:
            edit = replace(edit, demos=tuple(map(signatures.marked, edit.demos)))
        edits = [] if edit is NO_EDIT else self._edits(edit)
        if signed:
            edits += self._unsigned(edits)
        body = parsed.changed(changes, edits)
        return Outgoing(body, forced.model, limit * self.choices)

    def answer(self, body: bytes, shown: Shown) -> tuple[bytes, Tokens | None]:
        """Returns a whole answer for the app, and the provider's tokens in and out."""
        if shown.usage is _EXACT:
            usual = chat_usual.completion(body, model=shown.model)
            if usual is not None:
                return usual
        return chat_reply.completion(body, model=shown.model, usage=self._usage(shown))

    def events(self, shown: Shown) -> AnswerStream:
        """Returns what turns the provider's events into the app's."""
        return chat_reply.ChatStream(
            model=shown.model,
            choices=self.choices,
            usage=self.stream_usage(shown),
        )

    def stream_usage(self, shown: Shown) -> UsageRule | None:
        """Returns what the events tell of tokens; None when the app did not ask."""
        return self._usage(shown) if self._parsed.wants_usage else None

    def _usage(self, shown: Shown) -> UsageRule | None:
        return UsageRule.of(shown.usage, self.messages)

    def _edits(self, edit: PromptEdit) -> list[Edit]:
        items = self._parsed.items()
        texts = dict(edit.texts)
        front = []
        if edit.system is not None:
            system = next((i for i, m in enumerate(self.messages) if m.role in SYSTEM_ROLES), None)
            if system is None:
                front.append(orjson.dumps({"role": "system", "content": edit.system}))
            else:
                texts[system] = edit.system
        edits = [self._with_text(index, text) for index, text in texts.items()]
        demos = edit.demos
        if front and edit.demos_before == 0:
            front, demos = [*front, *demos], ()
        if front:
            edits.append(bodies.inserted(items, 0, front))
        if demos:
            edits.append(bodies.inserted(items, edit.demos_before, demos))
        return edits

    def _unsigned(self, edits: Sequence[Edit]) -> list[Edit]:
        """Returns the edits that mark function calls, of messages that are not changed anyway."""
        changed = {start for start, end, _ in edits if end > start}
        messages = zip(self._parsed.data["messages"], self._parsed.items(), strict=True)
        return [
            (start, end, signatures.marked(self.body[start:end]))
            for message, (start, end) in messages
            if start not in changed and signatures.lacking(message)
        ]

    def _with_text(self, index: int, text: str) -> Edit:
        start, end = self._parsed.items()[index]
        message = self._parsed.data["messages"][index]
        if len(message) == 2 and type(message.get("content")) is str:
            return start, end, orjson.dumps({"role": message["role"], "content": text})
        raw = self.body[start:end]
        return start, end, bodies.with_text(message, raw, name="content", kind="text", text=text)


def _messages(data: Mapping[str, Any]) -> tuple[Message, ...]:
    messages = data.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("`messages` is missing or empty; send a list of chat messages")
    if len(messages) > bodies.MAX_MESSAGES:
        raise BadRequest(f"{len(messages)} messages are over the limit of {bodies.MAX_MESSAGES}")
    found = []
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str):
            raise BadRequest(f"messages[{index}] is no object with a `role`")
        content = message.get("content")
        text = content if type(content) is str else bodies.text_of(content)
        found.append(Message(role, text))
    return tuple(found)


def _limit(body: Body) -> int | None:
    if _NEW_LIMIT not in body.data and _OLD_LIMIT not in body.data:
        return None
    limits = [body.typed(name, int) for name in (_NEW_LIMIT, _OLD_LIMIT)]
    return max((limit for limit in limits if limit is not None), default=None)
