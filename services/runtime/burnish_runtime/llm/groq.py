"""Groq, through its own official package."""

from __future__ import annotations

from burnish.errors import MissingExtra
from burnish.identity import canonical_bytes
from burnish_runtime.llm.base import Completion, CompletionRequest, ProviderAccess
from burnish_runtime.llm.openai_shape import read_completion, request_fields
from burnish_runtime.llm.reading import require_whole
from burnish_runtime.llm.sdk_http import SdkClient

_OWN_URL = "https://api.groq.com"


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
        self._sdk = SdkClient(groq, groq.AsyncGroq, access, name=self.name, own_url=_OWN_URL)
        self._client = self._sdk.client

    def request_body(self, request: CompletionRequest) -> bytes:
        """Returns the canonical JSON of what would be sent."""
        return canonical_bytes(request_fields(request, limit_field="max_completion_tokens"))

    async def complete(self, request: CompletionRequest) -> Completion:
        """Asks the model, once.

        Raises:
            ProviderError: There is no usable reply; says whether a retry may help.
        """
        create = self._client.chat.completions.with_streaming_response.create
        fields = request_fields(request, limit_field="max_completion_tokens")
        model, seconds = fields.pop("model"), request.timeout_seconds
        # The package walks through every leaf of what it is given; an extra body it sends as it is.
        body = await self._sdk.body(create, seconds, model=model, messages=[], extra_body=fields)
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
        await self._sdk.close()
