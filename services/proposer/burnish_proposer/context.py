"""What of a brief one meta-prompt shows: as much as the effort allows, and no more than fits.

Labelled rows are drawn evenly over their answers, so that a task with many classes shows each of
them. When not all rows fit, every candidate is shown a draw of its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from burnish_proposer.blocks import cut, json_block, json_line, prose_block, tokens, word_block
from burnish_proposer.brief import Brief, Example
from burnish_proposer.templates import MetaPrompt
from burnish_proposer.tiers import ContextPlan
from burnish_proposer.tips import TIPS
from burnish_runtime.llm.base import ChatMessage

_INPUT_CHARS = 6_000
_OUTPUT_CHARS = 2_000
_PROSE_SHARE = 4  # program and specification may each take a quarter of the prompt
_SIDE_SHARE = 4  # failures and history may each take a quarter of what is then left


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A rendered meta-prompt, and what it holds.

    Attributes:
        messages: The messages.
        row_count: Labelled rows in it.
        failure_count: Failed rows in it.
    """

    messages: tuple[ChatMessage, ...]
    row_count: int
    failure_count: int


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


def render(brief: Brief, ask: Ask, *, plan: ContextPlan, prompt: MetaPrompt) -> Shown:
    """Renders the meta-prompt of one candidate."""
    values = _fixed(brief, ask, plan)
    left = plan.prompt_tokens - tokens("".join(values.values()))
    left -= sum(tokens(text) for _, text in prompt.messages)
    failures = _fitting(
        (
            {
                "input": cut(row.input, max_chars=_INPUT_CHARS),
                "expected": cut(row.expected, max_chars=_OUTPUT_CHARS),
                "got": cut(row.actual, max_chars=_OUTPUT_CHARS),
            }
            for row in brief.failures[: plan.failures]
        ),
        max_tokens=left // _SIDE_SHARE,
    )
    history = _fitting(_history(brief, ask, plan), max_tokens=left // _SIDE_SHARE)
    values["failures"] = json_block("failures", failures)
    values["history"] = json_block("history", history)
    left -= tokens(values["failures"]) + tokens(values["history"])
    rng = random.Random(f"rows:{brief.random_seed}:{ask.variant}")  # noqa: S311
    rows = choose_rows(brief.examples, limit=plan.rows, max_tokens=left, rng=rng)
    values["examples"] = examples_block(rows)
    return Shown(messages=prompt.render(values), row_count=len(rows), failure_count=len(failures))


def choose_rows(
    examples: Sequence[Example], *, limit: int, max_tokens: int, rng: random.Random
) -> list[Example]:
    """Chooses rows evenly over their answers, in the order in which they were given.

    Args:
        examples: All rows.
        limit: Most rows.
        max_tokens: Most tokens of the chosen rows.
        rng: Decides which rows of an answer are taken, when not all are.
    """
    groups: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        groups.setdefault(example.output, []).append(index)
    # Answers that hardly ever repeat are no classes: all rows are then one group.
    members = list(groups.values())
    if 2 * len(groups) > len(examples):
        members = [list(range(len(examples)))]
    for indices in members:
        rng.shuffle(indices)
    chosen: list[int] = []
    for index in chain.from_iterable(zip_longest(*members)):
        if index is None:
            continue
        max_tokens -= tokens(json_line(_row(examples[index])))
        if len(chosen) == limit or max_tokens < 0:
            break
        chosen.append(index)
    return [examples[index] for index in sorted(chosen)]


def examples_block(rows: Sequence[Example]) -> str:
    """Returns the block of labelled rows; empty for none."""
    return json_block("examples", [_row(row) for row in rows])


def _fixed(brief: Brief, ask: Ask, plan: ContextPlan) -> dict[str, str]:
    most = 4 * plan.prompt_tokens // _PROSE_SHARE
    program = cut(brief.program, max_chars=most) if plan.program else ""
    specification = cut(brief.specification, max_chars=most) if plan.program else ""
    return {
        "task": word_block("task", "instruction"),
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
        "current_instruction": _current(brief.baseline),
        "tip": prose_block("tip", TIPS[ask.tip]),
        "refused": prose_block("refused", ask.refused),
        "examples": "",
        "failures": "",
        "history": "",
    }


def _stage(brief: Brief) -> str:
    lines = [f"Step `{brief.stage_id}` of the program."]
    if brief.role.strip():
        lines.append(brief.role.strip())
    others = [p for p in brief.patterns if p.role not in ("system", "developer")]
    if others:
        lines.append("The program sends these messages after the instruction:")
        lines.extend(json_line({"role": p.role, "content": p.text}) for p in others)
    return "\n".join(lines)


def _history(brief: Brief, ask: Ask, plan: ContextPlan) -> list[dict[str, object]]:
    siblings: list[dict[str, object]] = [
        {"instruction": text, "reward": None, "n": 0} for text in ask.siblings
    ]
    return siblings + [
        {"instruction": tried.text, "reward": round(tried.reward, 4), "n": tried.row_count}
        for tried in brief.history[: plan.history]
    ]


def _current(baseline: str) -> str:
    # The one block that is never left out: a program without an instruction has an empty one.
    return prose_block("current_instruction", baseline) or (
        "<current_instruction>\n</current_instruction>"
    )


def _row(example: Example) -> dict[str, str]:
    return {
        "input": cut(example.input, max_chars=_INPUT_CHARS),
        "output": cut(example.output, max_chars=_OUTPUT_CHARS),
    }


def _fitting(
    rows: Iterable[Mapping[str, object]], *, max_tokens: int
) -> list[Mapping[str, object]]:
    fitting = []
    for row in rows:
        max_tokens -= tokens(json_line(row))
        if max_tokens < 0:
            break
        fitting.append(row)
    return fitting
