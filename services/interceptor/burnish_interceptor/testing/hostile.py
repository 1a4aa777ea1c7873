"""Providers that repeat what they were sent, in one place after another."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

Json = Any
# Members that hold what the model said itself: nobody can tell that from a leak.
SAID = frozenset(
    {
        "args",
        "arguments",
        "bytes",
        "code",
        "content",
        "data",
        "delta",
        "embedding",
        "filename",
        "input",
        "name",
        "refusal",
        "result",
        "text",
        "title",
        "token",
        "tokens",
        "transcript",
        "url",
    }
)

# Of those, what is an object or a list of the model's own words all through.
_ALL_SAID = frozenset({"args", "queries", "tokens"})


def poisoned(reply: Json, secret: str) -> Iterator[tuple[str, Json]]:
    """Yields an answer with a secret put in one place after another.

    Args:
        reply: The answer, as JSON values.
        secret: What no app may see.

    Yields:
        Where the secret is, and the answer with it: in place of each value that is not the model's
        own words, as an unknown member of each object, and as a further item of each list.
    """
    for path, value in _places(reply, ()):
        where = "/".join(map(str, path))
        if isinstance(value, dict):
            changed = copy.deepcopy(reply)
            target = _at(changed, path)
            target["x_debug"] = secret
            target["prompt"] = [{"role": "system", "content": secret}]
            target["instructions"] = secret
            target["reasoning_content"] = secret
            yield f"{where} unknown members", changed
        if isinstance(value, list):
            changed = copy.deepcopy(reply)
            _at(changed, path).append({"type": "echo", "x_debug": secret})
            _at(changed, path).append(secret)
            yield f"{where} items", changed
        if path and path[-1] not in SAID:
            for put in (secret, {"x_debug": secret}, [secret]):
                changed = copy.deepcopy(reply)
                _at(changed, path[:-1])[path[-1]] = put
                yield f"{where} as {type(put).__name__}", changed


def stream(events: Sequence[Json], *, named: bool = False, done: bool = True) -> bytes:
    """Returns events as a provider would send them.

    Args:
        events: Each as JSON values.
        named: Whether each has its `type` as a name.
        done: Whether the stream says that it is over.
    """
    lines = []
    for event in events:
        name = f"event: {event.get('type')}\n" if named and isinstance(event, dict) else ""
        lines.append(f"{name}data: {json.dumps(event)}\n\n")
    return "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()


def _places(value: Json, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[Any, ...], Json]]:
    yield path, value
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _ALL_SAID:
                continue
            yield from _places(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _places(inner, (*path, index))


def _at(value: Json, path: Sequence[str | int]) -> Json:
    for step in path:
        value = value[step]
    return value
