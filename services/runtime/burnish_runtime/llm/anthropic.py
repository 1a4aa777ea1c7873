"""Anthropic's models, through the official `anthropic` package, which is an extra of its own.

The Messages API takes neither a seed nor, from its version 2026-10-21 on, a temperature: a request
with one is refused. What was read from a cache and written to it stands beside the tokens read, and
is counted in here, as it is everywhere else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from burnish.errors import MissingExtra
from burnish.identity import canonical_bytes
from burnish_runtime.llm.base import (
    ChatMessage,
    Completion,
    CompletionRequest,
    ProviderAccess,
    TokenUsage,
    ToolCall,
)
from burnish_runtime.llm.failures import malformed_error
from burnish_runtime.llm.reading import (
    counts,
    parsed,
    require_whole,
    text_or_arguments,
    usage_of,
)
from burnish_runtime.llm.sdk_http import SdkClient

_OWN_URL = "https://api.anthropic.com"

_CHOICES = {"auto": "auto", "none": "none", "required": "any"}
_JSON_ALONE = "Reply with one JSON object and nothing else."


class AnthropicProvider:
    """Asks models through the official `anthropic` package."""

    name = "anthropic"

    def __init__(self, access: ProviderAccess) -> None:
        """Opens the adapter.

        Args:
            access: Key and base URL, the latter without a version.

        Raises:
            MissingExtra: `anthropic` is not installed.
        """
        try:
            import anthropic
        except ImportError as error:
            raise MissingExtra(package="anthropic", extra="anthropic") from error
        self._sdk = SdkClient(
            anthropic, anthropic.AsyncAnthropic, access, name=self.name, own_url=_OWN_URL
        )
        self._client = self._sdk.client

    def request_body(self, request: CompletionRequest) -> bytes:
        """Returns the canonical JSON of what would be sent."""
        return canonical_bytes(_fields(request))

    async def complete(self, request: CompletionRequest) -> Completion:
        """Asks the model, once.

        Raises:
            ProviderError: There is no usable reply; says whether a retry may help.
        """
        create = self._client.messages.with_streaming_response.create
        body = await self._sdk.body(create, request.timeout_seconds, **_fields(request))
        require_whole(self.name, body)
        return self.read(body)

    def read(self, body: bytes) -> Completion:
        """Reads a reply's bytes.

        Raises:
            ProviderError: The bytes are no message.
        """
        reply = parsed(self.name, body)
        content = reply.get("content")
        if not isinstance(content, list) or reply.get("type") != "message":
            raise malformed_error(self.name, "no content")
        blocks = [block for block in content if isinstance(block, dict)]
        calls = tuple(
            ToolCall(
                call_id=str(block.get("id") or ""),
                name=str(block.get("name") or ""),
                arguments=json.dumps(block.get("input") or {}, ensure_ascii=False),
            )
            for block in blocks
            if block.get("type") == "tool_use"
        )
        text = "".join(str(b.get("text") or "") for b in blocks if b.get("type") == "text")
        return Completion(
            text=text_or_arguments(text, calls),
            body=body,
            usage=_usage(reply.get("usage")),
            finish_reason=str(reply.get("stop_reason") or "").lower(),
            tool_calls=calls,
        )

    async def close(self) -> None:
        """Closes connections."""
        await self._sdk.close()


def _fields(request: CompletionRequest) -> dict[str, Any]:
    system = [m.content for m in request.messages if m.role == "system"]
    if request.json_mode and request.json_schema is None:
        system.append(_JSON_ALONE)
    fields: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_output_tokens,
        "messages": _messages(request.messages),
    }
    if system:
        fields["system"] = "\n\n".join(system)
    if request.json_schema is not None:
        shape = {"type": "json_schema", "schema": dict(request.json_schema.schema)}
        fields["output_config"] = {"format": shape}
    if request.tools:
        fields["tools"] = [
            {
                "name": tool.name,
                "description": tool.description,
                "input_schema": dict(tool.parameters) or {"type": "object", "properties": {}},
            }
            for tool in request.tools
        ]
        kind = _CHOICES.get(request.tool_choice)
        named = {"type": "tool", "name": request.tool_choice}
        fields["tool_choice"] = named if kind is None else {"type": kind}
    return fields


def _messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "tool":
            block = {
                "type": "tool_result",
                "tool_use_id": message.tool_call_id,
                "content": message.content,
            }
            if sent and sent[-1]["role"] == "user" and isinstance(sent[-1]["content"], list):
                # What several tools answered to one message has to be one message.
                sent[-1]["content"].append(block)
            else:
                sent.append({"role": "user", "content": [block]})
        elif message.tool_calls:
            text = [{"type": "text", "text": message.content}] if message.content else []
            calls = [
                {
                    "type": "tool_use",
                    "id": call.call_id,
                    "name": call.name,
                    "input": _object(call.arguments),
                }
                for call in message.tool_calls
            ]
            sent.append({"role": message.role, "content": [*text, *calls]})
        elif message.role != "system":
            sent.append({"role": message.role, "content": message.content})
    return sent


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    return value if isinstance(value, dict) else {"arguments": value}


def _usage(usage: object) -> TokenUsage | None:
    plain = counts(usage, "input_tokens")
    cached = counts(usage, "cache_read_input_tokens")
    kept = counts(usage, "cache_creation_input_tokens")
    return usage_of(
        read=None if plain is None else plain + (cached or 0) + (kept or 0),
        written=counts(usage, "output_tokens"),
        cached=cached,
        kept=kept,
        reasoning=counts(usage, "output_tokens_details", "thinking_tokens"),
    )
