"""Function calls that a model of Google's has not signed, marked as such.

Its third generation refuses a conversation whose function calls lack the signature that came with
them. Answers are shown without signatures, and a candidate's demos never had one, so each such call
is marked as one that is not to be checked: of a message the first, as signatures are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from burnish_interceptor.dialects.body import written

# Google's word for a function call that no model of its own has signed.
UNSIGNED = "skip_thought_signature_validator"
_MARK = {"google": {"thought_signature": UNSIGNED}}


def needed(model: str) -> bool:
    """Tells whether a model refuses function calls without a signature."""
    return not model.removeprefix("models/").startswith(("gemini-1", "gemini-2"))


def lacking(message: Mapping[str, Any]) -> bool:
    """Tells whether a chat message has function calls, and the first has no signature."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not calls or not isinstance(calls[0], dict):
        return False
    return not calls[0].get("extra_content")


def marked(message: bytes) -> bytes:
    """Returns a chat message with its calls marked, in the form of the compatible API.

    Raises:
        BadRequest: It is nested too deeply.
    """
    data = orjson.loads(message)
    if not lacking(data):
        return message
    first, *others = data["tool_calls"]
    data["tool_calls"] = [{**first, "extra_content": _MARK}, *others]
    return written(data, "a message")
