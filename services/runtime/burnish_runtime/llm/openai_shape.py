"""The chat-completions shape that OpenAI, Groq and most self-hosted servers share: pure functions.

The SDKs send and receive; what goes into a request and what is read from a reply is here, so that a
reply kept in the ledger is read by the same code as a live one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from burnish_runtime.llm.base import ChatMessage, Completion, CompletionRequest, Tool, ToolCall
from burnish_runtime.llm.failures import malformed_error
from burnish_runtime.llm.reading import counts, parsed, text_or_arguments, usage_of

# Reasoning models answer 400 to any temperature but their default.
_FIXED_TEMPERATURE = re.compile(r"(openai/)?(o\d|gpt-5)(?!.*chat)", re.IGNORECASE)


def has_fixed_temperature(model: str) -> bool:
    """Tells whether a model refuses to be given a temperature."""
    return _FIXED_TEMPERATURE.match(model) is not None


def request_fields(request: CompletionRequest, *, limit_field: str) -> dict[str, Any]:
    """Returns the fields of a chat-completions request.

    Args:
        request: What is asked.
        limit_field: `max_completion_tokens`, or `max_tokens` for servers that know only that.
    """
    fields: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        limit_field: request.max_output_tokens,
    }
    if request.temperature is not None and not has_fixed_temperature(request.model):
        fields["temperature"] = request.temperature
    if request.seed is not None:
        fields["seed"] = request.seed
    if request.json_schema is not None:
        shape = request.json_schema
        fields["response_format"] = {
            "type": "json_schema",
            "json_schema": {
                "name": shape.name,
                "schema": dict(shape.schema),
                "strict": shape.strict,
            },
        }
    elif request.json_mode:
        fields["response_format"] = {"type": "json_object"}
    if request.tools:
        fields["tools"] = [{"type": "function", "function": function(t)} for t in request.tools]
        named = {"type": "function", "function": {"name": request.tool_choice}}
        plain = request.tool_choice in ("auto", "none", "required")
        fields["tool_choice"] = request.tool_choice if plain else named
    return fields


def function(tool: Tool) -> dict[str, Any]:
    """Returns a tool as OpenAI's APIs describe a function."""
    parameters = dict(tool.parameters) or {"type": "object", "properties": {}}
    return {"name": tool.name, "description": tool.description, "parameters": parameters}


def read_completion(provider: str, body: bytes) -> Completion:
    """Reads a chat completion.

    Raises:
        ProviderError: It is none.
    """
    reply = parsed(provider, body)
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise malformed_error(provider, "no choices")
    message = choices[0].get("message")
    if not isinstance(message, dict):
        raise malformed_error(provider, "a choice without a message")
    usage = reply.get("usage")
    calls = _calls(message)
    return Completion(
        text=text_or_arguments(_text(message), calls),
        body=body,
        usage=usage_of(
            read=counts(usage, "prompt_tokens"),
            written=counts(usage, "completion_tokens"),
            cached=counts(usage, "prompt_tokens_details", "cached_tokens"),
            reasoning=counts(usage, "completion_tokens_details", "reasoning_tokens"),
        ),
        finish_reason=str(choices[0].get("finish_reason") or "").lower(),
        tool_calls=calls,
    )


def error_code(body: object) -> str:
    """Returns the short error code of an error reply, or an empty string."""
    if not isinstance(body, Mapping):
        return ""
    error = body.get("error", body)
    if not isinstance(error, Mapping):
        return ""
    return next((str(error[key]) for key in ("code", "type") if error.get(key)), "")


def _message(message: ChatMessage) -> dict[str, Any]:
    sent: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        sent["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        sent["tool_call_id"] = message.tool_call_id
    return sent


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(p.get("text") or "") for p in content if isinstance(p, dict))
    return ""


def _calls(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    calls = message.get("tool_calls")
    found = []
    for index, call in enumerate(calls if isinstance(calls, list) else []):
        asked = call.get("function") if isinstance(call, dict) else None
        if isinstance(asked, dict):
            found.append(
                ToolCall(
                    call_id=str(call.get("id") or f"call_{index}"),
                    name=str(asked.get("name") or ""),
                    arguments=str(asked.get("arguments") or ""),
                )
            )
    return tuple(found)
