"""What an app is given of a provider's answer: rebuilt field by field from what is allowed.

A provider may repeat the prompt anywhere: in an echo field, an id, an error, a header. So nothing
is passed on because it was not thought of; only fields listed here are, and only in the form given
here. Reasoning text is left out, because models quote their instructions in it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

Json = Any
_Rule = Callable[[Json], Json]
_ID = re.compile(r"[A-Za-z0-9_.:\-]{1,128}")
_FINGERPRINT = re.compile(r"[A-Za-z0-9_.:\-]{1,64}")
_FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
_SERVICE_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "on_demand"})


class NotAnAnswer(Exception):
    """A successful reply that is no chat completion."""


def completion(body: bytes, *, model: str) -> bytes:
    """Returns a chat completion for the app.

    Args:
        body: The provider's.
        model: Model to report.

    Raises:
        NotAnAnswer: The body is no JSON object with a list of choices.
    """
    data = _object(body)
    if not isinstance(data.get("choices"), list):
        raise NotAnAnswer
    return orjson.dumps(_envelope(data, kind="chat.completion", model=model, part="message"))


def chunk(data: bytes, *, model: str, usage: bool) -> tuple[bytes | None, tuple[int, ...]]:
    """Returns one event of a stream for the app, and the choices that it finishes.

    Args:
        data: The provider's event.
        model: Model to report.
        usage: Whether the app asked for usage in the stream.

    Returns:
        None in place of the event when nothing of it is for the app.

    Raises:
        NotAnAnswer: The event is no JSON object.
    """
    source = _object(data)
    choices = source.get("choices")
    if not isinstance(choices, list):
        return None, ()
    finished = tuple(
        index
        for choice in choices
        if isinstance(choice, dict) and choice.get("finish_reason") is not None
        for index in (_integer(choice.get("index")),)
        if index is not None
    )
    rebuilt = _envelope(source, kind="chat.completion.chunk", model=model, part="delta")
    if not usage:
        rebuilt.pop("usage", None)
        if not choices:
            return None, finished
    return orjson.dumps(rebuilt), finished


def is_error(data: bytes) -> bool:
    """Tells whether an event of a stream is a provider's error."""
    try:
        return isinstance(orjson.loads(data).get("error"), dict | str)
    except (orjson.JSONDecodeError, AttributeError):
        return False


def usage_of(body: bytes) -> tuple[int, int] | None:
    """Returns tokens in and out of a reply or a usage event, or None when it does not say."""
    try:
        usage = orjson.loads(body).get("usage")
        return int(usage["prompt_tokens"]), int(usage["completion_tokens"])
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _object(body: bytes) -> dict[str, Json]:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise NotAnAnswer from None
    if not isinstance(data, dict):
        raise NotAnAnswer
    return data


def _envelope(data: dict[str, Json], *, kind: str, model: str, part: str) -> dict[str, Json]:
    choice = _fields(
        {
            "index": _integer,
            part: _MESSAGE,
            "finish_reason": lambda v: v if v in _FINISH_REASONS else "stop",
            "logprobs": _LOGPROBS,
        },
        nullable=frozenset({"finish_reason", "logprobs"}),
    )
    rebuilt = {
        "id": "chatcmpl-" + hashlib.sha256(str(data.get("id")).encode()).hexdigest()[:24],
        "object": kind,
        "created": _integer(data.get("created")) or 0,
        "model": model,
        "choices": _list_of(choice)(data["choices"]),
        "usage": _USAGE(data.get("usage")),
        "system_fingerprint": _matching(_FINGERPRINT)(data.get("system_fingerprint")),
        "service_tier": _one_of(_SERVICE_TIERS)(data.get("service_tier")),
    }
    return {name: value for name, value in rebuilt.items() if value is not None}


def _fields(rules: Mapping[str, _Rule], *, nullable: frozenset[str] = frozenset()) -> _Rule:
    def rebuild(value: Json) -> Json:
        if not isinstance(value, dict):
            return None
        found: dict[str, Json] = {}
        for name, rule in rules.items():
            if name not in value:
                continue
            if value[name] is None:
                if name in nullable:
                    found[name] = None
                continue
            rebuilt = rule(value[name])
            if rebuilt is not None:
                found[name] = rebuilt
        return found

    return rebuild


def _list_of(rule: _Rule) -> _Rule:
    def rebuild(value: Json) -> Json:
        if not isinstance(value, list):
            return None
        return [item for item in map(rule, value) if item is not None]

    return rebuild


def _integer(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Json) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _matching(pattern: re.Pattern[str]) -> _Rule:
    return lambda value: value if isinstance(value, str) and pattern.fullmatch(value) else None


def _one_of(values: frozenset[str]) -> _Rule:
    return lambda value: value if isinstance(value, str) and value in values else None


def _content(value: Json) -> Json:
    return value if isinstance(value, str) else _list_of(_PART)(value)


_PART = _fields({"type": _matching(_ID), "text": _text, "refusal": _text})
_CALLED = _fields({"name": _text, "arguments": _text})
_TOOL_CALL = _fields(
    {
        "index": _integer,
        "id": _matching(_ID),
        "type": _one_of(frozenset({"function"})),
        "function": _CALLED,
    }
)
_MESSAGE = _fields(
    {
        "role": _one_of(frozenset({"assistant"})),
        "content": _content,
        "refusal": _text,
        "tool_calls": _list_of(_TOOL_CALL),
        "function_call": _CALLED,
    },
    nullable=frozenset({"content", "refusal"}),
)
_TOKEN = {"token": _text, "logprob": _number, "bytes": _list_of(_integer)}
_TOKENS = _list_of(
    _fields(
        {**_TOKEN, "top_logprobs": _list_of(_fields(_TOKEN, nullable=frozenset({"bytes"})))},
        nullable=frozenset({"bytes"}),
    )
)
_LOGPROBS = _fields(
    {"content": _TOKENS, "refusal": _TOKENS}, nullable=frozenset({"content", "refusal"})
)
_USAGE = _fields(
    {
        "prompt_tokens": _integer,
        "completion_tokens": _integer,
        "total_tokens": _integer,
        "prompt_tokens_details": _fields({"cached_tokens": _integer, "audio_tokens": _integer}),
        "completion_tokens_details": _fields(
            {
                "reasoning_tokens": _integer,
                "audio_tokens": _integer,
                "accepted_prediction_tokens": _integer,
                "rejected_prediction_tokens": _integer,
            }
        ),
    }
)
