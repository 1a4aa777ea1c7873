"""Reads a long trace through tools, step by step, within a budget of tokens, and then scores it.

Every prompt holds all that was read so far, so both the next step and the conclusion grow with what
is read. A tool's result is made no larger than what still leaves room for the conclusion, asked
twice over: a judgement that was begun is always brought to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from burnish_verifier.judges.asking import TRIES, Asker, Draw, Inquiry, JudgeReplyInvalid
from burnish_verifier.judges.brief import ANSWER_TOKENS, Brief
from burnish_verifier.judges.library import Library, Row
from burnish_verifier.judges.map_reduce import entries_of
from burnish_verifier.judges.material import block
from burnish_verifier.judges.replies import (
    Quote,
    Step,
    Verdicts,
    read_review_with_quotes,
    read_step,
    review_schema,
    step_schema,
)
from burnish_verifier.judges.single import examples
from burnish_verifier.judges.templates import load

_MOST_STEPS: Final = 40
_STEP_TOKENS: Final = 1_024
_LARGEST_RESULT: Final = 24_000
_SMALLEST_RESULT: Final = 200
_OPENING: Final = 4_000
_INVALID_STEPS: Final = 2
_QUOTE_SCORES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a reading judge came to.

    Attributes:
        verdicts: By criterion.
        quotes: Places that are in the trace as they were quoted, with the step that showed them.
        false_quotes: Places that the judge named and that are not in the trace.
        steps: Steps that it took.
    """

    verdicts: Verdicts
    quotes: tuple[tuple[Quote, int], ...] = ()
    false_quotes: int = 0
    steps: int = 0


@dataclass(slots=True)
class _Desk:
    """What lies before the judge."""

    brief: Brief
    library: Library
    draw: Draw
    read: list[Row] = field(default_factory=list)
    shown_at: dict[int, int] = field(default_factory=dict)
    steps: int = 0

    def put(self, rows: Sequence[Row]) -> None:
        """Lays rows on the desk."""
        for row in rows:
            self.read.append({"step": self.steps, **row})
            if "text" in row or "opening" in row:
                self.shown_at.setdefault(int(row["entry"]), self.steps)

    def blocks(self) -> dict[str, str]:
        """Returns the blocks of both prompts."""
        return {
            **self.brief.blocks(vote=self.draw.vote),
            "answer": self.brief.answer(max_tokens=ANSWER_TOKENS),
            "overview": block("overview", [self.library.overview()]),
            "read": block("read", self.read),
        }

    def next_step(self, left: int) -> Inquiry:
        """Returns the question for the next step."""
        return Inquiry(
            prompt=load("explore"),
            blocks={**self.blocks(), "left": block("left", [{"tokens": max(left, 0)}])},
            schema=step_schema(),
            task="explore",
            max_output_tokens=_STEP_TOKENS,
        )

    def conclusion(self) -> Inquiry:
        """Returns the question for the scores."""
        ids = self.brief.ids()
        return Inquiry(
            prompt=load("conclude"),
            blocks={**self.blocks(), "examples": block("examples", examples(self.brief))},
            schema=review_schema(ids, quotes=True),
            task="conclude",
            max_output_tokens=self.brief.reply_tokens(len(ids) + _QUOTE_SCORES),
        )


async def review(brief: Brief, asker: Asker, draw: Draw) -> Reading:
    """Scores the outcome of a trace that the judge reads as it likes.

    Raises:
        JudgeBudgetExhausted: The budget does not even hold the rubric and the answer.
        BurnishError: There is no judgement.
    """
    entries = entries_of(brief.material)
    desk = _Desk(brief=brief, library=Library(entries), draw=draw)
    last = Step(kind="read", entry=len(entries) - 1)
    for step in (Step(kind="list"), last):
        desk.put(desk.library.do(step, max_bytes=min(_OPENING, _room(desk, asker))))
    refusals = 0
    while desk.steps < _MOST_STEPS and _room(desk, asker) >= _SMALLEST_RESULT:
        desk.steps += 1
        try:
            step = await asker.ask(
                desk.next_step(asker.purse.left), draw=draw, read=read_step, tries=1
            )
        except JudgeReplyInvalid:
            refusals += 1
            if refusals == _INVALID_STEPS:
                break
            # Another prompt, so that the answer is not the one that was paid for already.
            desk.put([{"found": 0, "refused": "that was no step"}])
            continue
        if step.kind == "answer":
            break
        desk.put(_asked(step, desk.library.do(step, max_bytes=_room(desk, asker))))
    return await _concluded(desk, asker)


async def _concluded(desk: _Desk, asker: Asker) -> Reading:
    ids = desk.brief.ids()
    verdicts, quotes = await asker.ask(
        desk.conclusion(),
        draw=desk.draw,
        read=lambda text: read_review_with_quotes(text, ids),
    )
    true = [quote for quote in quotes if desk.library.holds(quote.entry, quote.text)]
    return Reading(
        verdicts=verdicts,
        quotes=tuple((quote, desk.shown_at.get(quote.entry, desk.steps)) for quote in true),
        false_quotes=len(quotes) - len(true),
        steps=desk.steps,
    )


def _room(desk: _Desk, asker: Asker) -> int:
    """Returns how many bytes the next result may have; what is negative means none at all.

    Besides the result itself, the budget has to hold one more step, and the conclusion as often as
    it may be asked. Each of them repeats the result.
    """
    left = asker.purse.left
    step = asker.most_tokens(desk.next_step(left), desk.draw)
    conclusion = asker.most_tokens(desk.conclusion(), desk.draw)
    # What says why a reply was refused, and the digits of what is left.
    slack = 200 * (1 + TRIES)
    free = left - 2 * step - TRIES * conclusion - slack
    return min(free // (1 + TRIES), _LARGEST_RESULT)


def _asked(step: Step, rows: Sequence[Row]) -> list[dict[str, Any]]:
    first = {"asked": step.kind, "for": step.text} if step.kind == "search" else {}
    return [{**first, **row} for row in rows]
