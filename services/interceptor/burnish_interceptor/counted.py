"""Reads what a reply tells of cached and reasoning tokens, which have prices of their own.

The reply is searched, not parsed: within a JSON string a quote is escaped, so no text that a model
writes can look like one of these names.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_NUMBER = re.compile(rb"\s*:\s*(\d{1,10})(?![\d.eE])")
# What `usage` and `usageMetadata` begin with; in a stream the last one tells of the whole answer.
_USAGE = b'"usage'
_CACHED = (b'"cached_tokens"', b'"cachedContentTokenCount"')
_WRITTEN = (b'"cache_write_tokens"',)
_REASONING = (b'"reasoning_tokens"', b'"thoughtsTokenCount"')


class Details(NamedTuple):
    """Tokens by what became of them; None where the provider does not say.

    Attributes:
        cached: Of those read: found in the provider's cache.
        cache_write: Of those read: written to the provider's cache.
        reasoning: Of those written: what the model wrote for itself.
    """

    cached: int | None
    cache_write: int | None
    reasoning: int | None


def details(body: bytes) -> Details:
    """Returns what a reply, or a whole stream of events, says of its tokens."""
    start = body.rfind(_USAGE)
    if start < 0:
        return Details(None, None, None)
    return Details(
        cached=_last(body, _CACHED, start),
        cache_write=_last(body, _WRITTEN, start),
        reasoning=_last(body, _REASONING, start),
    )


def _last(body: bytes, names: tuple[bytes, ...], start: int) -> int | None:
    for name in names:
        at = body.rfind(name, start)
        if at >= 0 and (found := _NUMBER.match(body, at + len(name))) is not None:
            return int(found[1])
    return None
