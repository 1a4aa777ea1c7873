"""What writes instructions: the plug-in point of the proposer, and what a writer works with.

A writer is asked for one instruction at a time. What it returns is judged by the guards, and asked
for again under the next variant when it is refused; a writer need do neither. Equal briefs and asks
have to lead to equal calls of the meta-model, so that a repeated request replays what was paid for:
a writer draws its randomness from the brief's seed and the ask's variant alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

from burnish_proposer.brief import Brief
from burnish_proposer.context import Ask, Shown
from burnish_proposer.guards import Refusal
from burnish_runtime.llm.base import ChatMessage, Completion, CompletionRequest

_SEED_BITS = 0x7FFF_FFFF


class MetaModel(Protocol):
    """What answers; every call is booked in the call ledger."""

    async def complete(self, request: CompletionRequest) -> Completion:
        """Answers a request; equal requests of one batch have equal answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """How the meta-model is called.

    Attributes:
        model: The provider's model id.
        max_output_tokens: Most tokens of an answer.
        temperature: None leaves the provider's default.
    """

    model: str
    max_output_tokens: int
    temperature: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """The meta-model of one batch, as a writer calls it.

    Attributes:
        settings: How it is called.
    """

    settings: CallSettings
    model: MetaModel = field(repr=False)

    async def ask(self, messages: Sequence[ChatMessage], *, brief: Brief, ask: Ask) -> Completion:
        """Has the meta-model answer in JSON, and books it.

        Args:
            messages: The prompt.
            brief: What is written from.
            ask: What sets this call apart; its variant is part of the seed.

        Raises:
            BurnishError: The provider or the budget refused; nothing a writer should catch.
        """
        settings = self.settings
        return await self.model.complete(
            CompletionRequest(
                model=settings.model,
                messages=tuple(messages),
                max_output_tokens=settings.max_output_tokens,
                temperature=settings.temperature,
                seed=(brief.random_seed * 1_000_003 + ask.variant) & _SEED_BITS,
                json_mode=True,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a writer wrote.

    Attributes:
        text: The instruction; empty when there was none in the answer.
        rationale: Why it differs; may be empty.
        tip: Name of the tip that it was written under; empty for none.
        refusal: Why the answer held no instruction; None when it holds one.
        shown: What the meta-model was shown; None when it was not asked.
    """

    text: str = field(repr=False)
    rationale: str = field(default="", repr=False)
    tip: str = ""
    refusal: Refusal | None = None
    shown: Shown | None = field(default=None, repr=False)


@runtime_checkable
class Writer(Protocol):
    """Writes instructions. Registered under the entry point group `burnish.proposers`.

    The entry point names a callable without arguments, such as the class, that returns the writer.
    One writer serves many batches at once and keeps nothing between calls.

    Attributes:
        description: One sentence on how it writes.
    """

    description: ClassVar[str]

    async def write(self, brief: Brief, ask: Ask, meta: Meta) -> Draft:
        """Writes one instruction for a brief.

        Args:
            brief: What is known of the stage.
            ask: Which instruction of the batch, and why the last try was refused.
            meta: The meta-model; a writer may do without.
        """
