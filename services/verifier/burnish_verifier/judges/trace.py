"""Reads what is to be judged: the output, what was wanted, and the trace as a list of entries.

A trace is trace format 3, whole or compact, or any JSON that shows what was done. It becomes one
entry per message, in order. A program that talks in turns sends its whole history with every call:
messages that the call before had too are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from burnish.errors import FailedPrecondition
from burnish.json_depth import deeper_than
from burnish_verifier.judges.material import Cleaner, as_text, tokens

_MAX_DEPTH: Final = 64
_LINE_TOKENS: Final = 16


class MaterialInvalid(FailedPrecondition):
    """A rollout that no judge can read. The same rollout will never be scored."""

    default_reason = "JUDGE_MATERIAL_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message of a trace, or what stands for one.

    Attributes:
        event: Event that it belongs to, from 0.
        role: Who says it.
        text: What is said.
    """

    event: int
    role: str
    text: str = field(repr=False)

    @property
    def size(self) -> int:
        """Tokens that it takes to show it."""
        return tokens(self.text) + _LINE_TOKENS


@dataclass(frozen=True, kw_only=True)
class Material:
    """What is judged.

    Attributes:
        output: The app's output, as a JSON value.
        reference: What was wanted, as a JSON value.
        has_output: Whether there is an output.
        has_reference: Whether there is a reference.
        entries: The trace; empty when there is none.
        event_count: Events of the trace.
        hidden: Characters that were taken out because nobody sees them.
    """

    output: Any = field(default=None, repr=False)
    reference: Any = field(default=None, repr=False)
    has_output: bool = False
    has_reference: bool = False
    entries: tuple[Entry, ...] = ()
    event_count: int = 0
    hidden: int = 0

    @cached_property
    def size(self) -> int:
        """Tokens of output and trace."""
        output = tokens(as_text(self.output)) if self.has_output else 0
        return output + sum(entry.size for entry in self.entries)

    def events(self) -> list[tuple[Entry, ...]]:
        """Returns the entries of each event, in order."""
        found: list[list[Entry]] = [[] for _ in range(self.event_count)]
        for entry in self.entries:
            found[entry.event].append(entry)
        return [tuple(entries) for entries in found]


def read_material(
    *, output: bytes = b"", reference: bytes = b"", session_trace: bytes | str = b""
) -> Material:
    """Reads a rollout.

    Args:
        output: JSON text; empty when there is none.
        reference: JSON text; empty when there is none.
        session_trace: JSON text; empty when there is none.

    Raises:
        MaterialInvalid: One of them is no JSON, or there is nothing to judge.
    """
    cleaner = Cleaner()
    shown = cleaner.value(_parsed(output, what="output"))
    wanted = Cleaner().value(_parsed(reference, what="reference"))
    trace = _parsed(session_trace, what="trace")
    entries, events = _entries(trace, cleaner) if session_trace else ((), 0)
    if not output and not entries:
        raise MaterialInvalid(
            "the rollout has neither an output nor a trace; let the task app return an output",
            reason="OUTPUT_MISSING",
        )
    return Material(
        output=shown,
        reference=wanted,
        has_output=bool(output),
        has_reference=bool(reference),
        entries=entries,
        event_count=events,
        hidden=cleaner.hidden,
    )


def count_events(session_trace: str) -> int:
    """Returns how many events a trace has.

    Raises:
        MaterialInvalid: It is no JSON.
    """
    return _entries(_parsed(session_trace, what="trace"), Cleaner())[1]


def _entries(trace: object, cleaner: Cleaner) -> tuple[tuple[Entry, ...], int]:
    value = trace
    if isinstance(value, dict) and isinstance(value.get("session_trace"), dict):
        value = value["session_trace"]
    events = _events(value)
    found: list[Entry] = []
    before: list[object] = []
    for index, event in enumerate(events):
        said = _messages(event)
        fresh = said[_shared(before, said) :]
        before = said
        found += [
            Entry(event=index, role=cleaner.text(role), text=cleaner.text(text))
            for role, text in map(_line, fresh)
            if text
        ]
    return tuple(found), len(events)


def _events(value: object) -> list[object]:
    if isinstance(value, list):
        return list(value)
    if not isinstance(value, dict):
        return [value]
    history = value.get("event_history")
    if isinstance(history, list) and history:
        return list(history)
    blanket = value.get("markov_blanket_message_history")
    if isinstance(blanket, list) and blanket:
        return list(blanket)
    if isinstance(value.get("messages"), list):
        return [value]
    return [] if "event_history" in value else [value]


def _messages(event: object) -> list[object]:
    """Returns the messages that an event shows; an event of another kind is its own message."""
    if not isinstance(event, dict):
        return [event]
    request, response = event.get("llm_request"), event.get("llm_response")
    if isinstance(request, dict) or isinstance(response, dict):
        asked = request.get("messages") if isinstance(request, dict) else None
        reply = response.get("message") if isinstance(response, dict) else None
        error = response.get("error") if isinstance(response, dict) else None
        said = list(asked) if isinstance(asked, list) else []
        return said + [one for one in (reply, error) if one]
    records = event.get("call_records")
    if isinstance(records, list) and records:
        return [message for record in records for message in _recorded(record)]
    if isinstance(event.get("messages"), list):
        return list(event["messages"])
    return [event]


def _recorded(record: object) -> list[object]:
    if not isinstance(record, dict):
        return [record]
    parts = [record.get(key) for key in ("input_messages", "output_messages")]
    said = [message for part in parts if isinstance(part, list) for message in part]
    if not isinstance(record.get("output_messages"), list) and record.get("output_text"):
        said.append({"role": "assistant", "content": record["output_text"]})
    if record.get("error"):
        said.append({"role": "error", "content": record["error"]})
    return said


def _shared(before: Sequence[object], now: Sequence[object]) -> int:
    count = 0
    for one, other in zip(before, now, strict=False):
        if one != other:
            break
        count += 1
    return count


def _line(message: object) -> tuple[str, str]:
    if not isinstance(message, Mapping):
        return "event", as_text(message)
    if "role" not in message:
        content = message.get("content")
        if isinstance(content, Mapping) and isinstance(content.get("text"), str):
            return str(message.get("message_type", "event")), content["text"]
        return str(message.get("event_type") or message.get("type") or "event"), as_text(message)
    parts = [_content(message.get("content"))]
    parts += [as_text({"tool_calls": message["tool_calls"]})] if message.get("tool_calls") else []
    return str(message["role"]), "\n".join(part for part in parts if part)


def _content(content: object) -> str:
    if content is None:
        return ""
    if isinstance(content, list):
        return "\n".join(
            part["text"]
            if isinstance(part, dict) and isinstance(part.get("text"), str)
            else as_text(part)
            for part in content
        )
    return as_text(content)


def _parsed(data: bytes | str, *, what: str) -> Any:  # noqa: ANN401
    if not data:
        return None
    try:
        value = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise MaterialInvalid(
            f"the {what} is no JSON; give RFC 8259 JSON", metadata={"what": what}
        ) from None
    if deeper_than(value, _MAX_DEPTH):
        raise MaterialInvalid(
            f"the {what} is nested deeper than {_MAX_DEPTH}; flatten it", metadata={"what": what}
        )
    return value


def _refuse(name: str) -> float:
    raise ValueError(name)
