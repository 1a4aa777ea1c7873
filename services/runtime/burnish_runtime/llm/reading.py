"""Reads replies of any provider: JSON that is whole, and counts that can be."""

from __future__ import annotations

import json
import re
from typing import Any

from burnish_runtime.llm.base import TokenUsage, ToolCall
from burnish_runtime.llm.failures import connection_error, malformed_error

_MOST_TOKENS = 2**31 - 1
_LITERALS = ("true", "false", "null")
# Of a number's tail, or of an escape in a text.
_BEGINNING = re.compile(r"[-+.eE0-9]*|\\?u[0-9a-fA-F]{0,3}")


def parsed(provider: str, body: bytes) -> dict[str, Any]:
    """Returns the JSON object of a reply.

    Raises:
        ProviderError: It is none.
    """
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        # The cause would hold the whole reply.
        raise malformed_error(provider, "not JSON") from None
    if not isinstance(reply, dict):
        raise malformed_error(provider, "no JSON object")
    return reply


def require_whole(provider: str, body: bytes) -> None:
    """Checks that a reply was not cut off on its way.

    A body whose end is the end of the connection looks whole to HTTP wherever it ends.

    Raises:
        ProviderUnavailable: It was.
    """
    text = body.decode("utf-8", "replace").rstrip()
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg.startswith("Unterminated") or _is_cut(text[error.pos :]):
            raise connection_error(provider, not_sent=False) from None
    except RecursionError:
        return


def _is_cut(rest: str) -> bool:
    """Tells whether what a reader of JSON could not go on with is the beginning of something."""
    if any(literal.startswith(rest) for literal in _LITERALS):
        return True
    return _BEGINNING.fullmatch(rest) is not None


def count(value: object) -> int | None:
    """Returns a number of tokens, or None when it is none that can be."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _MOST_TOKENS else None


def counts(usage: object, *path: str) -> int | None:
    """Returns the number of tokens at a path of a reply's usage, or None."""
    for name in path:
        usage = usage.get(name) if isinstance(usage, dict) else None
    return count(usage)


def usage_of(
    *,
    read: int | None,
    written: int | None,
    cached: int | None = None,
    kept: int | None = None,
    reasoning: int | None = None,
) -> TokenUsage | None:
    """Returns a call's usage, or None when it was not said; parts are at most their whole.

    Args:
        read: Tokens read, all in all.
        written: Tokens written, all in all.
        cached: Of those read, how many came from a cache.
        kept: Of those read, how many went to a cache.
        reasoning: Of those written, how many the model wrote for itself.
    """
    if read is None or written is None:
        return None
    return TokenUsage(
        input_tokens=read,
        output_tokens=written,
        cached_input_tokens=None if cached is None else min(cached, read),
        cache_write_tokens=None if kept is None else min(kept, read - min(cached or 0, read)),
        reasoning_tokens=None if reasoning is None else min(reasoning, written),
    )


def text_or_arguments(text: str, calls: tuple[ToolCall, ...]) -> str:
    """Returns what a model wrote: its text, or what it asked its first tool."""
    return text or (calls[0].arguments if calls else "")
