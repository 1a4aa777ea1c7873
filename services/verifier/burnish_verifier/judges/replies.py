"""The forms of a judge's replies: a JSON schema to ask by, and a strict reader.

A reply is one JSON object with exactly the keys that were asked for. Nothing is searched for in
prose and nothing is made up for what is missing: a reply in another form is no reply.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

_MAX_REASON: Final = 2000
Better = Literal["first", "second", "equal"]
BETTER: Final[tuple[Better, ...]] = ("first", "second", "equal")
StepKind = Literal["list", "read", "search", "answer"]
STEPS: Final[tuple[StepKind, ...]] = ("list", "read", "search", "answer")


class ReplyInvalid(ValueError):
    """A reply that is not in the form that was asked for. Its text holds nothing of the reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a judge says of one criterion.

    Attributes:
        score: In [0, 1]; None when a part of a trace says nothing about it.
        reason: Why.
    """

    score: float | None
    reason: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A place in the trace that a judge bases its scores on.

    Attributes:
        entry: Number of the entry.
        text: What it says there.
        shows: What that shows.
    """

    entry: int
    text: str = field(repr=False)
    shows: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a reading judge wants to do next.

    Attributes:
        kind: What.
        entry: Number of an entry, from 0.
        start: Character to read from.
        text: What to search for.
    """

    kind: StepKind
    entry: int = 0
    start: int = 0
    text: str = ""


Schema = Mapping[str, Any]
Verdicts = Mapping[str, Verdict]


def review_schema(ids: Sequence[str], *, may_pass: bool = False, quotes: bool = False) -> Schema:
    """Returns the schema of a review.

    Args:
        ids: The criteria.
        may_pass: Whether a score may be null.
        quotes: Whether the places that it rests on are asked for.
    """
    fields = {"criteria": _object({name: _scored(may_pass=may_pass) for name in ids})}
    if quotes:
        quote = {"entry": {"type": "integer"}, "text": _TEXT, "shows": _TEXT}
        fields["evidence"] = {"type": "array", "items": _object(quote)}
    return _object(fields)


def events_schema(ids: Sequence[str], numbers: Sequence[int]) -> Schema:
    """Returns the schema of the reviews of events."""
    one = _object({name: _scored(may_pass=False) for name in ids})
    return _object({"events": _object({str(number): one for number in numbers})})


def comparison_schema(ids: Sequence[str]) -> Schema:
    """Returns the schema of a comparison."""
    one = _object({"reason": _TEXT, "better": {"type": "string", "enum": list(BETTER)}})
    return _object({"criteria": _object(dict.fromkeys(ids, one))})


def step_schema() -> Schema:
    """Returns the schema of a step."""
    whole = {"type": "integer", "minimum": 0}
    kinds = {"type": "string", "enum": list(STEPS)}
    return _object({"step": kinds, "entry": whole, "start": whole, "text": _TEXT})


def unbounded(schema: Schema) -> Schema:
    """Returns a schema without the bounds of its numbers, which some providers do not take."""
    if schema.get("type") == "object":
        fields = {name: unbounded(field) for name, field in schema["properties"].items()}
        return {**schema, "properties": fields}
    if schema.get("type") == "array":
        return {**schema, "items": unbounded(schema["items"])}
    return {key: value for key, value in schema.items() if key not in ("minimum", "maximum")}


def read_review(text: str, ids: Sequence[str], *, may_pass: bool = False) -> Verdicts:
    """Reads a review.

    Raises:
        ReplyInvalid: It is none, or not of these criteria.
    """
    return _verdicts(_exact(_loaded(text), ("criteria",))["criteria"], ids, may_pass=may_pass)


def read_review_with_quotes(text: str, ids: Sequence[str]) -> tuple[Verdicts, tuple[Quote, ...]]:
    """Reads a review and the places that it rests on.

    Raises:
        ReplyInvalid: It is none, or not of these criteria.
    """
    value = _exact(_loaded(text), ("criteria", "evidence"))
    found = value["evidence"]
    if not isinstance(found, list):
        raise ReplyInvalid("`evidence` is no list")
    return _verdicts(value["criteria"], ids), tuple(map(_quote, found))


def read_events(text: str, ids: Sequence[str], numbers: Sequence[int]) -> Mapping[int, Verdicts]:
    """Reads the reviews of events.

    Raises:
        ReplyInvalid: It is none, or not of these events and criteria.
    """
    events = _exact(_exact(_loaded(text), ("events",))["events"], [str(n) for n in numbers])
    return {number: _verdicts(events[str(number)], ids) for number in numbers}


def read_comparison(text: str, ids: Sequence[str]) -> Mapping[str, tuple[Better, str]]:
    """Reads which of two is better, and why, by criterion.

    Raises:
        ReplyInvalid: It is none, or not of these criteria.
    """
    criteria = _exact(_exact(_loaded(text), ("criteria",))["criteria"], ids)
    found: dict[str, tuple[Better, str]] = {}
    for name in ids:
        one = _exact(criteria[name], ("better", "reason"))
        better = next((known for known in BETTER if one["better"] == known), None)
        if better is None:
            raise ReplyInvalid("`better` is none of first, second, equal")
        found[name] = (better, _text(one["reason"], "reason"))
    return found


def read_step(text: str) -> Step:
    """Reads a step.

    Raises:
        ReplyInvalid: It is none.
    """
    value = _exact(_loaded(text), ("step", "entry", "start", "text"))
    kind = next((known for known in STEPS if value["step"] == known), None)
    if kind is None:
        raise ReplyInvalid("`step` is none of list, read, search, answer")
    return Step(
        kind=kind,
        entry=_whole(value["entry"], "entry"),
        start=_whole(value["start"], "start"),
        text=_text(value["text"], "text"),
    )


_TEXT: Final[Mapping[str, Any]] = {"type": "string"}


def _scored(*, may_pass: bool) -> dict[str, Any]:
    kind = ["number", "null"] if may_pass else "number"
    # The reason comes first, so that the score is written after it.
    return _object({"reason": _TEXT, "score": {"type": kind, "minimum": 0, "maximum": 1}})


def _object(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(fields),
        "required": list(fields),
        "additionalProperties": False,
    }


def _loaded(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except ReplyInvalid:
        raise
    except (ValueError, RecursionError):
        raise ReplyInvalid("it is not one JSON object") from None


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ReplyInvalid("it has a key twice")
    return dict(pairs)


def _refuse(name: str) -> float:
    raise ReplyInvalid(f"{name} is no number of JSON")


def _exact(value: object, keys: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ReplyInvalid("an object is missing")
    missing = len(set(keys) - set(value))
    strangers = len(set(value) - set(keys))
    if missing or strangers:
        raise ReplyInvalid(f"{missing} of its keys are missing, and {strangers} were not asked for")
    return value


def _verdicts(value: object, ids: Sequence[str], *, may_pass: bool = False) -> Verdicts:
    criteria = _exact(value, ids)
    found = {}
    for name in ids:
        one = _exact(criteria[name], ("reason", "score"))
        score = one["score"]
        passes = may_pass and score is None
        found[name] = Verdict(
            score=None if passes else _score(score), reason=_text(one["reason"], "reason")
        )
    return found


def _score(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ReplyInvalid("a score is no number from 0 to 1")
    return float(value)


def _quote(value: object) -> Quote:
    one = _exact(value, ("entry", "text", "shows"))
    return Quote(
        entry=_whole(one["entry"], "entry"),
        text=_text(one["text"], "text"),
        shows=_text(one["shows"], "shows"),
    )


def _whole(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ReplyInvalid(f"`{name}` is no whole number from 0")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ReplyInvalid(f"`{name}` is no text")
    return value[:_MAX_REASON]
