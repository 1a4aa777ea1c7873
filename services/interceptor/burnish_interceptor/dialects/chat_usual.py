"""Chat completions of the usual form, rebuilt by their types: what no type names is left out.

Most answers hold one text and little else. Their types are read and written by a library in C, at
a third of what the rules cost. What does not fit these types is not usual: the rules decide on it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import msgspec
import orjson
from msgspec import UNSET, Meta, Struct, UnsetType

from burnish_interceptor.dialects.allow import FINGERPRINT, hashed
from burnish_interceptor.dialects.dialect import Tokens
from burnish_interceptor.dialects.usage import MOST_TOKENS

_Count = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]
_MaybeCount = _Count | UnsetType
_Nothing = None | UnsetType
_Empty = Annotated[list[int], Meta(max_length=0)] | None | UnsetType


class _InputDetails(Struct, omit_defaults=True):
    cached_tokens: _MaybeCount = UNSET
    audio_tokens: _MaybeCount = UNSET
    cache_write_tokens: _MaybeCount = UNSET


class _OutputDetails(Struct, omit_defaults=True):
    reasoning_tokens: _MaybeCount = UNSET
    audio_tokens: _MaybeCount = UNSET
    accepted_prediction_tokens: _MaybeCount = UNSET
    rejected_prediction_tokens: _MaybeCount = UNSET


class _Usage(Struct, omit_defaults=True):
    prompt_tokens: _Count
    completion_tokens: _Count
    total_tokens: _Count
    prompt_tokens_details: _InputDetails | UnsetType = UNSET
    completion_tokens_details: _OutputDetails | UnsetType = UNSET


class _Message(Struct, kw_only=True, omit_defaults=True):
    role: Literal["assistant"]
    content: str
    refusal: _Nothing = UNSET
    annotations: _Empty = UNSET
    tool_calls: _Empty = UNSET
    function_call: _Nothing = UNSET
    audio: _Nothing = UNSET


class _Choice(Struct, kw_only=True):
    index: int
    message: _Message
    logprobs: None = None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class _Completion(Struct, kw_only=True, omit_defaults=True):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str = ""
    system_fingerprint: str | UnsetType | None = UNSET
    service_tier: (
        Literal["auto", "default", "flex", "scale", "priority", "on_demand"] | UnsetType | None
    ) = UNSET
    choices: Annotated[list[_Choice], Meta(min_length=1)]
    usage: _Usage | UnsetType = UNSET


class _Delta(Struct, kw_only=True):
    content: str
    role: _Nothing = UNSET
    refusal: _Nothing = UNSET
    annotations: _Empty = UNSET
    tool_calls: _Empty = UNSET
    function_call: _Nothing = UNSET
    audio: _Nothing = UNSET


class _Piece(Struct, kw_only=True):
    index: int
    delta: _Delta
    logprobs: None = None
    finish_reason: None = None


class _Chunk(Struct, kw_only=True):
    choices: Annotated[list[_Piece], Meta(min_length=1, max_length=1)]
    usage: _Nothing = UNSET
    error: _Nothing = UNSET


# The library gives up on deep nesting with the interpreter's own error.
_UNFIT = (msgspec.DecodeError, RecursionError)
_read = msgspec.json.Decoder(_Completion).decode
_read_chunk = msgspec.json.Decoder(_Chunk).decode
_written = msgspec.json.Encoder().encode


def completion(body: bytes, *, model: str) -> tuple[bytes, Tokens | None] | None:
    """Returns a usual answer for the app, its usage untouched, and the provider's tokens.

    Args:
        body: The provider's answer.
        model: Model to report.

    Returns:
        The answer, and tokens in and out; None for what is not usual.
    """
    try:
        found = _read(body)
    except _UNFIT:
        return None
    found.id = hashed("chatcmpl-", found.id)
    found.model = model
    fingerprint = found.system_fingerprint
    if isinstance(fingerprint, str):
        found.system_fingerprint = _fingerprint(fingerprint)
    usage = found.usage
    told = (usage.prompt_tokens, usage.completion_tokens) if usage is not UNSET else None
    return _written(found), told


def piece(data: bytes, head: bytes) -> bytes | None:
    """Returns an event that holds a piece of text only; None when it holds more.

    Args:
        data: The provider's.
        head: The app's up to its first choice.
    """
    try:
        found = _read_chunk(data).choices[0]
    except _UNFIT:
        return None
    return b'%b{"index":%d,"delta":{"content":%b},"finish_reason":null}]}\n\n' % (
        head,
        found.index,
        orjson.dumps(found.delta.content),
    )


@lru_cache(maxsize=1024)
def _fingerprint(value: str) -> str | UnsetType:
    return value if FINGERPRINT(value) is not None else UNSET
