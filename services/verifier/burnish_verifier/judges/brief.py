"""What a judgement is made from, and the blocks that every prompt of it has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from burnish.rubrics import Criterion, Rubric
from burnish_verifier.judges.material import as_text, block, cut, hidden_note
from burnish_verifier.judges.trace import Entry, Material
from burnish_verifier.steps import CalibrationExample, GoldExample

ANSWER_TOKENS: Final = 4_000
PART_TOKENS: Final = 24_000
_REPLY_TOKENS: Final = 1_024
_REPLY_TOKENS_PER_SCORE: Final = 256
_MOST_REPLY_TOKENS: Final = 16_384
_TOGETHER: Final = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What a judgement is made from.

    Attributes:
        material: What is judged.
        rubric: What it is judged by.
        instructions: Further instructions of the graph's author.
        context: What the program is meant to do.
        calibration_examples: Judged traces to take the scale from.
        gold_examples: Good answers to compare with.
        part_tokens: Most tokens of the trace in one prompt, where it is read in parts.
        max_output_tokens: Most tokens of a reply; 0 takes what the number of scores needs.
    """

    material: Material = field(repr=False)
    rubric: Rubric
    instructions: str = field(default="", repr=False)
    context: str = field(default="", repr=False)
    calibration_examples: tuple[CalibrationExample, ...] = ()
    gold_examples: tuple[GoldExample, ...] = ()
    part_tokens: int = PART_TOKENS
    max_output_tokens: int = 0

    def ids(self, *, events: bool = False) -> list[str]:
        """Returns the ids of the criteria of the outcome, or of events."""
        criteria = self.rubric.event_criteria if events else self.rubric.criteria
        return [each.criterion_id for each in criteria]

    def reply_tokens(self, scores: int) -> int:
        """Returns the output limit of a reply with so many scores."""
        if self.max_output_tokens:
            return self.max_output_tokens
        return min(_REPLY_TOKENS + _REPLY_TOKENS_PER_SCORE * scores, _MOST_REPLY_TOKENS)

    def blocks(self, *, vote: int, events: bool = False) -> dict[str, str]:
        """Returns the blocks that every prompt of the judgement has.

        Args:
            vote: Which vote, from 0; criteria begin with another one in each.
            events: Whether events are judged, rather than the outcome.
        """
        criteria = self.rubric.event_criteria if events else self.rubric.criteria
        note = hidden_note(self.material.hidden)
        return {
            "instructions": block("instructions", _texts(self.instructions)),
            "goal": block("goal", _texts(self.rubric.goal)),
            "context": block("context", _texts(self.context)),
            "criteria": block("criteria", map(_criterion, rotated(criteria, vote))),
            "wanted": block(
                "wanted", [self.material.reference] if self.material.has_reference else []
            ),
            "notes": block("notes", [note] if note is not None else []),
        }

    def answer(self, *, max_tokens: int = 0) -> str:
        """Returns the block with the output; empty when there is none.

        Args:
            max_tokens: Where it is cut; 0 shows it whole.
        """
        if not self.material.has_output:
            return ""
        return block("answer", [shortened(self.material.output, max_tokens=max_tokens)])


def shortened(value: Any, *, max_tokens: int) -> Any:  # noqa: ANN401
    """Returns a JSON value, or its text cut to so many tokens when it is larger; 0 never cuts."""
    text = as_text(value)
    short = cut(text, max_tokens=max_tokens) if max_tokens else text
    return value if short == text else short


def rotated(items: Sequence[T], count: int) -> list[T]:
    """Returns items in their order, but beginning with another one."""
    start = count % len(items) if items else 0
    return [*items[start:], *items[:start]]


def lines(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Returns entries as the rows of a block."""
    return [{"event": each.event, "role": each.role, "text": each.text} for each in entries]


def example_rows(trace_text: str, *, max_tokens: int) -> Any:  # noqa: ANN401
    """Returns an example's trace as a JSON value, cut to so many tokens."""
    return shortened(json.loads(trace_text), max_tokens=max_tokens) if trace_text else None


async def together(waiting: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
    """Does things, a few side by side, and returns their results in order.

    The first that fails ends the others, and its error is raised.
    """
    gate = asyncio.Semaphore(_TOGETHER)

    async def one(start: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await start()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(each)) for each in waiting]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _criterion(each: Criterion) -> Mapping[str, object]:
    told: dict[str, object] = {"id": each.criterion_id, "description": each.description}
    return {**told, "required": True} if each.required else told


def _texts(text: str) -> list[str]:
    return [text] if text.strip() else []
