"""Finds label lists in data notations: JSON and Python literals, and XML-like tags."""

import json
import re
from collections.abc import Iterator
from typing import Final

from burnish.local.label_names import (
    BULLET,
    HEADING,
    NOT_LABELS,
    LabelList,
    make_list,
    split_inline,
    split_item,
)
from burnish.local.markup import Element, elements, without_tags

_ARRAY: Final = re.compile(r"\[[^\[\]{}]{3,}\]")
_OBJECT: Final = re.compile(r"\{[^{}]{3,}\}")
_STRING: Final = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'", re.DOTALL)
_STRINGS_IN_LIST: Final = re.compile(r"\[s(?:,s)*,?\]")
_STRINGS_IN_OBJECT: Final = re.compile(r"\{s:s(?:,s:s)*,?\}")
_ATTRIBUTE: Final = re.compile(r"\b(?:name|id|label|value|key|code)=\"([^\"]+)\"", re.IGNORECASE)
_NAME_TAGS: Final = frozenset({"name", "id", "label", "value", "code", "title"})
_ITEM_TAGS: Final = frozenset({"item", "entry", "li"})


def json_lists(text: str) -> Iterator[LabelList]:
    """Yields the lists of strings, and the objects of string to string, as JSON or Python."""
    for match in _ARRAY.finditer(text):
        strings = _strings(match[0], _STRINGS_IN_LIST)
        titled = HEADING.search(text[max(0, match.start() - 80) : match.start()])
        pairs = [(each.strip(), "") for each in strings]
        yield from make_list(pairs, kind="json", bonus=3.5 if titled else 2.0, floor=2.0)
    for match in _OBJECT.finditer(text):
        strings = _strings(match[0], _STRINGS_IN_OBJECT)
        pairs = [
            (key.strip(), note)
            for key, note in zip(strings[::2], strings[1::2], strict=True)
            if key.lower() not in NOT_LABELS
        ]
        yield from make_list(pairs, kind="json", bonus=2.0, floor=2.0)


def _strings(literal: str, wanted: re.Pattern[str]) -> list[str]:
    """Returns the strings of a literal; none when anything else is in it."""
    shape = re.sub(r"\s+", "", _STRING.sub("s", literal))
    if wanted.fullmatch(shape) is None:
        return []
    found: list[str] = []
    for match in _STRING.finditer(literal):
        inner = match[1] if match[1] is not None else match[2]
        try:
            found.append(json.loads(f'"{inner}"', strict=False))
        except ValueError:
            found.append(re.sub(r"\\(.)", r"\1", inner))
    return found


def xml_lists(text: str) -> Iterator[LabelList]:
    """Yields the lists written as elements of one name, or within one element."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for each in elements(text):
        if _is_heading(each.tag) and "<" in each.body:
            groups.setdefault(f"in {each.tag}", []).extend(_children(each.body))
        elif _is_heading(each.tag) and each.tag.endswith("s"):
            yield from _container(each.body)
        else:
            groups.setdefault(each.tag, []).append(_element(each))
    for tag, pairs in groups.items():
        titled = HEADING.search(tag.replace("_", " ")) is not None
        yield from make_list(pairs, kind="xml", bonus=3.5 if titled else 0.5, floor=2.5)


def _is_heading(tag: str) -> bool:
    return HEADING.fullmatch(tag.replace("_", " ").split(" ")[-1]) is not None


def _container(body: str) -> Iterator[LabelList]:
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    if len(lines) == 1:
        pairs = [(item, "") for item in split_inline(lines[0])]
    else:
        items = (BULLET.match(line) for line in lines)
        pairs = [
            split_item(line if item is None else item[1])
            for line, item in zip(lines, items, strict=True)
        ]
    yield from make_list(pairs, kind="xml", bonus=4.0, floor=2.5)


def _children(body: str) -> Iterator[tuple[str, str]]:
    for each in elements(body):
        if _is_heading(each.tag) or _ATTRIBUTE.search(each.attributes):
            yield _element(each)
        elif each.tag.lower() in _ITEM_TAGS:
            yield split_item(each.body)
        else:
            yield each.tag, without_tags(each.body)


def _element(element: Element) -> tuple[str, str]:
    named = _ATTRIBUTE.search(element.attributes)
    if named is not None:
        return named[1].strip(), without_tags(element.body)
    for each in elements(element.body):
        if each.tag.lower() in _NAME_TAGS:
            rest = element.body[: each.start] + element.body[each.end :]
            return each.body.strip(), without_tags(rest)
    return split_item(element.body)
