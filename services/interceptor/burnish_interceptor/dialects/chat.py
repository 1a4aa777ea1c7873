"""Chat completions: `POST /chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson

from burnish_interceptor.dialects import body as bodies
from burnish_interceptor.dialects import chat_reply
from burnish_interceptor.dialects.dialect import BadRequest, Forced, Outgoing, Shown, Tokens
from burnish_interceptor.dialects.stream import AnswerStream
from burnish_interceptor.dialects.usage import UsageRule
from burnish_interceptor.prompts import splice
from burnish_interceptor.prompts.edit import Message, PromptEdit
from burnish_interceptor.prompts.splice import Member

SYSTEM_ROLES = frozenset({"system", "developer"})
_LIMITS = ("max_completion_tokens", "max_tokens")
_NEW_LIMIT_PROVIDERS = frozenset({"openai", "groq"})
# Fields by which a provider would repeat the prompt, or keep it for a later call.
_REFUSED = (
    "add_generation_prompt",
    "continue_final_message",
    "echo",
    "previous_response_id",
    "prompt_logprobs",
    "return_prompt_token_ids",
    "return_token_ids",
    "store",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A chat completion as it was asked for.

    Attributes:
        path: Where chat completions stand below a base URL.
        conversational: Whether there is a conversation.
        body: The bytes as they came.
        messages: Role and text of each message.
        model: Model that the app names, or empty.
        stream: Whether the app wants events.
        choices: How many answers the app wants.
    """

    path: ClassVar[str] = "/chat/completions"
    conversational: ClassVar[bool] = True
    body: bytes = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)
    members: Sequence[Member] = field(repr=False)
    messages: tuple[Message, ...]
    model: str
    stream: bool
    choices: int
    max_output_tokens: int | None

    @classmethod
    def parse(cls, body: bytes) -> ChatRequest:
        """Parses a body.

        Raises:
            BadRequest: It is no JSON object with a list of messages, repeats a name, or is over a
                limit.
        """
        data, members = bodies.parsed(body)
        return cls(
            body=body,
            data=data,
            members=members,
            messages=_messages(data),
            model=bodies.typed(data, "model", str) or "",
            stream=bool(bodies.typed(data, "stream", bool)),
            choices=bodies.count(data, "n"),
            max_output_tokens=_limit(data),
        )

    def rewritten(self, edit: PromptEdit, forced: Forced) -> Outgoing:
        """Returns the call for the provider."""
        changes = bodies.settings(forced, refused=_REFUSED)
        limit = (
            forced.model.max_output_tokens or self.max_output_tokens or bodies.DEFAULT_OUTPUT_TOKENS
        )
        sent = [name for name in _LIMITS if name in self.data]
        default = _LIMITS[0] if forced.model.provider in _NEW_LIMIT_PROVIDERS else _LIMITS[1]
        changes |= dict.fromkeys(sent or [default], orjson.dumps(limit))
        if self.stream:
            bodies.ask_usage(self.data, forced, changes)
        if edit.system is not None or edit.texts or edit.demos:
            changes["messages"] = self._edited(edit)
        return Outgoing(
            body=splice.replaced(self.body, changes, known=self.members),
            model=forced.model,
            max_output_tokens=limit * self.choices,
        )

    def answer(self, body: bytes, shown: Shown) -> tuple[bytes, Tokens | None]:
        """Returns a whole answer for the app, and the provider's tokens in and out."""
        return chat_reply.completion(body, model=shown.model, usage=self._usage(shown))

    def events(self, shown: Shown) -> AnswerStream:
        """Returns what turns the provider's events into the app's."""
        return chat_reply.ChatStream(
            model=shown.model,
            choices=self.choices,
            usage=self._usage(shown) if bodies.wants_usage(self.data) else None,
        )

    def _usage(self, shown: Shown) -> UsageRule | None:
        return UsageRule.of(shown.usage, (message.text for message in self.messages))

    def _edited(self, edit: PromptEdit) -> bytes:
        at = next(member.value.start for member in self.members if member.name == "messages")
        spans = splice.items(self.body, at)
        parts = [span.of(self.body) for span in spans]
        texts = dict(edit.texts)
        front = []
        if edit.system is not None:
            system = next((i for i, m in enumerate(self.messages) if m.role in SYSTEM_ROLES), None)
            if system is None:
                front = [orjson.dumps({"role": "system", "content": edit.system})]
            else:
                texts[system] = edit.system
        for index, text in texts.items():
            parts[index] = _with_text(self.data["messages"][index], parts[index], text)
        parts[edit.demos_before : edit.demos_before] = edit.demos
        return b"[" + b",".join([*front, *parts]) + b"]"


def _with_text(message: Mapping[str, Any], raw: bytes, text: str) -> bytes:
    content = message.get("content")
    if len(message) == 2 and not isinstance(content, list):
        return orjson.dumps({"role": message["role"], "content": text})
    known = {member.name: member for member in splice.members(raw)}
    sent = known["content"].value.of(raw) if "content" in known else b""
    return bodies.member(raw, "content", bodies.with_text(content, sent, text, kind="text"))


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
        found.append(Message(role, bodies.text_of(message.get("content"))))
    return tuple(found)


def _limit(data: Mapping[str, Any]) -> int | None:
    limits = [bodies.typed(data, name, int) for name in _LIMITS]
    given = [limit for limit in limits if limit is not None]
    return max(given) if given else None
