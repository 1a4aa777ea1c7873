"""Embeddings: `POST /embeddings`. They pass through: there is no conversation to change."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import ClassVar

import orjson

from burnish_interceptor.dialects.allow import (
    Json,
    NotAnAnswer,
    fields,
    integer,
    list_of,
    number,
    one_of,
    parsed,
)
from burnish_interceptor.dialects.body import Body
from burnish_interceptor.dialects.dialect import (
    BadRequest,
    Forced,
    Outgoing,
    Shown,
    Tokens,
    UsageMode,
)
from burnish_interceptor.dialects.stream import AnswerStream
from burnish_interceptor.dialects.usage import count
from burnish_interceptor.prompts.edit import NO_EDIT, Message, PromptEdit

_MAX_INPUTS = 2048
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


class EmbeddingsRequest:
    """Embeddings as they were asked for.

    Attributes:
        path: Where embeddings stand below a base URL.
        api: Name of the API in metrics and traces.
        conversational: Whether there is a conversation.
        messages: None: there is no conversation.
        stream: Never.
        body: The bytes as they came.
        model: Model that the app names.
    """

    path: ClassVar[str] = "/embeddings"
    api: ClassVar[str] = "embeddings"
    conversational: ClassVar[bool] = False
    messages: ClassVar[tuple[Message, ...]] = ()
    stream: ClassVar[bool] = False
    __slots__ = ("body", "model")

    def __init__(self, raw: bytes) -> None:
        parsed = Body(raw)
        model = parsed.typed("model", str)
        if not model:
            raise BadRequest("`model` is missing; name the embedding model")
        given = parsed.data.get("input")
        if not given or not isinstance(given, str | list):
            raise BadRequest("`input` is missing or empty; send a text or a list")
        several = isinstance(given, list) and isinstance(given[0], str | list)
        if several and len(given) > _MAX_INPUTS:
            raise BadRequest(f"{len(given)} inputs are over the limit of {_MAX_INPUTS}")
        self.body = raw
        self.model: str = model

    @classmethod
    def parse(cls, raw: bytes) -> EmbeddingsRequest:
        """Parses a body.

        Raises:
            BadRequest: It is no JSON object with a model and an input, or is over a limit.
        """
        return cls(raw)

    def rewritten(self, edit: PromptEdit, forced: Forced) -> Outgoing:
        """Returns the call for the provider, of the app's own model at the policy's provider.

        Raises:
            BadRequest: There is an edit.
        """
        if edit is not NO_EDIT:
            raise BadRequest("embeddings have no prompt that could be changed")
        model = replace(
            forced.model, name=self.model, temperature=None, max_output_tokens=0, price=None
        )
        return Outgoing(self.body, model, 0)

    def answer(self, body: bytes, shown: Shown) -> tuple[bytes, Tokens | None]:
        """Returns the embeddings for the app, and the provider's tokens in."""
        data = parsed(body)
        if not isinstance(data.get("data"), list):
            raise NotAnAnswer
        rebuilt = {"object": "list", "data": _DATA(data["data"]), "model": self.model}
        usage = data.get("usage")
        given = count(usage.get("prompt_tokens")) if isinstance(usage, dict) else None
        if given is not None and shown.usage is not UsageMode.OFF:
            rebuilt["usage"] = {"prompt_tokens": given, "total_tokens": given}
        return orjson.dumps(rebuilt), None if given is None else (given, 0)

    def events(self, shown: Shown) -> AnswerStream:
        """Embeddings have no events: they are never asked for.

        Raises:
            NotAnAnswer: Always.
        """
        raise NotAnAnswer


def _vector(value: Json) -> Json:
    if isinstance(value, str):
        return value if _BASE64.fullmatch(value) else None
    if isinstance(value, list) and all(number(one) is not None for one in value):
        return value
    return None


_DATA = list_of(fields({"object": one_of("embedding"), "index": integer, "embedding": _vector}))
