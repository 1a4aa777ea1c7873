"""JSON as task apps speak it: strict parsing, and values read from where a generation put them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from burnish.errors import InvalidArgument


class BodyInvalid(InvalidArgument):
    """A body that is not the JSON object it should be. Do not retry."""

    default_reason = "BODY_INVALID"


def parse_object(data: bytes | str, *, what: str) -> dict[str, Any]:
    """Parses a JSON object.

    Args:
        data: The text.
        what: Name of the body, for the error.

    Raises:
        BodyInvalid: It is not JSON, not an object, nested too deep, or holds a NaN or an infinity.
    """
    value = parse_value(data, what=what)
    if not isinstance(value, dict):
        raise BodyInvalid(f"{what} is a JSON {type(value).__name__}; send an object")
    return value


def parse_value(data: bytes | str, *, what: str) -> object:
    """Parses any JSON value.

    Raises:
        BodyInvalid: It is not JSON, nested too deep, or holds a NaN or an infinity.
    """
    try:
        return json.loads(data, parse_constant=_refuse)
    except RecursionError:
        raise BodyInvalid(f"{what} is nested too deep; flatten it") from None
    except ValueError as error:
        kind = str(error) if isinstance(error, _NotFinite) else "a syntax error"
        raise BodyInvalid(f"{what} is not JSON ({kind}); send RFC 8259 JSON") from None


def section(body: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Returns the object at a path, or an empty one when there is none."""
    value: Any = body
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def first_text(*values: object) -> str:
    """Returns the first value that is text with something in it, or the empty text."""
    return next((value for value in values if isinstance(value, str) and value), "")


def first_int(*values: object) -> int | None:
    """Returns the first value that is a whole number."""
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
    return None


def first_number(*values: object) -> float | None:
    """Returns the first value that is a number."""
    for value in values:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


class _NotFinite(ValueError):
    pass


def _refuse(name: str) -> float:
    raise _NotFinite(f"it holds {name}")
