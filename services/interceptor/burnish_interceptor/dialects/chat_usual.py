"""Chat completions of the usual form, rebuilt by their types: what no type names is left out.

Most answers hold one text and little else. Their types are read and written by a library in C, at
a third of what the rules cost. What does not fit these types is not usual: the rules decide on it.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from burnish_interceptor.dialects.allow import FINGERPRINT, hashed
from burnish_interceptor.dialects.chat_types import Chunk, Completion
from burnish_interceptor.dialects.dialect import Tokens

# The library gives up on deep nesting with the interpreter's own error.
_UNFIT = (msgspec.DecodeError, RecursionError)
_read = msgspec.json.Decoder(Completion).decode
_read_chunk = msgspec.json.Decoder(Chunk).decode
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
