"""Reads a model's answer: JSON as asked, or whatever it made of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_THINKING = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```[ \t]*([\w+-]*)[ \t]*\r?\n(.*?)```", re.DOTALL)
_TAGGED = re.compile(r"<instruction>(.*?)</instruction>", re.DOTALL | re.IGNORECASE)
_LABEL = re.compile(
    r"\A\s*\**(?:(?:new|proposed|improved|final|revised)\s+)?instruction\**\s*:\**\s+",
    re.IGNORECASE,
)
_KEYS = ("instruction", "proposed_instruction", "new_instruction", "prompt")
_WRAPPERS = ("arguments", "args", "parameters", "input", "result", "output", "response")
_MAX_OBJECTS = 64
_MAX_DEPTH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What an answer says.

    Attributes:
        instruction: The text, never empty.
        rationale: Why it differs; may be empty.
    """

    instruction: str
    rationale: str = ""


class Unparsable(ValueError):
    """Nothing in the answer can be used."""


class EmptyAnswer(ValueError):
    """The answer, or the instruction in it, is empty."""


def parse_instruction(text: str) -> Parsed:
    """Reads an instruction.

    Taken, in this order: a JSON object as the whole answer, in a fence, in the arguments of a tool
    call or inside prose; an `<instruction>` tag; a fenced text; plain text.

    Raises:
        EmptyAnswer: There is nothing in it.
        Unparsable: It is JSON without an instruction, or JSON that was cut off.
    """
    answer = _THINKING.sub("", text).strip()
    if not answer:
        raise EmptyAnswer("the answer is empty")
    seen_json = False
    for value in _json_values(answer):
        seen_json = True
        found = _find(value, _KEYS)
        if found is None:
            continue
        instruction = _said(found[0])
        if not instruction:
            raise EmptyAnswer("the instruction in the answer is empty")
        return Parsed(instruction=instruction, rationale=_rationale(found[1]))
    if seen_json or answer[0] in "{[":
        raise Unparsable("the answer is JSON that was cut off or holds no `instruction`")
    return _plain(answer)


def parse_summary(text: str) -> tuple[str, bool]:
    """Reads a summary, and whether the model says that it is complete.

    Raises:
        EmptyAnswer: There is nothing in it.
        Unparsable: It is JSON without a summary, or JSON that was cut off.
    """
    answer = _THINKING.sub("", text).strip()
    if not answer:
        raise EmptyAnswer("the answer is empty")
    for value in _json_values(answer):
        found = _find(value, ("summary",))
        if found is not None and _said(found[0]):
            return _said(found[0]), found[1].get("complete") is True
    if answer[0] in "{[":
        raise Unparsable("the answer is JSON that was cut off or holds no `summary`")
    return answer, False


def _json_values(text: str) -> Iterator[Any]:
    for candidate in (text, *(body.strip() for _, body in _FENCE.findall(text))):
        try:
            yield _load(candidate)
        except ValueError:
            continue
    decoder = json.JSONDecoder(strict=False)
    start, tried = text.find("{"), 0
    while start >= 0 and tried < _MAX_OBJECTS:
        tried += 1
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        if isinstance(value, dict) and _find(value, (*_KEYS, "summary")) is not None:
            yield value
        start = text.find("{", end)


def _load(text: str) -> Any:  # noqa: ANN401
    if not text.startswith(("{", "[")):
        raise ValueError("not a JSON object")
    try:
        # Models put line breaks into strings as they are.
        return json.loads(text, strict=False)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _find(
    value: object, keys: tuple[str, ...], depth: int = 0
) -> tuple[object, Mapping[str, Any]] | None:
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = _load(value.strip())
        except ValueError:
            return None
    if isinstance(value, list):
        inner: tuple[object, ...] = tuple(value[:_MAX_OBJECTS])
    elif isinstance(value, dict):
        for key in keys:
            if isinstance(value.get(key), str | list):
                return value[key], value
        inner = tuple(value[key] for key in (*_WRAPPERS, "function", "tool_calls") if key in value)
    else:
        return None
    return next((f for f in (_find(v, keys, depth + 1) for v in inner) if f is not None), None)


def _said(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(str(line) for line in value).strip()
    return str(value).strip()


def _rationale(answer: Mapping[str, Any]) -> str:
    found = next((answer[k] for k in ("rationale", "reason", "reasoning") if k in answer), "")
    return found.strip() if isinstance(found, str) else ""


def _plain(answer: str) -> Parsed:
    tagged = _TAGGED.search(answer)
    fences = [body for kind, body in _FENCE.findall(answer) if kind.lower() in _PROSE]
    if tagged is not None:
        instruction = tagged.group(1)
    elif fences:
        instruction = max(fences, key=len)
    else:
        instruction = _LABEL.sub("", answer)
    instruction = instruction.strip()
    if not instruction:
        raise EmptyAnswer("the instruction in the answer is empty")
    return Parsed(instruction=instruction)


_PROSE = frozenset({"", "text", "txt", "markdown", "md", "plaintext"})
