"""The shape of OpenAI's Responses API: pure functions.

Nothing is kept at the provider (`store` is off), and the API takes no seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish_runtime.llm.base import ChatMessage, Completion, CompletionRequest, ToolCall
from burnish_runtime.llm.failures import malformed_error, status_error
from burnish_runtime.llm.openai_shape import function, has_fixed_temperature
from burnish_runtime.llm.reading import counts, parsed, text_or_arguments, usage_of

# Errors of a response that may be gone the next time, and the status that they would come with
# anywhere else. The model may have written, so none of these is one that is never paid.
_PASSING = {"server_error": 500, "rate_limit_exceeded": 500, "vector_store_timeout": 504}


def request_fields(request: CompletionRequest) -> dict[str, Any]:
    """Returns the fields of a request for a response."""
    fields: dict[str, Any] = {
        "model": request.model,
        "input": [item for message in request.messages for item in _items(message)],
        "max_output_tokens": request.max_output_tokens,
        "store": False,
    }
    if request.temperature is not None and not has_fixed_temperature(request.model):
        fields["temperature"] = request.temperature
    if request.json_schema is not None:
        shape = request.json_schema
        fields["text"] = {
            "format": {
                "type": "json_schema",
                "name": shape.name,
                "schema": dict(shape.schema),
                "strict": shape.strict,
            }
        }
    elif request.json_mode:
        fields["text"] = {"format": {"type": "json_object"}}
    if request.tools:
        # Without a word on strictness, this API takes schemas for strict ones.
        fields["tools"] = [
            {"type": "function", "strict": False, **function(tool)} for tool in request.tools
        ]
        plain = request.tool_choice in ("auto", "none", "required")
        named = {"type": "function", "name": request.tool_choice}
        fields["tool_choice"] = request.tool_choice if plain else named
    return fields


def read_response(provider: str, body: bytes) -> Completion:
    """Reads a response.

    Raises:
        ProviderError: It is none.
    """
    reply = parsed(provider, body)
    output = reply.get("output")
    if not isinstance(output, list) or not output:
        raise malformed_error(provider, "no output")
    items = [item for item in output if isinstance(item, dict)]
    calls = tuple(_call(item) for item in items if item.get("type") == "function_call")
    text = "".join(_text(item) for item in items if item.get("type") == "message")
    usage = reply.get("usage")
    return Completion(
        text=text_or_arguments(text, calls),
        body=body,
        usage=usage_of(
            read=counts(usage, "input_tokens"),
            written=counts(usage, "output_tokens"),
            cached=counts(usage, "input_tokens_details", "cached_tokens"),
            reasoning=counts(usage, "output_tokens_details", "reasoning_tokens"),
        ),
        finish_reason=_finish_reason(reply, calls),
        tool_calls=calls,
    )


def require_unfailed(provider: str, body: bytes) -> None:
    """Checks that a response did not fail on its way, which comes with a status of 200.

    Raises:
        ProviderUnavailable: It did; it may have been paid.
    """
    reply = parsed(provider, body)
    error = reply.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if reply.get("status") == "failed" and isinstance(code, str) and code in _PASSING:
        raise status_error(provider, _PASSING[code], code=code)


def _items(message: ChatMessage) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [
            {
                "type": "function_call_output",
                "call_id": message.tool_call_id,
                "output": message.content,
            }
        ]
    said = {"role": message.role, "content": message.content}
    return [
        *([said] if message.content or not message.tool_calls else []),
        *(
            {
                "type": "function_call",
                "call_id": call.call_id,
                "name": call.name,
                "arguments": call.arguments,
            }
            for call in message.tool_calls
        ),
    ]


def _text(item: Mapping[str, Any]) -> str:
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))


def _call(item: Mapping[str, Any]) -> ToolCall:
    return ToolCall(
        call_id=str(item.get("call_id") or ""),
        name=str(item.get("name") or ""),
        arguments=str(item.get("arguments") or ""),
    )


def _finish_reason(reply: Mapping[str, Any], calls: tuple[ToolCall, ...]) -> str:
    """Returns the word that chat completions have for how a response ended."""
    details = reply.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    if reason:
        return "length" if reason == "max_output_tokens" else str(reason).lower()
    if calls:
        return "tool_calls"
    status = str(reply.get("status") or "").lower()
    return "stop" if status == "completed" else status
