"""Chat completions as the app is given them, whole and as events.

The usual forms take a short path, because they are most of the traffic; anything else goes through
the rules. Either way only what is named here is passed on. Reasoning text is not,
because models quote their instructions in it.
"""

from __future__ import annotations

from functools import lru_cache

import orjson

from burnish_interceptor.dialects import chat_usual, sse
from burnish_interceptor.dialects.allow import (
    FINGERPRINT,
    ID,
    Json,
    NotAnAnswer,
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
from burnish_interceptor.dialects.dialect import Tokens
from burnish_interceptor.dialects.stream import AnswerStream
from burnish_interceptor.dialects.usage import CHAT, UsageRule, tokens

_FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
# How often a stream's events may turn out not to be alike, as where each says its time, before they
# are taken apart one by one.
_TRIES = 8
SERVICE_TIER = one_of("auto", "default", "flex", "scale", "priority", "on_demand")


def completion(body: bytes, *, model: str, usage: UsageRule | None) -> tuple[bytes, Tokens | None]:
    """Returns a chat completion for the app, and the provider's tokens in and out.

    Args:
        body: The provider's.
        model: Model to report.
        usage: What is told of tokens; None tells nothing.

    Raises:
        NotAnAnswer: The body is no JSON object with a list of choices, or none was made.
    """
    data = parsed(body)
    choices = data.get("choices")
    if type(choices) is not list or not choices:
        raise NotAnAnswer
    shown = [one for choice in choices if (one := _rich_choice(choice)) is not None]
    listed = orjson.dumps(shown)[1:-1]
    used = data.get("usage")
    told = usage.shown(used, CHAT) if usage is not None else None
    tail = b"]}" if told is None else b'],"usage":%b}' % orjson.dumps(told)
    return _head("chat.completion", data, model) + listed + tail, tokens(used, CHAT)


class ChatStream(AnswerStream):
    """A chat completion as events; the answer is over when every choice has finished."""

    def __init__(self, *, model: str, choices: int, usage: UsageRule | None) -> None:
        """Starts an answer.

        Args:
            model: Model to report to the app.
            choices: How many answers were asked for.
            usage: What is told of tokens; None when the app did not ask.
        """
        super().__init__()
        self._model = model
        self._choices = choices
        self._rule = usage
        self._finished: set[int] = set()
        # What is shown up to its first choice; empty before the provider has named one.
        self._head = b""
        self._tries = _TRIES

    def rest(self) -> bytes:
        """Returns what was kept back, with the end of the stream."""
        return b"".join(self._held) + sse.encode(sse.DONE)

    def _event(self, data: bytes) -> bytes | None:
        if self._head and (plain := chat_usual.piece(data, self._head)) is not None:
            if self._tries:
                self._tries -= 1
                self._like = chat_usual.alike(data, self._head) or self._like
            return plain
        if data == sse.DONE:
            if not self._head:
                raise NotAnAnswer
            self._done = True
            return None
        source = parsed(data)
        choices = source.get("choices")
        if source.get("error"):
            raise NotAnAnswer
        used = source.get("usage")
        if used is not None:
            self.usage = tokens(used, CHAT) or self.usage
        if type(choices) is not list:
            return None
        head = self._head or b"data: " + _head("chat.completion.chunk", source, self._model)
        if choices:
            # An event of no choice, such as a filter's, need not know the answer's id yet.
            self._head = head
        return self._rich(head, choices, used)

    def _rich(self, head: bytes, choices: list[Json], used: Json) -> bytes | None:
        shown = [one for choice in choices if (one := _delta(choice)) is not None]
        for choice in shown:
            reason = choice.get("finish_reason")
            if reason == "":
                choice["finish_reason"] = None
            elif reason is not None:
                self._finished.add(choice.get("index", 0))
        told = self._rule.shown(used, CHAT) if self._rule is not None else None
        self._over = self._over or len(self._finished) >= self._choices
        if not choices and told is None:
            return None
        usage = b'],"usage":' + orjson.dumps(told) if told is not None else b"]"
        return head + orjson.dumps(shown)[1:-1] + usage + b"}\n\n"


def _head(kind: str, data: dict[str, Json], model: str) -> bytes:
    """Returns an answer up to its first choice."""
    created = data.get("created")
    fingerprint, tier = data.get("system_fingerprint"), data.get("service_tier")
    return b'{"id":"%b","object":"%b","created":%d,%b"choices":[' % (
        hashed("chatcmpl-", data.get("id")).encode(),
        kind.encode(),
        created if type(created) is int else 0,
        _frame(
            model,
            fingerprint if type(fingerprint) is str else None,
            tier if type(tier) is str else None,
        ),
    )


@lru_cache(maxsize=1024)
def _frame(model: str, fingerprint: str | None, tier: str | None) -> bytes:
    """Returns the members that are the same for most answers of a model."""
    told = {
        "model": model,
        "system_fingerprint": FINGERPRINT(fingerprint),
        "service_tier": SERVICE_TIER(tier),
    }
    known = {name: value for name, value in told.items() if value is not None}
    return orjson.dumps(known)[1:-1] + b","


def _finish_reason(value: Json) -> str:
    return value if isinstance(value, str) and value in _FINISH_REASONS else "stop"


def _delta_reason(value: Json) -> str:
    """Allows an empty text too, as which some providers write that there is none yet."""
    return "" if value == "" else _finish_reason(value)


def _content(value: Json) -> Json:
    return value if isinstance(value, str) else _PARTS(value)


URL_CITATION = fields(
    {"start_index": integer, "end_index": integer, "url": text, "title": text},
    required=frozenset({"url"}),
)
_PARTS = list_of(
    by_type({"text": fields({"text": text}), "refusal": fields({"refusal": text})}),
)
_CALLED = fields({"name": text, "arguments": text})
_TOOL_CALL = fields(
    {
        "index": integer,
        "id": call_id,
        "type": one_of("function", "custom"),
        "function": _CALLED,
        "custom": fields({"name": text, "input": text}),
    }
)
_MESSAGE = fields(
    {
        "role": one_of("assistant"),
        "content": _content,
        "refusal": text,
        "annotations": list_of(by_type({"url_citation": fields({"url_citation": URL_CITATION})})),
        "audio": fields(
            {"id": matching(ID), "data": text, "transcript": text, "expires_at": integer}
        ),
        "tool_calls": list_of(_TOOL_CALL),
        "function_call": _CALLED,
    },
    nullable=frozenset({"content", "refusal"}),
)
_TOKEN = {"token": text, "logprob": number, "bytes": list_of(integer)}
LOGPROBS = list_of(
    fields(
        {**_TOKEN, "top_logprobs": list_of(fields(_TOKEN, nullable=frozenset({"bytes"})))},
        nullable=frozenset({"bytes"}),
    )
)
_CHOICE = {
    "finish_reason": _finish_reason,
    "logprobs": fields(
        {"content": LOGPROBS, "refusal": LOGPROBS}, nullable=frozenset({"content", "refusal"})
    ),
}
_NULLABLE = frozenset({"finish_reason", "logprobs"})
_rich_choice = fields({"index": integer, "message": _MESSAGE, **_CHOICE}, nullable=_NULLABLE)
_delta = fields(
    {"index": integer, "delta": _MESSAGE, **_CHOICE, "finish_reason": _delta_reason},
    nullable=_NULLABLE,
)
