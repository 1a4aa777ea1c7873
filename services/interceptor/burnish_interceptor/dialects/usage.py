"""What an app is told of tokens, in the words of each API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish_interceptor.dialects.dialect import Tokens, UsageMode
from burnish_interceptor.prompts.edit import Message

# A token is taken for this many bytes where the provider's own count would tell too much.
BYTES_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4
# No call has more; a provider that says so is wrong, and would spoil the books.
MOST_TOKENS = 10**9

Json = Any


@dataclass(frozen=True, slots=True)
class Words:
    """How an API names its counts.

    Attributes:
        input: Tokens of the prompt.
        output: Tokens of the answer.
        input_details: The object with the details of the prompt, and what of it is allowed.
        output_details: The same of the answer.
        counts: Names of all counts.
        details: What is allowed of each object with details.
    """

    input: str
    output: str
    input_details: tuple[str, frozenset[str]]
    output_details: tuple[str, frozenset[str]]
    counts: frozenset[str] = field(init=False)
    details: Mapping[str, frozenset[str]] = field(init=False)

    def __post_init__(self) -> None:
        """Puts together what is looked up for every answer."""
        counts = frozenset({self.input, self.output, "total_tokens"})
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "details", dict([self.input_details, self.output_details]))


CHAT = Words(
    "prompt_tokens",
    "completion_tokens",
    ("prompt_tokens_details", frozenset({"cached_tokens", "audio_tokens", "cache_write_tokens"})),
    (
        "completion_tokens_details",
        frozenset(
            {
                "reasoning_tokens",
                "audio_tokens",
                "accepted_prediction_tokens",
                "rejected_prediction_tokens",
            }
        ),
    ),
)
RESPONSES = Words(
    "input_tokens",
    "output_tokens",
    ("input_tokens_details", frozenset({"cached_tokens", "cache_write_tokens"})),
    ("output_tokens_details", frozenset({"reasoning_tokens"})),
)


@dataclass(frozen=True, slots=True)
class UsageRule:
    """What of a usage is shown.

    Attributes:
        estimate: Tokens of the prompt to tell in place of the provider's; None tells its own.
    """

    estimate: int | None = None

    @classmethod
    def of(cls, mode: UsageMode, messages: Sequence[Message]) -> UsageRule | None:
        """Returns the rule for a mode; None when nothing is told.

        Args:
            mode: What is told.
            messages: What the app sent itself.
        """
        if mode is UsageMode.EXACT:
            return _EXACT
        if mode is UsageMode.OFF:
            return None
        return cls(sum(_estimated(message.text) for message in messages))

    def shown(self, usage: Json, words: Words) -> dict[str, Json] | None:
        """Returns a provider's usage for the app; None when it says nothing of use."""
        if not isinstance(usage, dict):
            return None
        if self.estimate is None and _usual(usage, words):
            return usage
        given, made = count(usage.get(words.input)), count(usage.get(words.output))
        if given is None:
            return None
        shown: dict[str, Json] = {words.input: given if self.estimate is None else self.estimate}
        total = shown[words.input]
        if made is not None:
            shown[words.output] = made
            total += made
        exact = count(usage.get("total_tokens"))
        shown["total_tokens"] = exact if self.estimate is None and exact is not None else total
        if self.estimate is None:
            _details(usage, words.input_details, shown)
        _details(usage, words.output_details, shown)
        return shown


def _usual(usage: Mapping[str, Json], words: Words) -> bool:
    """Tells whether a usage holds all that is needed and nothing but what is allowed."""
    counts = 0
    for name, value in usage.items():
        if type(value) is int:
            counts += name in words.counts and 0 <= value <= MOST_TOKENS
        elif type(value) is dict:
            known = words.details.get(name)
            if known is None:
                return False
            for inner, number in value.items():
                if inner not in known or type(number) is not int or not 0 <= number <= MOST_TOKENS:
                    return False
            counts += 1
        else:
            return False
    return counts == len(usage) and words.counts <= usage.keys()


def tokens(usage: Json, words: Words) -> Tokens | None:
    """Returns tokens in and out, or None when the provider does not say."""
    if not isinstance(usage, dict):
        return None
    given, made = count(usage.get(words.input)), count(usage.get(words.output, 0))
    return (given, made) if given is not None and made is not None else None


def count(value: Json) -> int | None:
    """Returns a number of tokens, or None for what cannot be one."""
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


_EXACT = UsageRule()


def _details(
    usage: Mapping[str, Json], allowed: tuple[str, frozenset[str]], shown: dict[str, Json]
) -> None:
    name, known = allowed
    details = usage.get(name)
    if isinstance(details, dict):
        shown[name] = {k: v for k, v in details.items() if k in known and count(v) is not None}


def _estimated(text: str) -> int:
    return _TOKENS_PER_MESSAGE + -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)
