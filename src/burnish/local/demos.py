"""Finds worked examples in a prompt: pairs of chat messages, and pairs written into the text."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from burnish.local.query import FIELD_WORDS, HOLE, split_query

_OUT_WORDS: Final = (
    r"labels?|intent|category|class|answer|output|response|prediction|topic|tag|queue|sentiment|expected|"
    r"department|type|a|result|classification"
)
_WRITTEN_DEMO: Final = re.compile(
    rf"^[ \t>*#_-]*+(?:[\w']+[ \t]+){{0,2}}(?:{FIELD_WORDS})[*_ \t]*+:[*_ \t]*+([^\n]+)\n"
    rf"[ \t>*#_-]*+(?:[\w']+[ \t]+){{0,2}}(?:{_OUT_WORDS})[*_ \t]*+:[*_ \t]*+([^\n]+)$",
    re.IGNORECASE | re.MULTILINE,
)
_ARROW_DEMO: Final = re.compile(
    r"^[ \t>*-]{0,12}(?:\d{1,4}[.)][ \t]{1,4})?[\"\u201c]?"
    r"([^\s\"\u201c][^\n]{3,1000}?)[\"\u201d]?[ \t]{0,8}(?:=>|->|\u2192)[ \t]{0,8}([^\n]+)$",
    re.MULTILINE,
)
_JSON_DEMO: Final = re.compile(r"^[ \t>*-]{0,12}(\{.*\})[ \t]*,?$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One chat message as the reader sees it; `calls` are the argument texts of its tool calls."""

    role: str
    text: str
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """A worked example: the query, and the turn that answers it."""

    query: str
    answer: Turn


def take_demos(turns: Sequence[Turn]) -> tuple[list[Demo], list[str]]:
    """Returns the pairs of user and assistant turns, and the texts of all other turns to read."""
    demos: list[Demo] = []
    texts: list[str] = []
    for position, turn in enumerate(turns):
        after = turns[position + 1] if position + 1 < len(turns) else None
        if turn.role == "user" and after is not None and after.role == "assistant":
            demos.append(Demo(query=split_query(turn.text).query, answer=after))
        elif turn.role in ("system", "developer", "user"):
            texts.append(turn.text)
    return demos, texts


def written_demos(text: str) -> tuple[str, list[Demo]]:
    """Takes the written examples out of a text; returns the rest and the examples."""
    demos: list[Demo] = []

    def take(query: str, answer: str) -> str:
        query = query.strip().strip("\"'\u201c\u201d")
        demos.append(Demo(query=query, answer=Turn(role="assistant", text=answer.strip())))
        return ""

    def take_json(match: re.Match[str]) -> str:
        pair = json_object(match[1])
        texts = [value for value in pair.values() if isinstance(value, str)]
        return take(texts[0], texts[1]) if len(texts) == 2 and len(pair) == 2 else match[0]

    text = _WRITTEN_DEMO.sub(lambda match: take(match[1], match[2]), text)
    text = _ARROW_DEMO.sub(lambda match: take(match[1], match[2]), text)
    return _JSON_DEMO.sub(take_json, text), [demo for demo in demos if HOLE not in demo.query]


def json_object(text: str) -> dict[str, Any]:
    """Returns the object that a text is in JSON; empty when it is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def free_answer(turn: Turn) -> str:
    """Returns the label that a turn answers with when no label is known; "" when it is prose."""
    for text in (*turn.calls, turn.text):
        values = [value for value in json_object(text).values() if isinstance(value, str)]
        if values:
            return values[0]
    return turn.text.strip() if len(turn.text.split()) <= 8 else ""
