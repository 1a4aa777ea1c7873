"""Groq, through its own official package."""

from __future__ import annotations

import asyncio

from burnish.errors import MissingExtra
from burnish.identity import canonical_bytes
from burnish_runtime.llm import sdk_http
from burnish_runtime.llm.base import Completion, CompletionRequest, ProviderAccess
from burnish_runtime.llm.openai_shape import read_completion, request_fields
from burnish_runtime.llm.reading import require_whole


class GroqProvider:
    """Asks models through the official `groq` package."""

    name = "groq"

    def __init__(self, access: ProviderAccess) -> None:
        """Opens the adapter.

        Args:
            access: Key and base URL. The package adds `/openai/v1` itself, so the base URL of a
                server of one's own is given without it.

        Raises:
            MissingExtra: `groq` is not installed.
        """
        try:
            import groq
        except ImportError as error:
            raise MissingExtra(package="groq", extra="llm") from error
        self._groq = groq
        self._http_error = sdk_http.http_error(groq.DefaultAsyncHttpxClient)
        self._client = groq.AsyncGroq(
            api_key=access.api_key or "none",
            base_url=access.base_url or "https://api.groq.com",
            max_retries=0,
            default_headers=sdk_http.IDENTITY,
            http_client=groq.DefaultAsyncHttpxClient(
                follow_redirects=False,
                event_hooks={"response": [sdk_http.answer_hook(self.name)]},
            ),
        )

    def request_body(self, request: CompletionRequest) -> bytes:
        """Returns the canonical JSON of what would be sent."""
        return canonical_bytes(request_fields(request, limit_field="max_completion_tokens"))

    async def complete(self, request: CompletionRequest) -> Completion:
        """Asks the model, once.

        Raises:
            ProviderError: There is no usable reply; says whether a retry may help.
        """
        seconds = request.timeout_seconds
        limit = self._groq.Timeout(seconds, connect=sdk_http.connect_seconds(seconds))
        fields = request_fields(request, limit_field="max_completion_tokens")
        try:
            async with (
                asyncio.timeout(seconds),
                self._client.chat.completions.with_streaming_response.create(
                    **fields, timeout=limit
                ) as reply,
            ):
                body = await sdk_http.bounded(self.name, reply.iter_bytes())
        except (self._groq.APIError, self._http_error, TimeoutError) as error:
            raise sdk_http.sending_error(self.name, seconds, error) from None
        require_whole(self.name, body)
        return self.read(body)

    def read(self, body: bytes) -> Completion:
        """Reads a reply's bytes.

        Raises:
            ProviderError: The bytes are no chat completion.
        """
        return read_completion(self.name, body)

    async def close(self) -> None:
        """Closes connections."""
        await self._client.close()
