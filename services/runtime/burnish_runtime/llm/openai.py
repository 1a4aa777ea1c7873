"""OpenAI, and every server that speaks its chat completions: `openai_compatible` and `local`."""

from __future__ import annotations

from burnish.errors import MissingExtra
from burnish.identity import canonical_bytes
from burnish_runtime.llm.base import Completion, CompletionRequest, ProviderAccess
from burnish_runtime.llm.failures import connection_error, status_error, timeout_error
from burnish_runtime.llm.openai_shape import error_code, read_completion, request_fields

_OWN_URL = "https://api.openai.com/v1"


class OpenAiProvider:
    """Asks models through the official `openai` package."""

    def __init__(self, access: ProviderAccess, *, name: str = "openai") -> None:
        """Opens the adapter.

        Args:
            access: Key and base URL; the base URL ends in `/v1`.
            name: Provider name that errors and specs carry.

        Raises:
            MissingExtra: `openai` is not installed.
        """
        try:
            import openai
        except ImportError as error:
            raise MissingExtra(package="openai", extra="llm") from error
        self._openai = openai
        self._name = name
        self._limit_field = "max_completion_tokens" if name == "openai" else "max_tokens"
        # A server of the user's own often wants no key, while the SDK insists on one.
        self._client = openai.AsyncOpenAI(
            api_key=access.api_key or "none",
            base_url=access.base_url or _OWN_URL,
            max_retries=0,
            # The suite's own models are on this machine or beside it, never behind a proxy. An API
            # does not redirect; whoever does wants the key, or a look at what only we can reach.
            http_client=openai.DefaultAsyncHttpxClient(
                trust_env=name != "local", follow_redirects=False
            ),
        )

    @property
    def name(self) -> str:
        """The provider's name in a model spec."""
        return self._name

    def request_body(self, request: CompletionRequest) -> bytes:
        """Returns the canonical JSON of what would be sent."""
        return canonical_bytes(request_fields(request, limit_field=self._limit_field))

    async def complete(self, request: CompletionRequest) -> Completion:
        """Asks the model, once.

        Raises:
            ProviderError: There is no usable reply; says whether a retry may help.
        """
        openai = self._openai
        try:
            reply = await self._client.chat.completions.with_raw_response.create(
                **request_fields(request, limit_field=self._limit_field),
                timeout=request.timeout_seconds,
            )
        except openai.APITimeoutError as error:
            raise timeout_error(self._name, request.timeout_seconds) from error
        except openai.APIConnectionError as error:
            raise connection_error(self._name, not_sent=_never_connected(error)) from error
        except openai.APIStatusError as error:
            raise status_error(
                self._name,
                error.status_code,
                code=error_code(error.body),
                headers=error.response.headers,
            ) from None
        return self.read(reply.content)

    def read(self, body: bytes) -> Completion:
        """Reads a reply's bytes.

        Raises:
            ProviderError: The bytes are no chat completion.
        """
        return read_completion(self._name, body)

    async def close(self) -> None:
        """Closes connections."""
        await self._client.close()


def _never_connected(error: BaseException) -> bool:
    # The SDKs differ in the HTTP library underneath; both name the exception so.
    return type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout", "PoolTimeout")
