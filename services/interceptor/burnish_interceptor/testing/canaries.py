"""Texts that nobody may see, and a search for them in every form they could hide in."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

_WORD = re.compile(r"\w+")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_SHINGLE = 12
# A shorter piece of an encoded text may be there by chance.
_LONG_ENOUGH = 12
_CHUNK = re.compile(rb"([0-9a-fA-F]+)\r\n")


class Canaries:
    """Secret texts, each of at least 12 words or without any space."""

    def __init__(self, *texts: str) -> None:
        """Takes the texts."""
        self._forms = {form for text in texts for form in _forms(text)}
        self._shingles = {shingle for text in texts for shingle in _shingles(_words(text))}

    def leaks(self, received: bytes) -> list[str]:
        """Returns what of the texts is in some bytes; the body of an HTTP answer is read whole."""
        seen = received + b"\n" + unchunked(received)
        lower = seen.lower()
        found = [repr(form[:60]) for form in sorted(self._forms) if form in lower]
        text = _unescaped(seen.decode("utf-8", "replace"))
        heard = set(_shingles(_words(text)))
        return found + sorted(self._shingles & heard)


def unchunked(raw: bytes) -> bytes:
    """Returns the body of a raw HTTP answer without the lines that say how long its chunks are."""
    head, _, body = raw.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    pieces = []
    while (size := _CHUNK.match(body)) is not None:
        end = size.end() + int(size[1], 16)
        pieces.append(body[size.end() : end])
        body = body[end + 2 :]
    return b"".join(pieces)


def _forms(text: str) -> Iterator[bytes]:
    raw = text.encode()
    yield raw.lower()
    yield raw.hex().encode()
    yield json.dumps(text)[1:-1].lower().encode()
    yield "".join(f"\\u{ord(char):04x}" for char in text).encode()
    yield "".join(f"%{byte:02x}" for byte in raw).encode()
    yield quote(text).lower().encode()
    yield quote_plus(text).lower().encode()
    yield html.escape(text).lower().encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode, base64.b32encode):
        for pad in range(5):
            # What stands before and after changes the ends, so the middle is looked for.
            middle = encode(b"." * pad + raw)[8:-8][:40]
            if len(middle) >= _LONG_ENOUGH:
                yield middle.lower()


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _unescaped(text: str) -> str:
    text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    return html.unescape(text.replace("\\n", " ").replace("\\t", " ").replace('\\"', '"'))


def _shingles(words: Iterable[str]) -> Iterator[str]:
    listed = list(words)
    for start in range(len(listed) - _SHINGLE + 1):
        yield " ".join(listed[start : start + _SHINGLE])
