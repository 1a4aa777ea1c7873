"""Changes single members of a JSON object in its bytes, so that all else stays as it was sent.

A parse and a dump would change integers over 64 bits and the form of floats. The functions here
take JSON that a parser has accepted already, and only find where its values start and end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]')
_SPACE = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of bytes."""

    start: int
    end: int

    def of(self, text: bytes) -> bytes:
        """Returns the bytes of the range."""
        return text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an object: its name, where it stands, and where its value does."""

    name: str
    whole: Span
    value: Span


def items(text: bytes, start: int = 0) -> list[Span]:
    """Returns where the items of an array, or the members of an object, stand.

    Args:
        text: Valid JSON.
        start: Where the array or object starts; space before it is skipped.
    """
    depth = 0
    found: list[Span] = []
    begin = start
    for mark in _MARK.finditer(text, start):
        char = text[mark.start()]
        if char in b"[{":
            depth += 1
            if depth == 1:
                begin = mark.end()
        elif char in b"]}":
            depth -= 1
            if depth == 0:
                span = _trimmed(text, begin, mark.start())
                return [*found, span] if span.end > span.start else found
        elif char == 0x2C and depth == 1:
            found.append(_trimmed(text, begin, mark.start()))
            begin = mark.end()
    return found


def members(text: bytes, start: int = 0) -> list[Member]:
    """Returns the members of the JSON object that starts at `start`, in order, repeats included."""
    found = []
    for item in items(text, start):
        name = _MARK.match(text, item.start)
        if name is None:
            raise ValueError("not a JSON object")
        colon = text.index(b":", name.end())
        found.append(
            Member(str(orjson.loads(name.group())), item, _trimmed(text, colon + 1, item.end))
        )
    return found


def replaced(text: bytes, changes: Mapping[str, bytes | None], *, known: Sequence[Member]) -> bytes:
    """Returns a JSON object with some of its members changed.

    Args:
        text: A JSON object without repeated names.
        changes: New value as JSON by name, added at the end when it is not there; None removes.
        known: The object's members, from `members`.
    """
    left = dict(changes)
    pieces = []
    for member in known:
        if member.name not in changes:
            pieces.append(member.whole.of(text))
            continue
        value = left.pop(member.name, None)
        if value is not None:
            pieces.append(text[member.whole.start : member.value.start] + value)
    added = ((name, value) for name, value in left.items() if value is not None)
    pieces += [orjson.dumps(name) + b":" + value for name, value in added]
    return b"{" + b",".join(pieces) + b"}"


def _trimmed(text: bytes, start: int, end: int) -> Span:
    while start < end and text[start] in _SPACE:
        start += 1
    while end > start and text[end - 1] in _SPACE:
        end -= 1
    return Span(start, end)
