"""Legacy completions: `POST /completions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import orjson

from burnish_interceptor.dialects import body as bodies
from burnish_interceptor.dialects import sse
from burnish_interceptor.dialects.allow import (
    FINGERPRINT,
    Json,
    NotAnAnswer,
    Rule,
    fields,
    hashed,
    integer,
    list_of,
    number,
    parsed,
    text,
)
from burnish_interceptor.dialects.body import Body
from burnish_interceptor.dialects.dialect import BadRequest, Forced, Outgoing, Shown, Tokens
from burnish_interceptor.dialects.stream import AnswerStream
from burnish_interceptor.dialects.usage import CHAT, UsageRule, tokens
from burnish_interceptor.prompts.edit import Message, PromptEdit

# The API's own default, said aloud because a call without a limit has no worst case.
_DEFAULT_OUTPUT_TOKENS = 16
_REFUSED = frozenset(
    {"echo", "prompt_logprobs", "return_prompt_token_ids", "return_token_ids", "store"}
)


class CompletionsRequest:
    """A completion as it was asked for: its prompt is one user message.

    Attributes:
        path: Where completions stand below a base URL.
        api: Name of the API in metrics and traces.
        conversational: Whether there is a conversation.
        body: The bytes as they came.
        messages: The prompt; none when there are several prompts, or tokens in place of a text.
        model: Model that the app names, or empty.
        stream: Whether the app wants events.
    """

    path: ClassVar[str] = "/completions"
    api: ClassVar[str] = "completions"
    conversational: ClassVar[bool] = True
    __slots__ = ("_choices", "_made", "_parsed", "body", "messages", "model", "stream")

    def __init__(self, raw: bytes) -> None:
        parsed = Body(raw)
        if parsed.data.get("echo"):
            raise BadRequest("`echo` is not served here; the app has the prompt that it sent")
        prompt = parsed.data.get("prompt")
        if not prompt or not isinstance(prompt, str | list):
            raise BadRequest("`prompt` is missing or empty; send a text")
        prompts = [prompt] if isinstance(prompt, str) else prompt
        several = len(prompts) if all(isinstance(one, str | list) for one in prompts) else 1
        lone = prompts[0] if len(prompts) == 1 and isinstance(prompts[0], str) else None
        wanted = parsed.count("n")
        self._parsed = parsed
        self._choices = wanted * several
        self._made = max(wanted, parsed.count("best_of")) * several
        self.body = raw
        self.messages = () if lone is None else (Message("user", lone),)
        self.model: str = parsed.typed("model", str) or ""
        self.stream = bool(parsed.typed("stream", bool))

    @classmethod
    def parse(cls, raw: bytes) -> CompletionsRequest:
        """Parses a body.

        Raises:
            BadRequest: It is no JSON object with a prompt, or wants the prompt to be echoed.
        """
        return cls(raw)

    def rewritten(self, edit: PromptEdit, forced: Forced) -> Outgoing:
        """Returns the call for the provider.

        Raises:
            BadRequest: The body repeats a name, or there is an edit and no lone prompt.
        """
        sent = self._parsed.typed("max_tokens", int)
        limit = forced.model.max_output_tokens or sent or _DEFAULT_OUTPUT_TOKENS
        changes = self._parsed.settings(forced, refused=_REFUSED)
        changes["max_tokens"] = orjson.dumps(limit)
        if self.stream:
            self._parsed.ask_usage(forced, changes)
        if edit.system is not None or edit.texts or edit.demos:
            changes["prompt"] = orjson.dumps(self._prompt(edit))
        return Outgoing(self._parsed.changed(changes), forced.model, limit * self._made)

    def answer(self, body: bytes, shown: Shown) -> tuple[bytes, Tokens | None]:
        """Returns a whole answer for the app, and the provider's tokens in and out."""
        data = parsed(body)
        if not isinstance(data.get("choices"), list) or not data["choices"]:
            raise NotAnAnswer
        rebuilt = _envelope(data, shown.model)
        rebuilt["choices"] = _CHOICES(data["choices"])
        rule = self._usage(shown)
        if rule is not None and (told := rule.shown(data.get("usage"), CHAT)) is not None:
            rebuilt["usage"] = told
        return orjson.dumps(rebuilt), tokens(data.get("usage"), CHAT)

    def events(self, shown: Shown) -> AnswerStream:
        """Returns what turns the provider's events into the app's."""
        rule = self._usage(shown) if self._parsed.wants_usage else None
        return _Events(model=shown.model, choices=self._choices, usage=rule)

    def _usage(self, shown: Shown) -> UsageRule | None:
        prompt = self._parsed.data["prompt"]
        texts = [prompt] if isinstance(prompt, str) else prompt
        sent = [Message("user", one) for one in texts if isinstance(one, str)]
        return UsageRule.of(shown.usage, sent)

    def _prompt(self, edit: PromptEdit) -> str:
        if not self.messages:
            raise BadRequest("send one prompt as a text; several, or tokens, cannot be rewritten")
        parts = [] if edit.system is None else [edit.system]
        parts += [bodies.text_of(orjson.loads(demo).get("content")) for demo in edit.demos]
        return "\n\n".join([*parts, edit.texts.get(0, self.messages[0].text)])


