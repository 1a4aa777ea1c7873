"""What of a brief one meta-prompt shows: as much as the effort allows, and no more than fits.

What the user wrote is shown at every effort, the specification cut to the effort's share; evidence
that the job gathered grows with it. A block is written when the meta-prompt has a place for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from burnish_proposer.blocks import json_block, json_line, prose_block, tokens, word_block
from burnish_proposer.brief import Brief, Merge, Reflection
from burnish_proposer.evidence import (
    Line,
    choose_rows,
    demo_lines,
    examples_block,
    failure_lines,
    fitting,
    history_lines,
    parent_lines,
    reference_lines,
)
from burnish_proposer.tiers import ContextPlan
from burnish_proposer.tips import TIPS
from burnish_runtime.llm.base import ChatMessage
from burnish_runtime.llm.prompt_files import PromptFile

_BYTES_PER_TOKEN = 4
_CUT = "\n[cut]"
_PROSE_SHARE = 4  # program and specification may each take a quarter of the prompt
# Parts of what is left that a block may take; the labelled rows take the rest.
_SHARES = {"parents": 2, "failures": 4, "history": 4, "demos": 8, "avoid": 16, "references": 2}
_REFLECTION_FAILURES = 8  # a rewrite by what went wrong needs some of it at every effort


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A rendered meta-prompt, and what it holds.

    Attributes:
        messages: The messages.
        counts: Lines of each block.
        prompt_tokens: Tokens of all messages, as estimated.
    """

    messages: tuple[ChatMessage, ...]
    counts: dict[str, int]
    prompt_tokens: int

    @property
    def row_count(self) -> int:
        """Labelled rows in it."""
        return self.counts.get("examples", 0)

    @property
    def failure_count(self) -> int:
        """Failed rows in it."""
        return self.counts.get("failures", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What sets one call of a batch apart from the others.

    Attributes:
        variant: Number of the call in the batch, from 0; retries count on.
        tip: Name of the tip.
        max_tokens: Most tokens of the instruction.
        refused: Why the last answer for the same position was refused; empty at the first try.
        siblings: Instructions of the same batch that were taken, for a second try to differ from.
    """

    variant: int
    tip: str
    max_tokens: int
    refused: str = ""
    siblings: tuple[str, ...] = ()


def render(brief: Brief, ask: Ask, *, plan: ContextPlan, prompt: PromptFile) -> Shown:
    """Renders the meta-prompt of one candidate."""
    values = {name: text for name, text in _fixed(brief, ask, plan).items() if name in prompt.names}
    left = plan.prompt_tokens - tokens("".join(values.values()))
    left -= sum(tokens(text) for _, text in prompt.messages)
    counts: dict[str, int] = {}
    for name, lines in _evidence(brief, ask, plan).items():
        if name in prompt.names:
            found = lines(left // _SHARES[name])
            values[name] = json_block(name, found)
            left -= tokens(values[name])
            counts[name] = len(found)
    if "examples" in prompt.names:
        rng = random.Random(f"rows:{brief.random_seed}:{ask.variant}")  # noqa: S311
        rows = choose_rows(brief.examples, limit=plan.rows, max_tokens=left, rng=rng)
        values["examples"] = examples_block(rows)
        counts["examples"] = len(rows)
    messages = prompt.render(values)
    size = sum(tokens(message.content) for message in messages)
    return Shown(messages=messages, counts=counts, prompt_tokens=size)


def _evidence(
    brief: Brief, ask: Ask, plan: ContextPlan
) -> dict[str, Callable[[int], Sequence[Line]]]:
    """Returns what may be shown by block, the first served first."""
    parents = (brief.mode.first, brief.mode.second) if isinstance(brief.mode, Merge) else ()
    most_failures = plan.failures
    if isinstance(brief.mode, Reflection):
        most_failures = max(most_failures, _REFLECTION_FAILURES)
    avoided = ({"instruction": text} for text in brief.avoid[: plan.avoid])
    failures = failure_lines(brief.failures[:most_failures])
    history = history_lines(brief.history[: plan.history], ask.siblings)
    demos = demo_lines(brief.demos[: plan.demos])
    return {
        "parents": lambda most: fitting(parent_lines(parents), max_tokens=most),
        "failures": lambda most: fitting(failures, max_tokens=most),
        "history": lambda most: fitting(history, max_tokens=most),
        "demos": lambda most: fitting(demos, max_tokens=most),
        "avoid": lambda most: fitting(avoided, max_tokens=most),
        "references": lambda most: reference_lines(
            brief, max_tokens=min(most, plan.reference_tokens)
        ),
    }


def _fixed(brief: Brief, ask: Ask, plan: ContextPlan) -> dict[str, str]:
    most = plan.prompt_tokens // _PROSE_SHARE
    program = _prose(brief.program, min(most, plan.program_tokens))
    specification = _prose(brief.specification, min(most, plan.specification_tokens))
    task = "instruction"
    if brief.mode is not None:
        task = "merge" if isinstance(brief.mode, Merge) else "reflect"
    return {
        "task": word_block("task", task),
        "variant": word_block("variant", str(ask.variant)),
        "max_tokens": str(ask.max_tokens),
        "stage": prose_block("stage", _stage(brief)),
        "program": prose_block("program", program),
        "specification": prose_block("specification", specification),
        "dataset_summary": prose_block(
            "dataset_summary", brief.dataset_summary if plan.summary else ""
        ),
        "guidance": prose_block("guidance", brief.guidance),
        "placeholders": word_block("placeholders", json_line(list(brief.placeholders))),
        "protected": json_block("protected", [{"text": text} for text in brief.protected]),
        "current_instruction": _current(brief.base),
        "tip": prose_block("tip", TIPS[ask.tip]),
        "refused": prose_block("refused", ask.refused),
    }


def _prose(text: str, max_tokens: int) -> str:
    """Cuts prose to a number of tokens, counted in bytes as everywhere here."""
    data, size = text.encode(), _BYTES_PER_TOKEN * max_tokens
    if len(data) <= size:
        return text
    head = data[: max(size - len(_CUT.encode()), 0)].decode(errors="ignore")
    return head + _CUT if head else ""


def _stage(brief: Brief) -> str:
    lines = [f"Step `{brief.stage_id}` of the program."]
    lines += [text.strip() for text in (brief.module, brief.role) if text.strip()]
    others = [p for p in brief.patterns if p.role not in ("system", "developer")]
    if others:
        lines.append("The program sends these messages after the instruction:")
        lines.extend(json_line({"role": p.role, "content": p.text}) for p in others)
    return "\n".join(lines)


def _current(instruction: str) -> str:
    # The one block that is never left out: a program without an instruction has an empty one.
    return prose_block("current_instruction", instruction) or (
        "<current_instruction>\n</current_instruction>"
    )
