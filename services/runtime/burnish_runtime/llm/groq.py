"""Groq, through its own official package."""

from __future__ import annotations

from burnish.errors import MissingExtra
from burnish.identity import canonical_bytes
from burnish_runtime.llm.base import Completion, CompletionRequest, ProviderAccess
from burnish_runtime.llm.failures import connection_error, status_error, timeout_error
from burnish_runtime.llm.openai_shape import error_code, read_completion, request_fields


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
        self._client = groq.AsyncGroq(
            api_key=access.api_key or "none",
            base_url=access.base_url or "https://api.groq.com",
            max_retries=0,
        )

    def request_body(self, request: CompletionRequest) -> bytes:
        """Returns the canonical JSON of what would be sent."""
        return canonical_bytes(request_fields(request, limit_field="max_completion_tokens"))

    async def complete(self, request: CompletionRequest) -> Completion:
        """Asks the model, once.

        Raises:
            ProviderError: There is no usable reply; says whether a retry may help.
        """
        groq = self._groq
        try:
            reply = await self._client.chat.completions.with_raw_response.create(
                **request_fields(request, limit_field="max_completion_tokens"),
                timeout=request.timeout_seconds,
            )
            body = await reply.read()
        except groq.APITimeoutError as error:
            raise timeout_error(self.name, request.timeout_seconds) from error
        except groq.APIConnectionError as error:
            never = type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout")
            raise connection_error(self.name, not_sent=never) from error
        except groq.APIStatusError as error:
            raise status_error(
                self.name,
                error.status_code,
                code=error_code(error.body),
                headers=error.response.headers,
            ) from None
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
