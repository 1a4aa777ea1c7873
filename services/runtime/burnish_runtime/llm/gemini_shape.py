"""The shape of Google's `generateContent`, as the `google-genai` package takes it: pure functions.

Google counts thoughts beside the answer's tokens, gives a call of a tool no id, and a mark that has
to come back with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from burnish_runtime.llm.base import (
    ChatMessage,
    Completion,
    CompletionRequest,
    TokenUsage,
    ToolCall,
)
from burnish_runtime.llm.failures import malformed_error
from burnish_runtime.llm.reading import count, counts, parsed, text_or_arguments, usage_of

_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def request_fields(request: CompletionRequest) -> dict[str, Any]:
    """Returns `contents` and `config` of a request."""
    system = "\n\n".join(m.content for m in request.messages if m.role == "system")
    config: dict[str, Any] = {"max_output_tokens": request.max_output_tokens}
    if system:
        config["system_instruction"] = system
    if request.temperature is not None:
        config["temperature"] = request.temperature
    if request.seed is not None:
        config["seed"] = request.seed
    if request.json_schema is not None or request.json_mode:
        config["response_mime_type"] = "application/json"
    if request.json_schema is not None:
        config["response_json_schema"] = dict(request.json_schema.schema)
    if request.tools:
        declared = [
            {
                "name": tool.name,
                "description": tool.description,
                "parameters_json_schema": dict(tool.parameters)
                or {"type": "object", "properties": {}},
            }
            for tool in request.tools
        ]
        config["tools"] = [{"function_declarations": declared}]
        config["tool_config"] = {"function_calling_config": _choice(request.tool_choice)}
    return {"contents": _contents(request.messages), "config": config}


def read_reply(provider: str, body: bytes) -> Completion:
    """Reads a reply of `generateContent`.

    Raises:
        ProviderError: It is none.
    """
    reply = parsed(provider, body)
    candidates = reply.get("candidates")
    first = candidates[0] if isinstance(candidates, list) and candidates else {}
    if not isinstance(first, dict) or not (first or reply.get("promptFeedback")):
        raise malformed_error(provider, "no candidates")
    content = first.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    said = [
        part
        for part in (parts if isinstance(parts, list) else [])
        if isinstance(part, dict) and not part.get("thought")
    ]
    calls = tuple(
        _call(part, index)
        for index, part in enumerate(p for p in said if isinstance(p.get("functionCall"), dict))
    )
    text = "".join(str(part.get("text") or "") for part in said)
    return Completion(
        text=text_or_arguments(text, calls),
        body=body,
        usage=_usage(reply.get("usageMetadata")),
        finish_reason=str(first.get("finishReason") or "").lower(),
        tool_calls=calls,
    )


def _choice(choice: str) -> dict[str, Any]:
    if choice in _MODES:
        return {"mode": _MODES[choice]}
    return {"mode": "ANY", "allowed_function_names": [choice]}


def _contents(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    names = {call.call_id: call.name for message in messages for call in message.tool_calls}
    contents: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "model" if message.role == "assistant" else "user"
        parts = _parts(message, names)
        if message.role == "tool" and contents and "function_response" in contents[-1]["parts"][0]:
            # What several tools answered to one message has to be one message.
            contents[-1]["parts"].extend(parts)
        else:
            contents.append({"role": role, "parts": parts})
    return contents


def _parts(message: ChatMessage, names: Mapping[str, str]) -> list[dict[str, Any]]:
    if message.role == "tool":
        name = names.get(message.tool_call_id, message.tool_call_id)
        return [{"function_response": {"name": name, "response": _object(message.content)}}]
    parts: list[dict[str, Any]] = []
    if message.content or not message.tool_calls:
        parts.append({"text": message.content})
    for call in message.tool_calls:
        part: dict[str, Any] = {
            "function_call": {"name": call.name, "args": _object(call.arguments)}
        }
        if call.signature:
            part["thought_signature"] = call.signature
        parts.append(part)
    return parts


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    return value if isinstance(value, dict) else {"result": value}


def _call(part: Mapping[str, Any], index: int) -> ToolCall:
    asked = part["functionCall"]
    return ToolCall(
        call_id=str(asked.get("id") or f"call_{index}"),
        name=str(asked.get("name") or ""),
        arguments=json.dumps(asked.get("args") or {}, ensure_ascii=False),
        signature=str(part.get("thoughtSignature") or ""),
    )


def _usage(usage: object) -> TokenUsage | None:
    thoughts = counts(usage, "thoughtsTokenCount")
    # Absent means 0 here: Google leaves out what is nothing.
    written = usage.get("candidatesTokenCount", 0) if isinstance(usage, dict) else None
    answer = count(written)
    return usage_of(
        read=counts(usage, "promptTokenCount"),
        written=None if answer is None else answer + (thoughts or 0),
        cached=counts(usage, "cachedContentTokenCount"),
        reasoning=thoughts,
    )
