"""The chat-completions shape that OpenAI, Groq and most self-hosted servers share: pure functions.

The SDKs send and receive; what goes into a request and what is read from a reply is here, so that a
reply kept in the ledger is read by the same code as a live one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from burnish_runtime.llm.base import Completion, CompletionRequest, TokenUsage
from burnish_runtime.llm.failures import malformed_error

# Reasoning models answer 400 to any temperature but their default.
_FIXED_TEMPERATURE = re.compile(r"(openai/)?(o\d|gpt-5)(?!.*chat)", re.IGNORECASE)


def request_fields(request: CompletionRequest, *, limit_field: str) -> dict[str, Any]:
    """Returns the fields of a chat-completions request.

    Args:
        request: What is asked.
        limit_field: `max_completion_tokens`, or `max_tokens` for servers that know only that.
    """
    fields: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        limit_field: request.max_output_tokens,
    }
    if request.temperature is not None and _FIXED_TEMPERATURE.match(request.model) is None:
        fields["temperature"] = request.temperature
    if request.seed is not None:
        fields["seed"] = request.seed
    if request.json_mode:
        fields["response_format"] = {"type": "json_object"}
    return fields


def read_completion(provider: str, body: bytes) -> Completion:
    """Reads a chat completion.

    Raises:
        ProviderError: It is none.
    """
    try:
        reply = json.loads(body)
    except ValueError as error:
        raise malformed_error(provider, "not JSON") from error
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise malformed_error(provider, "no choices")
    message = choices[0].get("message")
    if not isinstance(message, dict):
        raise malformed_error(provider, "a choice without a message")
    return Completion(
        text=_text(message),
        body=body,
        usage=_usage(reply.get("usage")),
        finish_reason=str(choices[0].get("finish_reason") or "").lower(),
    )


def error_code(body: object) -> str:
    """Returns the short error code of an error reply, or an empty string."""
    if not isinstance(body, Mapping):
        return ""
    error = body.get("error", body)
    if not isinstance(error, Mapping):
        return ""
    return next((str(error[key]) for key in ("code", "type") if error.get(key)), "")


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str) and content:
        return content
    if isinstance(content, list):
        parts = [str(p.get("text") or "") for p in content if isinstance(p, dict)]
        if any(parts):
            return "".join(parts)
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls and isinstance(calls[0], dict):
        function = calls[0].get("function")
        if isinstance(function, dict):
            return str(function.get("arguments") or "")
    return ""


def _usage(usage: object) -> TokenUsage | None:
    if not isinstance(usage, dict):
        return None
    read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(read, int) or not isinstance(written, int):
        return None
    return TokenUsage(input_tokens=max(read, 0), output_tokens=max(written, 0))
