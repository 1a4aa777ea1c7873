"""The wire formats of model providers, from the provider's side: replies, events and errors.

A format is found by the path that was called, so one server speaks them all.
"""

from __future__ import annotations

from typing import Final

from burnish.testing.providers.formats.anthropic import AnthropicFormat
from burnish.testing.providers.formats.base import WireFormat
from burnish.testing.providers.formats.gemini import GeminiFormat
from burnish.testing.providers.formats.openai import ChatFormat, ResponsesFormat

CHAT: Final = ChatFormat()
RESPONSES: Final = ResponsesFormat()
GEMINI: Final = GeminiFormat()
ANTHROPIC: Final = AnthropicFormat()
_FORMATS: Final[tuple[WireFormat, ...]] = (CHAT, RESPONSES, GEMINI, ANTHROPIC)


def format_of(target: str) -> WireFormat:
    """Returns the format of a path; chat completions when no format is known by it."""
    path = target.partition("?")[0]
    return next((one for one in _FORMATS if one.path in path), CHAT)
