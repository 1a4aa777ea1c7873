"""Demos from traces and from labelled rows, and pairs of text from them for the proposer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from burnish import templates
from burnish.api.types import v1 as types_v1
from burnish_controller.context import JobContext
from burnish_controller.learning import SentCall, SentMessage
from burnish_controller.ledger.calls import Call, CallState
from burnish_controller.store.rollouts import FinishedRollout
from burnish_controller.task_apps import AppExample

_MESSAGE_FIELDS = ("role", "content", "tool_calls")


def sent_call(rollout_id: str, call: Call) -> SentCall | None:
    """Returns what an app sent in one call; None when it was not a chat request."""
    if call.trace is None:
        return None
    try:
        body = json.loads(call.trace.app_request)
    except ValueError:
        return None
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        return None
    return SentCall(
        rollout_id=rollout_id,
        messages=tuple(
            SentMessage(str(message.get("role", "")), content_text(message.get("content")))
            for message in messages
        ),
    )


def content_text(content: object) -> str:
    """Returns the text of a message's content, parts joined."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text", "") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def answer_messages(call: Call) -> list[bytes] | None:
    """Returns the assistant's message of a call, with an answer to each tool call it made.

    None when the reply holds no message, such as a stream or an error.
    """
    message = reply_message(call)
    if message is None:
        return None
    kept = {key: message[key] for key in _MESSAGE_FIELDS if message.get(key) is not None}
    kept.setdefault("role", "assistant")
    if "content" not in kept:
        kept["content"] = None
    found = [_dump(kept)]
    for tool_call in kept.get("tool_calls", []):
        found.append(
            _dump({"role": "tool", "tool_call_id": tool_call.get("id", ""), "content": "ok"})
        )
    return found


def reply_message(call: Call) -> Mapping[str, Any] | None:
    """Returns the assistant's message of a finished call, put together when it was streamed."""
    if call.state is not CallState.DONE or call.reply is None or call.reply.status != 200:
        return None
    try:
        if "event-stream" in call.reply.content_type:
            return _streamed_message(call.reply.body)
        body = json.loads(call.reply.body)
    except ValueError:
        # Cut off, or no JSON at all: the app may have made something of it, a demo cannot.
        return None
    choices = body.get("choices") if isinstance(body, dict) else None
    message = choices[0].get("message") if choices else None
    return message if isinstance(message, dict) else None


def bootstrapped_demo(
    rollout: FinishedRollout, calls: Sequence[Call], stage_id: str
) -> types_v1.Demo | None:
    """Returns the demo of one stage that a passed rollout gives: its last call of the stage."""
    for call in reversed(calls):
        if call.trace is None or call.trace.stage_id != stage_id:
            continue
        messages = answer_messages(call)
        if messages is None or not call.trace.bindings:
            continue
        return types_v1.Demo(
            bindings=dict(call.trace.bindings),
            messages=messages,
            reward=rollout.fused,
            seed=rollout.result.cell.seed,
            source=types_v1.DEMO_SOURCE_BOOTSTRAPPED,
        )
    return None


def labelled_demo(example: AppExample, *, wildcards: Sequence[str]) -> types_v1.Demo | None:
    """Returns the demo of a labelled row, or None when it lacks a wildcard of the user pattern.

    Args:
        example: The row.
        wildcards: Names of the user pattern's wildcards. A row with one input fits a pattern with
            one wildcard, whatever their names.
    """
    bindings = {name: example.inputs[name] for name in wildcards if name in example.inputs}
    if not bindings and len(wildcards) == 1 and len(example.inputs) == 1:
        bindings = {wildcards[0]: next(iter(example.inputs.values()))}
    if not bindings:
        return None
    messages = [_dump(dict(message)) for message in example.answer_messages]
    if not messages:
        messages = [_dump({"role": "assistant", "content": example.output})]
    return types_v1.Demo(
        bindings=bindings,
        messages=messages,
        seed=example.seed,
        source=types_v1.DEMO_SOURCE_LABELLED,
    )


def example_text(example: AppExample) -> str:
    """Returns what comes in, as text."""
    values = list(example.inputs.values())
    if len(values) == 1:
        return values[0]
    return "\n".join(f"{name}: {value}" for name, value in example.inputs.items())


def bindings_text(bindings: Mapping[str, str]) -> str:
    """Returns what came in, as text, from the values bound on the wire."""
    if len(bindings) == 1:
        return next(iter(bindings.values()))
    return "\n".join(f"{name}: {value}" for name, value in sorted(bindings.items()))


def message_text(message: Mapping[str, Any]) -> str:
    """Returns an assistant's answer as text: its content, or its tool calls' arguments."""
    content = content_text(message.get("content"))
    if content:
        return content
    arguments = [
        str(tool_call.get("function", {}).get("arguments", ""))
        for tool_call in message.get("tool_calls") or []
    ]
    values = [_sole_value(text) for text in arguments]
    return "\n".join(value for value in values if value)


def user_wildcards(job: JobContext, stage_id: str) -> list[str]:
    """Returns the wildcards of a stage's user patterns, in order."""
    names: list[str] = []
    for stage in job.stages:
        if stage.template.stage_id != stage_id:
            continue
        for message in stage.template.messages:
            if message.role == "user":
                names += sorted(templates.parse(message.pattern).names)
    return names


def _sole_value(arguments: str) -> str:
    try:
        value = json.loads(arguments)
    except ValueError:
        return arguments
    if isinstance(value, dict) and len(value) == 1:
        return str(next(iter(value.values())))
    return arguments


def _streamed_message(body: bytes) -> Mapping[str, Any] | None:
    content: list[str] = []
    tool_calls: dict[int, dict[str, Any]] = {}
    for line in body.splitlines():
        if not line.startswith(b"data:") or line[5:].strip() in (b"", b"[DONE]"):
            continue
        for choice in json.loads(line[5:]).get("choices") or []:
            delta = choice.get("delta") or {}
            content.append(delta.get("content") or "")
            for part in delta.get("tool_calls") or []:
                _add_part(tool_calls.setdefault(part.get("index", 0), {}), part)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(content) or None}
    if tool_calls:
        message["tool_calls"] = [tool_calls[index] for index in sorted(tool_calls)]
    return message


def _add_part(tool_call: dict[str, Any], part: Mapping[str, Any]) -> None:
    tool_call.setdefault("id", part.get("id", ""))
    tool_call.setdefault("type", "function")
    function = tool_call.setdefault("function", {"name": "", "arguments": ""})
    for key in ("name", "arguments"):
        function[key] += (part.get("function") or {}).get(key) or ""


def _dump(message: object) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
