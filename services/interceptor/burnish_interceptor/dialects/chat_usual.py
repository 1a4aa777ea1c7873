"""Chat completions of the usual form, rebuilt by their types: what no type names is left out.

Most answers hold one text and little else. Their types are read and written by a library in C, at
a third of what the rules cost. What does not fit these types is not usual: the rules decide on it.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from burnish_interceptor.dialects.alike import Alike
from burnish_interceptor.dialects.allow import FINGERPRINT, hashed
from burnish_interceptor.dialects.chat_types import Chunk, Completion
from burnish_interceptor.dialects.dialect import Tokens

# The library gives up on deep nesting, and on what is no UTF-8, with the interpreter's own errors.
_UNFIT = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_read = msgspec.json.Decoder(Completion).decode
_read_chunk = msgspec.json.Decoder(Chunk).decode
_written = msgspec.json.Encoder().encode
_CONTENT = b'"content":'


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
    before, after = _around(head, found.index)
    return b"%b%b%b" % (before, orjson.dumps(found.delta.content)[1:-1], after)


def alike(data: bytes, head: bytes) -> Alike | None:
    """Returns how events are shown that differ from a usual one in their text alone.

    Args:
        data: The one event, of which `piece` told what is shown.
        head: See `piece`.

    Returns:
        None when it cannot be told where its text is.
    """
    found = _read_chunk(data).choices[0]
    text = orjson.dumps(found.delta.content)
    start = data.find(_CONTENT) + len(_CONTENT)
    start += data[start : start + 1] == b" "
    if not data.startswith(text, start):
        return None
    before, after = data[: start + 1], data[start + len(text) - 1 :]
    # The name may stand elsewhere too: it is the right one if another text there is read there.
    other = found.delta.content + "-"
    read = _read_chunk(before + orjson.dumps(other)[1:-1] + after).choices[0]
    if read.delta.content != other:
        return None
    return Alike((b"data: " + before, after + b"\n\n"), _around(head, found.index))


def _around(head: bytes, index: int) -> tuple[bytes, bytes]:
    """Returns what the app is shown before a piece of text and behind it."""
    return b'%b{"index":%d,"delta":{"content":"' % (head, index), b'"},"finish_reason":null}]}\n\n'


@lru_cache(maxsize=1024)
def _fingerprint(value: str) -> str | UnsetType:
    return value if FINGERPRINT(value) is not None else UNSET
