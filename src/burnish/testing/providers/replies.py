"""What a fake provider says, in no provider's words, and what it charges for that."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

_BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeToolCall:
    """A call of a tool, as a model asks for it.

    Attributes:
        name: Name of the tool.
        arguments: Its arguments, a JSON object as text.
    """

    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeReply:
    """A model's answer; each wire format has its own words for it.

    Attributes:
        text: What the model says.
        tool_calls: Tools that it calls, in order.
        input_tokens: Tokens read and charged; None counts a token for 4 bytes of the request.
        output_tokens: Tokens written and charged, reasoning included; None counts 4 bytes each.
        cached_input_tokens: How many of the tokens read came from the cache.
        reasoning_tokens: How many of the tokens written the model wrote for itself.
        finish_reason: `stop`, `length` or `tool_calls`; each format has its own word for it.
        delay: Seconds to wait before the answer.
    """

    text: str = "ok"
    tool_calls: tuple[FakeToolCall, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    finish_reason: str = ""
    delay: float = 0.0

    def counted(self, request: bytes) -> FakeReply:
        """Returns the reply with every count filled in.

        Args:
            request: Body of the request.
        """
        said = self.text + "".join(call.arguments for call in self.tool_calls)
        return replace(
            self,
            input_tokens=_or(self.input_tokens, max(len(request) // _BYTES_PER_TOKEN, 1)),
            output_tokens=_or(self.output_tokens, max(len(said.encode()) // _BYTES_PER_TOKEN, 1)),
            finish_reason=self.finish_reason or ("tool_calls" if self.tool_calls else "stop"),
        )

    @property
    def read(self) -> int:
        """Tokens read; 0 while they are not counted."""
        return _or(self.input_tokens, 0)

    @property
    def written(self) -> int:
        """Tokens written; 0 while they are not counted."""
        return _or(self.output_tokens, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one request cost its sender.

    Attributes:
        number: Which request of the provider it was, from 0.
        model: The model that was asked.
        input_tokens: Tokens charged as read.
        output_tokens: Tokens charged as written.
        answered: Whether a whole answer was sent; if not, the sender cannot know what it paid.
    """

    number: int
    model: str
    input_tokens: int
    output_tokens: int
    answered: bool


@dataclass(slots=True)
class Bill:
    """What a fake provider charged; the truth that a ledger is held against.

    Attributes:
        charges: One for each request that cost something, in the order of their ends.
    """

    charges: list[Charge] = field(default_factory=list)

    @property
    def input_tokens(self) -> int:
        """Tokens charged as read."""
        return sum(charge.input_tokens for charge in self.charges)

    @property
    def output_tokens(self) -> int:
        """Tokens charged as written."""
        return sum(charge.output_tokens for charge in self.charges)

    @property
    def answered(self) -> Bill:
        """The part of the bill whose answers were sent whole."""
        return Bill([charge for charge in self.charges if charge.answered])

    def cost(self, *, input_usd: float, output_usd: float) -> float:
        """Returns the sum in US dollars.

        Args:
            input_usd: Price of a million tokens read.
            output_usd: Price of a million tokens written.
        """
        return (self.input_tokens * input_usd + self.output_tokens * output_usd) / 1_000_000


def _or(count: int | None, otherwise: int) -> int:
    return otherwise if count is None else count
