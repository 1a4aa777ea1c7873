"""What the data plane knows of any API: a call, how it is rewritten, how its answer is shown."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

import orjson

from burnish_interceptor.dialects.stream import AnswerStream
from burnish_interceptor.policies.policy import Model
from burnish_interceptor.prompts.edit import Message, PromptEdit

Tokens = tuple[int, int]


class BadRequest(Exception):
    """A body that is no call of its API, or asks for what is refused; the text is for the app."""


class UsageMode(enum.Enum):
    """What an app is told of the tokens of a call.

    `EXACT` is what the provider counted, the candidate's prompt included. `APP_ONLY` estimates the
    input from the bytes that the app sent itself, so that it says nothing of the candidate. `OFF`
    says nothing.
    """

    EXACT = "exact"
    APP_ONLY = "app-only"
    OFF = "off"


class Forced:
    """Settings that win over what the app sent, written out once for many calls.

    Attributes:
        model: Model, and its temperature and output limit when they are set.
        ask_usage: Whether the provider can be asked to tell the usage of a stream.
        settings: What every call is given, as JSON by name.
    """

    __slots__ = ("ask_usage", "model", "settings")

    def __init__(self, model: Model, *, ask_usage: bool = True) -> None:
        self.model = model
        self.ask_usage = ask_usage
        self.settings: dict[str, bytes | None] = {"model": orjson.dumps(model.name)}
        if model.temperature is not None:
            self.settings["temperature"] = orjson.dumps(model.temperature)


class Outgoing(NamedTuple):
    """A request ready to leave.

    Attributes:
        body: JSON for the provider.
        model: Where it goes.
        max_output_tokens: Most tokens that the answer can have, all choices together.
    """

    body: bytes
    model: Model
    max_output_tokens: int


class Shown(NamedTuple):
    """How an answer is shown.

    Attributes:
        model: Model to report.
        usage: What is told of tokens.
    """

    model: str
    usage: UsageMode = UsageMode.EXACT


class AppRequest(Protocol):
    """A call as the app sent it.

    Attributes:
        path: Where its API stands below a provider's base URL.
        body: The bytes as they came.
        model: Model that the app names, or empty.
        stream: Whether the app wants events.
        api: Name of the API in metrics and traces.
        conversational: Whether the API has a conversation at all.
        messages: The conversation, as far as it can be rewritten.
    """

    api: ClassVar[str]
    conversational: ClassVar[bool]

    @property
    def path(self) -> str: ...  # noqa: D102 - told above
    @property
    def body(self) -> bytes: ...  # noqa: D102
    @property
    def model(self) -> str: ...  # noqa: D102
    @property
    def stream(self) -> bool: ...  # noqa: D102
    @property
    def messages(self) -> Sequence[Message]: ...  # noqa: D102

    def rewritten(self, edit: PromptEdit, forced: Forced) -> Outgoing:
        """Returns the call for the provider; all that is not changed keeps its bytes.

        Raises:
            BadRequest: The API has no place for the edit.
        """

    def answer(self, body: bytes, shown: Shown) -> tuple[bytes, Tokens | None]:
        """Returns a whole answer for the app, and the provider's tokens in and out.

        Raises:
            NotAnAnswer: The body is no answer of this API.
        """

    def events(self, shown: Shown) -> AnswerStream:
        """Returns what turns the provider's events into the app's."""
