"""Part by part: each part of a long trace is read on its own, then what was found is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from burnish_verifier.judges.asking import Asker, Draw, Inquiry
from burnish_verifier.judges.brief import ANSWER_TOKENS, Brief, lines, together
from burnish_verifier.judges.material import as_text, block
from burnish_verifier.judges.replies import Verdicts, read_review, review_schema
from burnish_verifier.judges.single import examples
from burnish_verifier.judges.templates import load
from burnish_verifier.judges.trace import Entry, Material


async def review(brief: Brief, asker: Asker, draw: Draw) -> Verdicts:
    """Scores the outcome of a trace that is read in parts.

    Raises:
        BurnishError: There is no judgement; one part without an answer is enough for that.
    """
    found = await findings(brief, asker, draw)
    ids = brief.ids()
    inquiry = Inquiry(
        prompt=load("review"),
        blocks={
            **brief.blocks(vote=draw.vote),
            "examples": block("examples", examples(brief)),
            "findings": block("findings", found),
            "answer": brief.answer(max_tokens=ANSWER_TOKENS),
        },
        schema=review_schema(ids),
        task="reduce",
        max_output_tokens=brief.reply_tokens(len(ids)),
    )
    return await asker.ask(inquiry, draw=draw, read=lambda text: read_review(text, ids))


async def findings(brief: Brief, asker: Asker, draw: Draw) -> list[dict[str, Any]]:
    """Reads every part, and returns what was found as the rows of a block.

    Raises:
        BurnishError: One part has no answer.
    """
    parts = split(entries_of(brief.material), max_tokens=brief.part_tokens)
    found = await together(
        partial(_read, brief, asker, draw, part=part, place=(index, len(parts)))
        for index, part in enumerate(parts)
    )
    return [
        {"part": index, "id": name, "score": verdict.score, "reason": verdict.reason}
        for index, verdicts in enumerate(found, start=1)
        for name, verdict in verdicts.items()
        if verdict.score is not None
    ]


def entries_of(material: Material) -> tuple[Entry, ...]:
    """Returns the trace, or the output as its only entry when there is no trace."""
    if material.entries:
        return material.entries
    return (Entry(event=0, role="output", text=as_text(material.output)),)


def split(entries: Sequence[Entry], *, max_tokens: int) -> list[list[Entry]]:
    """Splits a trace into parts of at most so many tokens; a longer entry is cut into pieces.

    Nothing is lost: the texts of the parts, one after the other, are the texts of the entries.
    """
    parts: list[list[Entry]] = []
    room = 0
    for entry in entries:
        for piece in _pieces(entry, max_tokens=max_tokens):
            if not parts or piece.size > room:
                parts.append([])
                room = max_tokens
            parts[-1].append(piece)
            room -= piece.size
    return parts


def _pieces(entry: Entry, *, max_tokens: int) -> list[Entry]:
    if entry.size <= max_tokens:
        return [entry]
    overhead = entry.size - len(entry.text.encode()) // 4
    # A character has at most four bytes: so many of them always fit.
    width = max(max_tokens - overhead - 1, 1)
    texts = [entry.text[at : at + width] for at in range(0, len(entry.text), width)]
    return [replace(entry, text=text) for text in texts]


async def _read(
    brief: Brief, asker: Asker, draw: Draw, *, part: Sequence[Entry], place: tuple[int, int]
) -> Verdicts:
    ids = brief.ids()
    inquiry = Inquiry(
        prompt=load("part"),
        blocks={
            **brief.blocks(vote=draw.vote),
            "part": block("part", [{"part": place[0] + 1, "of": place[1]}]),
            "trace": block("trace", lines(part)),
        },
        schema=review_schema(ids, may_pass=True),
        task="part",
        max_output_tokens=brief.reply_tokens(len(ids)),
    )
    return await asker.ask(
        inquiry, draw=draw, read=lambda text: read_review(text, ids, may_pass=True)
    )
