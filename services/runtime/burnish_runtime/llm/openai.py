"""OpenAI, and every server that speaks its chat completions: `openai_compatible` and `local`.

OpenAI has two APIs. Chat completions are asked unless the Responses API is chosen, or the model is
one that has only that.
"""

from __future__ import annotations

import enum
import json
import re
from typing import Any

from burnish.errors import MissingExtra
from burnish.identity import canonical_bytes
from burnish_runtime.llm import openai_shape, responses_shape
from burnish_runtime.llm.base import Completion, CompletionRequest, ProviderAccess
from burnish_runtime.llm.reading import require_whole
from burnish_runtime.llm.sdk_http import SdkClient

OPENAI_URL = "https://api.openai.com/v1"
_RESPONSES_ONLY = re.compile(r"(?:openai/)?(?:.*codex|o\d-pro|gpt-5.*-pro|.*deep-research)")


class OpenAiApi(enum.StrEnum):
    """Which of OpenAI's APIs is asked; AUTO is chat completions where the model has them."""

    AUTO = "auto"
    CHAT = "chat"
    RESPONSES = "responses"


class OpenAiProvider:
    """Asks models through the official `openai` package."""

    def __init__(
        self, access: ProviderAccess, *, name: str = "openai", api: OpenAiApi = OpenAiApi.AUTO
    ) -> None:
        """Opens the adapter.

        Args:
            access: Key and base URL; the base URL ends in `/v1`.
            name: Provider name that errors and specs carry.
            api: Which API is asked.

        Raises:
            MissingExtra: `openai` is not installed.
        """
        try:
            import openai
        except ImportError as error:
            raise MissingExtra(package="openai", extra="llm") from error
        self._name = name
        self._api = api
        self._limit_field = "max_completion_tokens" if name == "openai" else "max_tokens"
        self._sdk = SdkClient(openai, openai.AsyncOpenAI, access, name=name, own_url=OPENAI_URL)
        self._client = self._sdk.client

    @property
    def name(self) -> str:
        """The provider's name in a model spec."""
        return self._name

    def request_body(self, request: CompletionRequest) -> bytes:
        """Returns the canonical JSON of what would be sent."""
        return canonical_bytes(self._fields(request))

    async def complete(self, request: CompletionRequest) -> Completion:
        """Asks the model, once.

        Raises:
            ProviderError: There is no usable reply; says whether a retry may help.
        """
        fields = self._fields(request)
        model, seconds = fields.pop("model"), request.timeout_seconds
        # The package walks through every leaf of what it is given; an extra body it sends as it is.
        if self._by_responses(request):
            create: Any = self._client.responses.with_streaming_response.create
            body = await self._sdk.body(create, seconds, model=model, extra_body=fields)
        else:
            create = self._client.chat.completions.with_streaming_response.create
            body = await self._sdk.body(
                create, seconds, model=model, messages=[], extra_body=fields
            )
        require_whole(self._name, body)
        if self._by_responses(request):
            responses_shape.require_unfailed(self._name, body)
        return self.read(body)

    def read(self, body: bytes) -> Completion:
        """Reads a reply's bytes, whichever API they are of.

        Raises:
            ProviderError: The bytes are neither a chat completion nor a response.
        """
        if _is_response(body):
            return responses_shape.read_response(self._name, body)
        return openai_shape.read_completion(self._name, body)

    async def close(self) -> None:
        """Closes connections."""
        await self._sdk.close()

    def _by_responses(self, request: CompletionRequest) -> bool:
        if self._api is OpenAiApi.AUTO:
            return self._name == "openai" and _RESPONSES_ONLY.match(request.model) is not None
        return self._api is OpenAiApi.RESPONSES

    def _fields(self, request: CompletionRequest) -> dict[str, Any]:
        if self._by_responses(request):
            return responses_shape.request_fields(request)
        return openai_shape.request_fields(request, limit_field=self._limit_field)


def _is_response(body: bytes) -> bool:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(reply, dict) and reply.get("object") == "response"
