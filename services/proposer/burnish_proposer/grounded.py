"""Grounded proposals: a meta-model writes instructions from what is known about the task.

Position 0 is the baseline, unchanged. The calls of the other positions run side by side, while
their answers are judged in order of position, so that the outcome depends on nothing but the brief
and the model's answers. An answer that a guard refuses is asked for again under the next variant.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from burnish_proposer.brief import Brief
from burnish_proposer.context import Ask, Shown, render
from burnish_proposer.guards import Guards, Refusal, RefusalReason
from burnish_proposer.parse import EmptyAnswer, Parsed, Unparsable, parse_instruction
from burnish_proposer.templates import MetaPrompt, load
from burnish_proposer.tiers import CONTEXT_PLANS, instruction_tokens
from burnish_proposer.tips import draw_tip
from burnish_runtime.llm.base import Completion, CompletionRequest

_CONCURRENT_CALLS = 4
_SEED_BITS = 0x7FFF_FFFF


class MetaModel(Protocol):
    """What writes."""

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
class Proposed:
    """An instruction that passed the guards.

    Attributes:
        index: Position; 0 is the baseline.
        text: The instruction.
        rationale: Why it differs.
        tip: Name of the tip that it was written under; empty for none.
    """

    index: int
    text: str
    rationale: str = ""
    tip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An answer that a guard refused, at its position."""

    index: int
    refusal: Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """An answer of the meta-model, and what it was written from."""

    completion: Completion
    shown: Shown
    tip: str


class GroundedProposer:
    """Writes one batch of instructions."""

    def __init__(
        self,
        brief: Brief,
        *,
        model: MetaModel,
        settings: CallSettings,
        prompt: MetaPrompt | None = None,
    ) -> None:
        """Prepares the batch; nothing is asked yet.

        Args:
            brief: What to write from.
            model: What writes.
            settings: How it is called.
            prompt: The meta-prompt; the shipped one when None.
        """
        self._brief = brief
        self._model = model
        self._settings = settings
        self._prompt = prompt if prompt is not None else load("instruction")
        self._plan = CONTEXT_PLANS[brief.effort]
        self._gate = asyncio.Semaphore(_CONCURRENT_CALLS)
        self._rows_shown = 0
        self._failures_shown = 0

    @property
    def rows_shown(self) -> int:
        """Most labelled rows that one call was shown so far."""
        return self._rows_shown

    @property
    def failures_shown(self) -> int:
        """Most failed rows that one call was shown so far."""
        return self._failures_shown

    async def run(self) -> AsyncGenerator[Proposed | Refused, None]:
        """Yields the baseline, then the outcome of each position in order.

        A position whose every try was refused yields its refusals and no instruction.
        """
        yield Proposed(index=0, text=self._brief.baseline)
        guards = await asyncio.to_thread(self._guards)
        taken: list[str] = []
        first = [
            asyncio.create_task(self._ask(self._variant(index, 0)))
            for index in range(1, self._brief.count + 1)
        ]
        try:
            for index, task in enumerate(first, start=1):
                answer = await task
                for attempt in range(1, self._brief.retry_limit + 2):
                    outcome = await asyncio.to_thread(_judge, answer, guards, index)
                    yield outcome
                    if isinstance(outcome, Proposed):
                        guards.learn(outcome.text)
                        taken.append(outcome.text)
                        break
                    if attempt <= self._brief.retry_limit:
                        answer = await self._ask(
                            self._variant(index, attempt),
                            refused=outcome.refusal.message,
                            siblings=taken,
                        )
        finally:
            for task in first:
                task.cancel()
            await asyncio.gather(*first, return_exceptions=True)

    def _variant(self, index: int, attempt: int) -> int:
        return index - 1 + attempt * self._brief.count

    def _guards(self) -> Guards:
        brief = self._brief
        rows = [example.input for example in brief.examples]
        return Guards(
            baseline=brief.baseline,
            placeholders=brief.placeholders,
            max_tokens=instruction_tokens(brief.output_tier),
            rows=rows + [failure.input for failure in brief.failures],
            known=[tried.text for tried in brief.history],
        )

    async def _ask(
        self, variant: int, *, refused: str = "", siblings: Sequence[str] = ()
    ) -> _Answer:
        brief, settings = self._brief, self._settings
        tip = draw_tip(random_seed=brief.random_seed, variant=variant)
        # The answer is JSON with a rationale, so the instruction cannot have the whole limit.
        ask = Ask(
            variant=variant,
            tip=tip,
            max_tokens=settings.max_output_tokens * 9 // 10,
            refused=refused,
            siblings=tuple(siblings),
        )
        async with self._gate:
            shown = await asyncio.to_thread(
                render, brief, ask, plan=self._plan, prompt=self._prompt
            )
            completion = await self._model.complete(
                CompletionRequest(
                    model=settings.model,
                    messages=shown.messages,
                    max_output_tokens=settings.max_output_tokens,
                    temperature=settings.temperature,
                    seed=(brief.random_seed * 1_000_003 + variant) & _SEED_BITS,
                    json_mode=True,
                )
            )
        self._rows_shown = max(self._rows_shown, shown.row_count)
        self._failures_shown = max(self._failures_shown, shown.failure_count)
        return _Answer(completion=completion, shown=shown, tip=tip)


def _judge(answer: _Answer, guards: Guards, index: int) -> Proposed | Refused:
    parsed = _parsed(answer.completion)
    if isinstance(parsed, Refusal):
        return Refused(index=index, refusal=parsed)
    refusal = guards.check(parsed.instruction)
    if refusal is not None:
        return Refused(index=index, refusal=refusal)
    return Proposed(
        index=index,
        text=parsed.instruction,
        rationale=parsed.rationale,
        tip=answer.tip if answer.tip != "none" else "",
    )


def _parsed(completion: Completion) -> Parsed | Refusal:
    try:
        return parse_instruction(completion.text)
    except EmptyAnswer as error:
        return Refusal(reason=RefusalReason.EMPTY, message=_told(error, completion))
    except Unparsable as error:
        return Refusal(reason=RefusalReason.UNPARSABLE, message=_told(error, completion))


def _told(error: ValueError, completion: Completion) -> str:
    if completion.finish_reason in ("length", "max_tokens"):
        return f"{error}; it ran into the output limit, so write less"
    return f"{error}; answer with one JSON object that has an `instruction`"
