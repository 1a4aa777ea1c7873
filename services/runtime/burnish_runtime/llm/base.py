"""What a model provider has to offer, in terms that no provider's SDK appears in.

A provider is three small things: the body it would send for a request (which is hashed, so that a
call that was paid for can be found again), one try at sending it, and the reading of a reply's
bytes, which serves a live reply and one kept in the ledger alike. Retries are not a provider's
business: each is a call of its own in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from burnish.errors import BurnishError, Code, InvalidArgument

JSON_CONTENT = "application/json"
MAX_REPLY_BYTES = 8 * 1024 * 1024
"""Longest reply that is read: the ledger has to take it in one message, with the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may ask for.

    Attributes:
        name: Letters, digits, `_` and `-`; unique among the tools of a request.
        description: What it is for, to the model.
        parameters: JSON schema of its arguments, an object.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A function that the model asks for.

    Attributes:
        call_id: Names the call; the tool's answer names it too.
        name: Name of the tool.
        arguments: What the model wrote as arguments, meant to be a JSON object.
        signature: The provider's own mark, to be given back with the call; mostly empty.
    """

    call_id: str
    name: str
    arguments: str = field(repr=False)
    signature: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSchema:
    """The shape that a reply has to have.

    Attributes:
        name: Letters, digits, `_` and `-`.
        schema: JSON schema of an object. Where it is strict, most providers demand
            `additionalProperties: false` and every property under `required`.
        strict: Whether the provider has to hold to it to the letter.
    """

    name: str
    schema: Mapping[str, Any] = field(repr=False)
    strict: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message of a conversation.

    Attributes:
        role: `system`, `user`, `assistant`, or `tool` for what a tool answered.
        content: The text.
        tool_calls: What an `assistant` message asked for.
        tool_call_id: Which call a `tool` message answers.
    """

    role: str
    content: str = field(repr=False)
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """What is asked of a model.

    Attributes:
        model: The provider's model id.
        messages: At least one, oldest first.
        max_output_tokens: Most tokens to write, at least 1; reasoning counts.
        temperature: In [0, 2]; None leaves the provider's default.
        seed: Asks for repeatable sampling where the provider offers it, and is left out elsewhere.
        json_mode: Whether the reply has to be one JSON object.
        json_schema: The shape of that object; goes before `json_mode`.
        tools: Functions that the model may ask for.
        tool_choice: `auto`, `none`, `required`, or the name of the tool that has to be called.
        timeout_seconds: Longest wait for the whole reply.

    Raises:
        InvalidArgument: `tool_choice` names no tool of the request. Do not retry.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    max_output_tokens: int
    temperature: float | None = None
    seed: int | None = None
    json_mode: bool = False
    json_schema: JsonSchema | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    timeout_seconds: float = 600.0

    def __post_init__(self) -> None:
        names = [tool.name for tool in self.tools]
        choices = ["auto", "none", *(["required", *names] if names else [])]
        if self.tool_choice not in choices:
            raise InvalidArgument(
                f"`tool_choice` is `{self.tool_choice}`; use one of {', '.join(choices)}",
                reason="TOOL_CHOICE_INVALID",
                metadata={"tool_choice": self.tool_choice},
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Tokens of one call, as the provider counted them.

    Attributes:
        input_tokens: Tokens read, those from and to a cache included.
        output_tokens: Tokens written, reasoning included.
        cached_input_tokens: Part of `input_tokens` read from a cache; None when it was not said.
        cache_write_tokens: Part of `input_tokens` written to a cache; None when it was not said.
        reasoning_tokens: Part of `output_tokens` that the model wrote for itself; None when it was
            not said.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A model's reply.

    Attributes:
        text: What it wrote; the arguments of its first tool call when it wrote nothing else.
        body: The reply as it came over the wire (JSON).
        usage: None when the provider did not say, or said what cannot be.
        finish_reason: The provider's word in lower case, such as `stop` or `length`; may be empty.
        tool_calls: The functions that it asks for, in order.
    """

    text: str = field(repr=False)
    body: bytes = field(repr=False)
    usage: TokenUsage | None = None
    finish_reason: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


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
    2. try once in `complete`: no retry of its own, hidden ones of an SDK switched off, no redirect
       followed, the whole of it within `timeout_seconds`, and a reply of at most `MAX_REPLY_BYTES`;
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
