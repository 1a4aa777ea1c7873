"""Finds XML-like elements in free text in linear time, whatever is left open."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_OPENING: Final = re.compile(r"<([A-Za-z][\w.-]*)((?:\s+[\w-]+=\"[^\"<>]*\")*)\s*(/?)>")
_TAG: Final = re.compile(r"</?[A-Za-z][^<>]*>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """An element that holds no element of its own name; `start` and `end` enclose its body."""

    tag: str
    attributes: str
    body: str
    start: int
    end: int


def elements(text: str) -> Iterator[Element]:
    """Yields the outermost elements in order; tags that are never closed are passed over."""
    never_closed: set[str] = set()
    position = 0
    while (opening := _OPENING.search(text, position)) is not None:
        position = opening.end()
        tag = opening[1]
        if opening[3]:
            yield Element(tag=tag, attributes=opening[2], body="", start=position, end=position)
            continue
        if tag in never_closed:
            continue
        end = text.find(f"</{tag}>", position)
        if end < 0:
            never_closed.add(tag)
            continue
        if text.find(f"<{tag}>", position, end) >= 0 or text.find(f"<{tag} ", position, end) >= 0:
            continue
        yield Element(
            tag=tag, attributes=opening[2], body=text[position:end], start=position, end=end
        )
        position = end + len(tag) + 3


def without_tags(text: str) -> str:
    """Returns a text with its tags replaced by spaces and its white space made single."""
    return " ".join(_TAG.sub(" ", text).split())
