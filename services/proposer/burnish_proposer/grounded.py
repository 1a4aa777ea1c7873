"""The built-in writer: a meta-model writes from everything that is known about the task."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from burnish_proposer.brief import Brief, Merge, Reflection
from burnish_proposer.context import Ask, Shown, render
from burnish_proposer.guards import Refusal, RefusalReason
from burnish_proposer.parse import EmptyAnswer, Unparsable, parse_instruction
from burnish_proposer.templates import load
from burnish_proposer.tiers import CONTEXT_PLANS
from burnish_proposer.writers import Draft, Meta
from burnish_runtime.llm.base import Completion
from burnish_runtime.llm.prompt_files import PromptFile, parse

NAME = "grounded"
_CUT_SHORT = ("length", "max_tokens")


class GroundedWriter:
    """Shows the meta-model as much of a brief as its effort allows, and reads the answer."""

    description: ClassVar[str] = (
        "Has a meta-model write out of all the evidence that a job has gathered."
    )

    async def write(self, brief: Brief, ask: Ask, meta: Meta) -> Draft:
        """Writes one instruction for a brief."""
        shown = await asyncio.to_thread(
            render, brief, ask, plan=CONTEXT_PLANS[brief.effort], prompt=_prompt(brief)
        )
        completion = await meta.ask(shown.messages, brief=brief, ask=ask)
        tip = ask.tip if ask.tip != "none" else ""
        try:
            parsed = parse_instruction(completion.text)
        except EmptyAnswer as error:
            return _nothing(RefusalReason.EMPTY, error, completion, shown)
        except Unparsable as error:
            return _nothing(RefusalReason.UNPARSABLE, error, completion, shown)
        return Draft(text=parsed.instruction, rationale=parsed.rationale, tip=tip, shown=shown)


def _prompt(brief: Brief) -> PromptFile:
    if brief.meta_prompt:
        return parse("custom", brief.meta_prompt)
    match brief.mode:
        case Reflection():
            return load("reflect")
        case Merge():
            return load("merge")
    return load("instruction")


def _nothing(
    reason: RefusalReason, error: ValueError, completion: Completion, shown: Shown
) -> Draft:
    message = f"{error}; answer with one JSON object that has an `instruction`"
    if completion.finish_reason in _CUT_SHORT:
        message = f"{error}; it ran into the output limit, so write less"
    return Draft(text="", refusal=Refusal(reason=reason, message=message), shown=shown)
