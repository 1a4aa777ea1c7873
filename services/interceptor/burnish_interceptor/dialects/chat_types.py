"""The types of chat completions of the usual form: what they do not name is not usual.

They are apart from who uses them because they are made when the program starts, by a library that
reads their annotations, and so cannot be compiled.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

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


class Completion(Struct, kw_only=True, omit_defaults=True):
    """A whole answer of one text a choice."""

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


class Chunk(Struct, kw_only=True):
    """An event that holds a piece of one text and nothing else."""

    choices: Annotated[list[_Piece], Meta(min_length=1, max_length=1)]
    usage: _Nothing = UNSET
    error: _Nothing = UNSET
