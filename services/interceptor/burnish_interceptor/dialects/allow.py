"""Rules that rebuild JSON from what is allowed: what no rule names is left out.

A provider may repeat the prompt anywhere: in an echo field, an id, an error, a header. So nothing
is passed on because it was not thought of.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

Json = Any
Rule = Callable[[Json], Json]
ID = re.compile(r"[A-Za-z0-9_.:\-]{1,128}")
# Copied for each id, which takes less than to set up another.
_DIGEST = hashlib.blake2b(digest_size=12)
_CALL_ID = re.compile(r"[A-Za-z0-9_.:\-]{1,64}")


class NotAnAnswer(Exception):
    """A successful reply that is no answer of its API."""


def parsed(body: bytes) -> dict[str, Json]:
    """Returns a JSON object.

    Raises:
        NotAnAnswer: The body is none.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise NotAnAnswer from None
    if not isinstance(data, dict):
        raise NotAnAnswer
    return data


def dumped(value: Json) -> bytes:
    """Returns as JSON what was made of a provider's, and may hold more than an app is shown.

    Raises:
        NotAnAnswer: It is nested deeper than can be written, which is less than can be read.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        raise NotAnAnswer from None


def fields(
    rules: Mapping[str, Rule],
    *,
    nullable: frozenset[str] = frozenset(),
    required: frozenset[str] = frozenset(),
) -> Rule:
    """Returns the rule for an object: each member by its own rule, all others left out.

    Args:
        rules: By name.
        nullable: Names that may be null; elsewhere null is left out.
        required: Names without which the object is left out.
    """

    def rebuild(value: Json) -> Json:
        if not isinstance(value, dict):
            return None
        found: dict[str, Json] = {}
        for name, rule in rules.items():
            if name not in value:
                continue
            if value[name] is None:
                if name in nullable:
                    found[name] = None
                continue
            rebuilt = rule(value[name])
            if rebuilt is not None:
                found[name] = rebuilt
        return found if required <= found.keys() else None

    return rebuild


def list_of(rule: Rule) -> Rule:
    """Returns the rule for a list whose items follow one rule; others are left out."""

    def rebuild(value: Json) -> Json:
        if not isinstance(value, list):
            return None
        return [item for item in map(rule, value) if item is not None]

    return rebuild


def integer(value: Json) -> int | None:
    """Allows an integer."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: Json) -> float | None:
    """Allows a number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def text(value: Json) -> str | None:
    """Allows any text: for what the model wrote itself."""
    return value if isinstance(value, str) else None


def matching(pattern: re.Pattern[str]) -> Rule:
    """Allows a string of a form."""
    return lambda value: value if isinstance(value, str) and pattern.fullmatch(value) else None


FINGERPRINT = matching(re.compile(r"[A-Za-z0-9_.:\-]{1,64}"))


def one_of(*values: str) -> Rule:
    """Allows one of a few strings."""
    known = frozenset(values)
    return lambda value: value if isinstance(value, str) and value in known else None


def by_type(kinds: Mapping[str, Rule]) -> Rule:
    """Returns the rule for objects that say in `type` what they are; others are left out."""

    def rebuild(value: Json) -> Json:
        kind = value.get("type") if isinstance(value, dict) else None
        rule = kinds.get(kind) if isinstance(kind, str) else None
        return {"type": kind, **rebuilt} if rule and (rebuilt := rule(value)) is not None else None

    return rebuild


def call_id(value: Json) -> Json:
    """Allows the id of a tool call, or puts one of ours in its place, the same for the same."""
    if not isinstance(value, str):
        return None
    return value if _CALL_ID.fullmatch(value) else hashed("call_", value)


def hashed(prefix: str, value: Json) -> str:
    """Returns an id of ours in place of a provider's, the same for the same."""
    try:
        told = str(value)
    except RecursionError:
        told = ""  # Lists within lists beyond reason: no two of them are told apart.
    digest = _DIGEST.copy()
    digest.update(told.encode("utf-8", "replace"))
    return prefix + digest.hexdigest()
