"""Reads meta-prompts: XML-tagged blocks of plain text or of one JSON object a line."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_BLOCK: Final = re.compile(
    r"^[ \t]*<([a-z][a-z_]*)>[ \t]*\n?(.*?)\n?[ \t]*</\1>", re.DOTALL | re.MULTILINE
)


def blocks(text: str) -> dict[str, str]:
    """Returns tag -> content of every block that begins a line; the first of a tag counts."""
    found: dict[str, str] = {}
    for match in _BLOCK.finditer(text):
        found.setdefault(match[1], match[2].strip("\n"))
    return found


def records(block: str) -> list[Mapping[str, Any]]:
    """Returns the JSON objects of a block, one a line; other lines are no records."""
    found: list[Mapping[str, Any]] = []
    for line in block.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def text_of(record: Mapping[str, Any], key: str) -> str:
    """Returns a field of a record as text: a JSON value that is no text is written as JSON."""
    value = record.get(key)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
