"""Changes parts of a JSON object in its bytes, so that all else stays as it was sent.

A parse and a dump would change integers over 64 bits and the form of floats. What is here takes
JSON that a parser has accepted already, and only finds where its values start and end. Long texts
are stepped over by a search for their closing quote. Lists and objects are stepped over by writing
what the parser made of them in the usual forms: where the bytes are the same, so is the end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

_QUOTE, _BACKSLASH = 0x22, 0x5C
_BRACKET = re.compile(rb'["\[\]{}]')
# A member's name, and its value with what follows when that is short and plain.
_KEY = re.compile(
    rb'\s*"([^"\\]*+(?:\\.[^"\\]*+)*+)"\s*:\s*'
    rb'(?:("[^"\\]{0,100}"|[^"\[{\s,}]++)\s*([,}]))?'
)
_SCALAR = re.compile(rb"[^\s,\]}]++")
_AFTER = re.compile(rb"\s*([,}\]])\s*")
_OPEN = re.compile(rb"\[\s*(\]?)")
_STRING_END = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
# The usual message, up to its text and after it.
_MESSAGE = re.compile(rb'\{\s*"role"\s*:\s*"\w*"\s*,\s*"content"\s*:\s*"')
_MESSAGE_END = re.compile(rb"\s*(\})\s*([,\]])\s*")
# How many escaped quotes are looked at one by one before the rest of a text is matched at once.
_PATIENCE = 16
# A list or object with less after it than this is not worth writing out.
_SHORT = 64


# Plain tuples, because most of the cost of a scan would be their making.
# Where a value starts and ends.
Span = tuple[int, int]
# Where a member of an object starts, where its value does, and where that ends.
Member = tuple[int, int, int]
Edit = tuple[int, int, bytes]


class Repeated(Exception):
    """An object that names a member twice."""


class Scan(NamedTuple):
    """Where the parts of an object stand.

    Attributes:
        members: By name, in order.
        items: Items of the lists that were asked for, by name.
    """

    members: dict[str, Member]
    items: dict[str, list[Span]]


def scan(text: bytes, data: Mapping[str, Any], *, start: int = 0, listed: str = "") -> Scan:
    """Returns where the members of the JSON object at `start` stand.

    Args:
        text: Holds the object.
        data: What the parser made of it.
        start: Where it starts, or white space before it.
        listed: Name of the member whose items are wanted, if it is a list.

    Raises:
        Repeated: A name is there twice.
    """
    at = text.index(b"{", start) + 1
    found: dict[str, Member] = {}
    listed_items: dict[str, list[Span]] = {}
    while (key := _KEY.match(text, at)) is not None:
        raw, plain, follows = key.groups()
        name = raw.decode() if _BACKSLASH not in raw else str(orjson.loads(b'"%b"' % raw))
        if name in found:
            raise Repeated
        if plain is not None:
            value, end = key.span(2)
            at = key.end()
        else:
            value = key.end()
            wanted = data.get(name)
            if name == listed and type(wanted) is list:
                listed_items[name], end = items(text, wanted, value)
            else:
                end = _end(text, value, wanted)
            after = _AFTER.match(text, end)
            if after is not None:
                follows, at = after[1], after.end()
        found[name] = (key.start(1) - 1, value, end)
        if follows != b",":
            break
    return Scan(found, listed_items)


def items(text: bytes, data: list[Any], start: int) -> tuple[list[Span], int]:
    """Returns where the items of the JSON array at `start` stand, and where it ends.

    Args:
        text: Holds the array.
        data: What the parser made of it.
        start: Where it starts.
    """
    opened = _OPEN.match(text, start)
    at = start + 1 if opened is None else opened.end()
    found: list[Span] = []
    for item in data:
        message = _MESSAGE.match(text, at)
        after = None
        if message is not None:
            end = _string_end(text, message.end() - 1, item["content"])
            after = _MESSAGE_END.match(text, end)
        if after is not None:
            end = after.end(1)
        else:
            end = _end(text, at, item)
            after = _AFTER.match(text, end)
        found.append((at, end))
        at = after.end() if after is not None else end
    return found, at if not data else text.index(b"]", found[-1][1]) + 1


def spliced(text: bytes, edits: Iterable[Edit]) -> bytes:
    """Returns a text with ranges replaced; the ranges do not overlap."""
    pieces: list[bytes] = []
    at = 0
    for start, end, new in sorted(edits):
        pieces += text[at:start], new
        at = end
    pieces.append(text[at:])
    return b"".join(pieces)


def changes(
    text: bytes, known: Mapping[str, Member], new: Mapping[str, bytes | None]
) -> list[Edit]:
    """Returns the edits that change members of an object, of which at least one has to stay.

    Args:
        text: A JSON object.
        known: Its members, from `members`.
        new: New value as JSON by name, added at the end when it is not there; None removes.
    """
    edits: list[Edit] = []
    added = []
    removed = False
    for name, value in new.items():
        member = known.get(name)
        if member is None:
            if value is not None:
                added.append(b",%b:%b" % (orjson.dumps(name), value))
        elif value is None:
            removed = True
        else:
            edits.append((member[1], member[2], value))
    if removed:
        edits += _removals(known, {name for name, value in new.items() if value is None})
    if added:
        end = text.rindex(b"}")
        edits.append((end, end, b"".join(added)))
    return edits


def _removals(known: Mapping[str, Member], gone: set[str]) -> list[Edit]:
    edits: list[Edit] = []
    places = list(known.items())
    last_kept = max(i for i, (name, _) in enumerate(places) if name not in gone)
    for index, (name, member) in enumerate(places[:last_kept]):
        if name in gone:
            edits.append((member[0], places[index + 1][1][0], b""))
    if last_kept + 1 < len(places):
        edits.append((places[last_kept][1][2], places[-1][1][2], b""))
    return edits


def _end(text: bytes, at: int, data: Any) -> int:  # noqa: ANN401 - JSON values
    """Returns where the value that starts at a place ends."""
    first = text[at]
    if first == _QUOTE:
        return _string_end(text, at, data)
    if first not in b"[{":
        scalar = _SCALAR.match(text, at)
        return at if scalar is None else scalar.end()
    if len(text) - at > _SHORT and (end := _written_end(text, at, data)) is not None:
        return end
    return _container_end(text, at)


def _written_end(text: bytes, at: int, data: Any) -> int | None:  # noqa: ANN401 - JSON values
    """Returns where a value ends that stands there in one of the usual forms."""
    try:
        for usual in (orjson.dumps, _dumps):
            written = usual(data)
            if text.startswith(written, at):
                return at + len(written)
    except (TypeError, RecursionError):
        # It is nested deeper than can be written, which is less than can be read.
        return None
    return None


def _dumps(data: Any) -> bytes:  # noqa: ANN401 - JSON values
    return json.dumps(data).encode()


def _string_end(text: bytes, at: int, data: Any = None) -> int:  # noqa: ANN401 - JSON values
    start = at
    for _ in range(_PATIENCE):
        at = text.index(b'"', at + 1)
        if text[at - 1] != _BACKSLASH:
            return at + 1
        before = at - 2
        while text[before] == _BACKSLASH:
            before -= 1
        if (at - before) % 2:
            return at + 1
    if (end := _written_end(text, start, data)) is not None:
        return end
    rest = _STRING_END.match(text, at + 1)
    return at + 1 if rest is None else rest.end()


def _container_end(text: bytes, at: int) -> int:
    depth = 0
    while (mark := _BRACKET.search(text, at)) is not None:
        at = mark.end()
        char = text[at - 1]
        if char == _QUOTE:
            at = _string_end(text, at - 1)
        elif char in b"[{":
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                break
    return at
