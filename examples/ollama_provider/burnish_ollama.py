"""A provider of your own: Ollama's native API, offered to Burnish as a plug-in.

Ollama speaks chat completions too, for which `openai_compatible` is enough. Its own API is a good
example of one that is not: other names, other counts, and limits among its options.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from burnish.identity import canonical_bytes
from burnish_runtime.llm.base import (
    ChatMessage,
    Completion,
    CompletionRequest,
    ProviderAccess,
    ToolCall,
)
from burnish_runtime.llm.failures import (
    connection_error,
    malformed_error,
    status_error,
    timeout_error,
)
from burnish_runtime.llm.reading import (
    counts,
    parsed,
    require_whole,
    text_or_arguments,
    usage_of,
)
from burnish_runtime.llm.sdk_http import IDENTITY, bounded, require_plain

_OWN_URL = "http://127.0.0.1:11434"


class OllamaProvider:
    """Asks models by `/api/chat`."""

    name = "ollama"

    def __init__(self, access: ProviderAccess) -> None:
        """Opens the adapter; a base URL comes from the model spec, and a key is never given."""
        self._url = f"{access.base_url or _OWN_URL}/api/chat"
        self._session: aiohttp.ClientSession | None = None

    def request_body(self, request: CompletionRequest) -> bytes:
        """Returns the canonical JSON of what would be sent."""
        return canonical_bytes(_fields(request))

    async def complete(self, request: CompletionRequest) -> Completion:
        """Asks the model, once.

        Raises:
            ProviderError: There is no usable reply; says whether a retry may help.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=IDENTITY, auto_decompress=False)
        try:
            async with (
                asyncio.timeout(request.timeout_seconds),
                self._session.post(
                    self._url,
                    json=_fields(request),
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None),
                ) as answer,
            ):
                headers = {name.lower(): value for name, value in answer.headers.items()}
                require_plain(self.name, headers)
                body = await bounded(self.name, answer.content.iter_any())
        except TimeoutError:
            raise timeout_error(self.name, request.timeout_seconds) from None
        except aiohttp.ClientConnectorError:
            raise connection_error(self.name, not_sent=True) from None
        except aiohttp.ClientError:
            raise connection_error(self.name, not_sent=False) from None
        if answer.status != 200:
            raise status_error(self.name, answer.status, headers=headers)
        require_whole(self.name, body)
        return self.read(body)

    def read(self, body: bytes) -> Completion:
        """Reads a reply's bytes.

        Raises:
            ProviderError: The bytes are no chat.
        """
        reply = parsed(self.name, body)
        message = reply.get("message")
        if not isinstance(message, dict):
            raise malformed_error(self.name, "no message")
        given = message.get("tool_calls")
        calls = tuple(
            ToolCall(
                call_id=f"call_{number}",
                name=str(call["function"].get("name", "")),
                arguments=json.dumps(call["function"].get("arguments") or {}),
            )
            for number, call in enumerate(given if isinstance(given, list) else [])
            if isinstance(call, dict) and isinstance(call.get("function"), dict)
        )
        return Completion(
            text=text_or_arguments(str(message.get("content") or ""), calls),
            body=body,
            usage=usage_of(
                read=counts(reply, "prompt_eval_count"), written=counts(reply, "eval_count")
            ),
            finish_reason=str(reply.get("done_reason") or "").lower(),
            tool_calls=calls,
        )

    async def close(self) -> None:
        """Closes connections."""
        if self._session is not None:
            await self._session.close()


def _fields(request: CompletionRequest) -> dict[str, Any]:
    options: dict[str, Any] = {"num_predict": request.max_output_tokens}
    if request.temperature is not None:
        options["temperature"] = request.temperature
    if request.seed is not None:
        options["seed"] = request.seed
    fields: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        "stream": False,
        "options": options,
    }
    if request.json_schema is not None:
        fields["format"] = dict(request.json_schema.schema)
    elif request.json_mode:
        fields["format"] = "json"
    # A choice among tools is not Ollama's; with `none` they are left out.
    if request.tools and request.tool_choice != "none":
        fields["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                },
            }
            for tool in request.tools
        ]
    return fields


def _message(message: ChatMessage) -> Mapping[str, Any]:
    sent: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        sent["tool_calls"] = [
            {"function": {"name": call.name, "arguments": json.loads(call.arguments or "{}")}}
            for call in message.tool_calls
        ]
    return sent
