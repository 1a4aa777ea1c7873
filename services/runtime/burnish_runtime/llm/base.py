"""What a model provider has to offer, in terms that no provider's SDK appears in.

A provider is three small things: the body it would send for a request (which is hashed, so that a
call that was paid for can be found again), one try at sending it, and the reading of a reply's
bytes, which serves a live reply and one kept in the ledger alike. Retries are not a provider's
business: each is a call of its own in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from burnish.errors import BurnishError, Code

JSON_CONTENT = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message of a conversation.

    Attributes:
        role: `system`, `user` or `assistant`.
        content: The text.
    """

    role: str
    content: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """What is asked of a model.

    Attributes:
        model: The provider's model id.
        messages: At least one, oldest first.
        max_output_tokens: Most tokens to write, at least 1.
        temperature: In [0, 2]; None leaves the provider's default.
        seed: Asks for repeatable sampling where the provider offers it.
        json_mode: Whether the reply has to be one JSON object.
        timeout_seconds: Longest wait for the whole reply.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    max_output_tokens: int
    temperature: float | None = None
    seed: int | None = None
    json_mode: bool = False
    timeout_seconds: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Tokens of one call, as the provider counted them.

    Attributes:
        input_tokens: Tokens read.
        output_tokens: Tokens written, reasoning included.
    """

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A model's reply.

    Attributes:
        text: What it wrote; the arguments of its first tool call when it wrote nothing else.
        body: The reply as it came over the wire (JSON).
        usage: None when the provider did not say.
        finish_reason: The provider's word in lower case, such as `stop` or `length`; may be empty.
    """

    text: str = field(repr=False)
    body: bytes = field(repr=False)
    usage: TokenUsage | None = None
    finish_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderAccess:
    """What an adapter is opened with.

    Attributes:
        api_key: Empty when none is configured.
        base_url: Where the API is; empty means the provider's own.
    """

    api_key: str = field(default="", repr=False)
    base_url: str = ""


class LlmProvider(Protocol):
    """A model provider. Plug-ins register a factory under `burnish.llm_providers`.

    The factory takes a `ProviderAccess`. An implementation must:

    1. answer `request_body` without input or output, equally for equal requests;
    2. try once in `complete`: no retry of its own, hidden ones of an SDK switched off;
    3. raise nothing but `ProviderError` from `complete` and `read`, with `not_sent` true only when
       it is certain that nothing can have been paid;
    4. give the same `Completion` from `read(completion.body)` as from the call itself;
    5. import its SDK when it is opened, not when it is imported.
    """

    @property
    def name(self) -> str:
        """The provider's name in a model spec."""

    def request_body(self, request: CompletionRequest) -> bytes:
        """Returns the canonical JSON of what would be sent."""

    async def complete(self, request: CompletionRequest) -> Completion:
        """Asks the model, once.

        Raises:
            ProviderError: There is no usable reply; says whether a retry may help.
        """

    def read(self, body: bytes) -> Completion:
        """Reads a reply's bytes.

        Raises:
            ProviderError: The bytes are no reply of this provider. Never retryable.
        """

    async def close(self) -> None:
        """Closes connections."""


class ProviderError(BurnishError):
    """No usable reply. Travels as UNAVAILABLE when a retry may help, else FAILED_PRECONDITION.

    Attributes:
        can_retry: Whether the same request may succeed later.
        not_sent: Whether it is certain that nothing was paid: it was not sent, or refused.
        retry_after: Seconds to wait first, when the provider said so.
        status: HTTP status of the provider's answer; None when there was none.
    """

    code = Code.FAILED_PRECONDITION
    default_reason = "PROVIDER_REFUSED"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        status: int | None = None,
        not_sent: bool = False,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.status = status
        self.not_sent = not_sent
        self.retry_after: float | None = None
        self.can_retry = False


class ProviderUnavailable(ProviderError):
    """No usable reply now; the same request may succeed later."""

    code = Code.UNAVAILABLE
    default_reason = "PROVIDER_UNAVAILABLE"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        status: int | None = None,
        not_sent: bool = False,
    ) -> None:
        super().__init__(
            message, reason=reason, metadata=metadata, status=status, not_sent=not_sent
        )
        self.can_retry = True