class _Events(AnswerStream):
    def __init__(self, *, model: str, choices: int, usage: UsageRule | None) -> None:
        super().__init__()
        self._model = model
        self._choices = choices
        self._rule = usage
        self._finished: set[int] = set()

    def rest(self) -> bytes:
        return b"".join(self._held) + sse.encode(sse.DONE)

    def _event(self, data: bytes) -> bytes | None:
        if data == sse.DONE:
            self._done = True
            return None
        source = parsed(data)
        if source.get("error"):
            raise NotAnAnswer
        used = source.get("usage")
        self.usage = tokens(used, CHAT) or self.usage
        choices = source.get("choices")
        if not isinstance(choices, list):
            return None
        rebuilt = _envelope(source, self._model)
        rebuilt["choices"] = _DELTAS(choices)
        for choice in rebuilt["choices"]:
            reason = choice.get("finish_reason")
            if reason == "":
                choice["finish_reason"] = None
            elif reason is not None:
                self._finished.add(choice.get("index", 0))
        self._over = self._over or len(self._finished) >= self._choices
        told = self._rule.shown(used, CHAT) if self._rule is not None else None
        if told is not None:
            rebuilt["usage"] = told
        elif not choices:
            return None
        return sse.encode(orjson.dumps(rebuilt))


def _envelope(data: Mapping[str, Json], model: str) -> dict[str, Json]:
    created = integer(data.get("created"))
    shown: dict[str, Json] = {
        "id": hashed("cmpl-", data.get("id")),
        "object": "text_completion",
        "created": created or 0,
        "model": model,
    }
    if (known := FINGERPRINT(data.get("system_fingerprint"))) is not None:
        shown["system_fingerprint"] = known
    return shown


def _top(value: Json) -> Json:
    """Allows the likeliest tokens of each place: a list of objects from token to number."""
    if not isinstance(value, list):
        return None
    return [
        {k: v for k, v in one.items() if number(v) is not None} if isinstance(one, dict) else None
        for one in value
    ]


_LOGPROBS = fields(
    {
        "tokens": list_of(text),
        "token_logprobs": lambda value: (
            [number(one) for one in value] if isinstance(value, list) else None
        ),
        "top_logprobs": _top,
        "text_offset": list_of(integer),
    }
)


def _choices(*reasons: str) -> Rule:
    """Returns the rule for choices, which finish for one of some reasons; any other is `stop`."""
    return list_of(
        fields(
            {
                "index": integer,
                "text": text,
                "logprobs": _LOGPROBS,
                "finish_reason": lambda value: value if value in reasons else "stop",
            },
            nullable=frozenset({"logprobs", "finish_reason"}),
        )
    )


_CHOICES = _choices("stop", "length", "content_filter")
# Some providers write as an empty text that there is no reason yet.
_DELTAS = _choices("stop", "length", "content_filter", "")
