"""What apps and providers say, API by API: requests as they come, replies from an allow-list."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from burnish_interceptor.dialects.chat import ChatRequest
from burnish_interceptor.dialects.completions import CompletionsRequest
from burnish_interceptor.dialects.dialect import (
    AppRequest,
    BadRequest,
    Forced,
    Outgoing,
    Shown,
    UsageMode,
)
from burnish_interceptor.dialects.embeddings import EmbeddingsRequest
from burnish_interceptor.dialects.responses import ResponsesRequest
from burnish_interceptor.routes import Tail

PARSERS: Mapping[Tail, Callable[[bytes], AppRequest]] = {
    Tail.CHAT: ChatRequest,
    Tail.RESPONSES: ResponsesRequest,
    Tail.COMPLETIONS: CompletionsRequest,
    Tail.EMBEDDINGS: EmbeddingsRequest,
}

__all__ = [
    "PARSERS",
    "AppRequest",
    "BadRequest",
    "Forced",
    "Outgoing",
    "Shown",
    "UsageMode",
]
