"""One batch of proposals: a writer writes, guards judge, what they refuse is asked for again.

Position 0 is the baseline, unchanged. The first tries of the other positions run side by side,
while their answers are judged in order of position, so that the outcome depends on nothing but the
brief and the answers. An answer that a guard refuses is asked for again under the next variant.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from burnish_proposer.brief import Brief, Merge
from burnish_proposer.context import Ask
from burnish_proposer.grounded import GroundedWriter
from burnish_proposer.guards import GuardRules, Guards, Refusal
from burnish_proposer.tiers import instruction_tokens
from burnish_proposer.tips import draw_tip
from burnish_proposer.writers import CallSettings, Draft, Meta, MetaModel, Writer

_CONCURRENT_CALLS = 4


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


class Batch:
    """Writes one batch of instructions.

    Attributes:
        shown: Most lines of each kind that one call was shown so far.
        prompt_tokens: Most tokens of one meta-prompt so far, as estimated.
    """

    def __init__(
        self,
        brief: Brief,
        *,
        model: MetaModel,
        settings: CallSettings,
        writer: Writer | None = None,
    ) -> None:
        """Prepares the batch; nothing is asked yet.

        Args:
            brief: What to write from.
            model: The meta-model.
            settings: How it is called.
            writer: Who writes; the built-in writer when None.
        """
        self.shown: dict[str, int] = {}
        self.prompt_tokens = 0
        self._brief = brief
        self._meta = Meta(settings=settings, model=model)
        self._writer: Writer = writer if writer is not None else GroundedWriter()
        self._gate = asyncio.Semaphore(_CONCURRENT_CALLS)

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
                draft = await task
                for attempt in range(1, self._brief.retry_limit + 2):
                    outcome = await asyncio.to_thread(_judge, draft, guards, index)
                    yield outcome
                    if isinstance(outcome, Proposed):
                        guards.learn(outcome.text)
                        taken.append(outcome.text)
                        break
                    if attempt <= self._brief.retry_limit:
                        draft = await self._ask(
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
        rows += [failure.input for failure in brief.failures]
        rows += [demo.input for demo in brief.demos]
        rows += [reference.text for reference in brief.references if reference.output]
        known = [tried.text for tried in brief.history] + list(brief.avoid)
        if isinstance(brief.mode, Merge):
            known += [brief.mode.first.tried.text, brief.mode.second.tried.text]
        return Guards(
            GuardRules(
                baseline=brief.baseline,
                placeholders=brief.placeholders,
                max_tokens=min(
                    instruction_tokens(brief.output_tier),
                    brief.max_tokens if brief.max_tokens is not None else 2**31,
                ),
                protected=brief.protected,
                duplicate_overlap=brief.duplicate_overlap,
                given=(brief.guidance, brief.specification, brief.base),
            ),
            rows=rows,
            known=[brief.base, *known],
        )

    async def _ask(self, variant: int, *, refused: str = "", siblings: Sequence[str] = ()) -> Draft:
        brief = self._brief
        # The answer is JSON with a rationale, so the instruction cannot have the whole limit.
        most = self._meta.settings.max_output_tokens * 9 // 10
        if brief.max_tokens is not None:
            most = min(most, brief.max_tokens)
        ask = Ask(
            variant=variant,
            tip=draw_tip(random_seed=brief.random_seed, variant=variant),
            max_tokens=most,
            refused=refused,
            siblings=tuple(siblings),
        )
        async with self._gate:
            draft = await self._writer.write(brief, ask, self._meta)
        if draft.shown is not None:
            self.prompt_tokens = max(self.prompt_tokens, draft.shown.prompt_tokens)
            for name, count in draft.shown.counts.items():
                self.shown[name] = max(self.shown.get(name, 0), count)
        return draft


def _judge(draft: Draft, guards: Guards, index: int) -> Proposed | Refused:
    found = draft.refusal if draft.refusal is not None else guards.check(draft.text)
    if found is not None:
        return Refused(index=index, refusal=found)
    return Proposed(index=index, text=draft.text, rationale=draft.rationale, tip=draft.tip)
