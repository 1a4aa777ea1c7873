"""Google's Gemini models, through the official `google-genai` package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import aiohttp

from burnish.errors import MissingExtra
from burnish.identity import canonical_bytes
from burnish_runtime.llm.base import Completion, CompletionRequest, ProviderAccess, TokenUsage
from burnish_runtime.llm.failures import (
    connection_error,
    malformed_error,
    status_error,
    timeout_error,
)

if TYPE_CHECKING:
    from google.genai import Client


class GoogleProvider:
    """Asks models through the official `google-genai` package."""

    name = "google"

    def __init__(self, access: ProviderAccess) -> None:
        """Opens the adapter.

        Args:
            access: Key and base URL, the latter without a version.

        Raises:
            MissingExtra: `google-genai` is not installed.
        """
        try:
            from google import genai
            from google.genai import errors, types
        except ImportError as error:
            raise MissingExtra(package="google-genai", extra="llm") from error
        self._genai = genai
        self._errors = errors
        self._types = types
        self._access = access
        self._session: aiohttp.ClientSession | None = None
        self._client: Client | None = None

    def request_body(self, request: CompletionRequest) -> bytes:
        """Returns the canonical JSON of what would be sent."""
        return canonical_bytes({"model": request.model, **_fields(request)})

    async def complete(self, request: CompletionRequest) -> Completion:
        """Asks the model, once.

        Raises:
            ProviderError: There is no usable reply; says whether a retry may help.
        """
        types = self._types
        fields = _fields(request)
        config = types.GenerateContentConfig(
            **fields["config"],
            should_return_http_response=True,
            http_options=types.HttpOptions(timeout=max(int(request.timeout_seconds * 1000), 1)),
        )
        try:
            reply = await self._opened().aio.models.generate_content(
                model=request.model, contents=fields["contents"], config=config
            )
        except self._errors.APIError as error:
            headers = getattr(error.response, "headers", None)
            raise status_error(
                self.name,
                error.code,
                code=str(error.status or ""),
                headers={str(k).lower(): str(v) for k, v in (headers or {}).items()},
            ) from None
        except TimeoutError as error:
            raise timeout_error(self.name, request.timeout_seconds) from error
        except aiohttp.ClientError as error:
            never = isinstance(error, aiohttp.ClientConnectorError)
            raise connection_error(self.name, not_sent=never) from error
        http = reply.sdk_http_response
        if http is None or http.body is None:
            raise malformed_error(self.name, "no body")
        return self.read(http.body.encode())

    def read(self, body: bytes) -> Completion:
        """Reads a reply's bytes.

        Raises:
            ProviderError: The bytes are no `generateContent` reply.
        """
        try:
            reply = json.loads(body)
        except ValueError as error:
            raise malformed_error(self.name, "not JSON") from error
        if not isinstance(reply, dict) or not ("candidates" in reply or "promptFeedback" in reply):
            raise malformed_error(self.name, "no candidates")
        candidates = reply.get("candidates")
        first = candidates[0] if isinstance(candidates, list) and candidates else {}
        return Completion(
            text=_text(first),
            body=body,
            usage=_usage(reply.get("usageMetadata")),
            finish_reason=str(first.get("finishReason") or "").lower(),
        )

    async def close(self) -> None:
        """Closes connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> Client:
        if self._client is None:
            # A session of ours, because the package's own subclasses aiohttp's, which warns.
            self._session = aiohttp.ClientSession(trust_env=True)
            # Without explicit retry options the package sends a call again when its connection
            # breaks: a second payment that no ledger knows of.
            options = self._types.HttpOptions(
                base_url=self._access.base_url or None,
                retry_options=self._types.HttpRetryOptions(attempts=1),
                aiohttp_client=self._session,
            )
            self._client = self._genai.Client(
                api_key=self._access.api_key or "none", http_options=options, vertexai=False
            )
        return self._client


def _fields(request: CompletionRequest) -> dict[str, Any]:
    system = "\n\n".join(m.content for m in request.messages if m.role == "system")
    config: dict[str, Any] = {"max_output_tokens": request.max_output_tokens}
    if system:
        config["system_instruction"] = system
    if request.temperature is not None:
        config["temperature"] = request.temperature
    if request.seed is not None:
        config["seed"] = request.seed
    if request.json_mode:
        config["response_mime_type"] = "application/json"
    contents = [
        {
            "role": "model" if message.role == "assistant" else "user",
            "parts": [{"text": message.content}],
        }
        for message in request.messages
        if message.role != "system"
    ]
    return {"contents": contents, "config": config}


def _text(candidate: Mapping[str, Any]) -> str:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(parts, list):
        return ""
    said = [p for p in parts if isinstance(p, dict) and not p.get("thought")]
    text = "".join(str(part.get("text") or "") for part in said)
    if text:
        return text
    calls = [p["functionCall"] for p in said if isinstance(p.get("functionCall"), dict)]
    return json.dumps(calls[0].get("args") or {}, ensure_ascii=False) if calls else ""


def _usage(usage: object) -> TokenUsage | None:
    if not isinstance(usage, dict) or not isinstance(usage.get("promptTokenCount"), int):
        return None
    written = sum(
        count
        for key in ("candidatesTokenCount", "thoughtsTokenCount")
        if isinstance(count := usage.get(key), int)
    )
    return TokenUsage(input_tokens=max(usage["promptTokenCount"], 0), output_tokens=max(written, 0))
