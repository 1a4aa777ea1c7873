"""Judges the events of a trace one by one, several in one prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from burnish_verifier.judges.asking import Asker, Draw, Inquiry
from burnish_verifier.judges.brief import Brief, lines, shortened, together
from burnish_verifier.judges.material import block
from burnish_verifier.judges.replies import Verdicts, events_schema, read_events
from burnish_verifier.judges.single import examples
from burnish_verifier.judges.templates import load
from burnish_verifier.judges.trace import Entry

_MOST_SCORES: Final = 48


async def review(brief: Brief, asker: Asker, draw: Draw) -> list[Verdicts]:
    """Scores every event of the trace, in order.

    Raises:
        BurnishError: There is no judgement.
    """
    groups = grouped(
        brief.material.events(),
        most=max(_MOST_SCORES // len(brief.rubric.event_criteria), 1),
        max_tokens=brief.part_tokens,
    )
    found = await together(partial(_group, brief, asker, draw, group) for group in groups)
    scored = {number: verdicts for part in found for number, verdicts in part.items()}
    return [scored[number] for number in sorted(scored)]


def grouped(
    events: Sequence[Sequence[Entry]], *, most: int, max_tokens: int
) -> list[dict[int, Sequence[Entry]]]:
    """Returns events by their numbers, in groups of at most so many and so many tokens.

    An event that is larger than a group is one of its own.
    """
    groups: list[dict[int, Sequence[Entry]]] = []
    room = 0
    for number, entries in enumerate(events):
        size = sum(entry.size for entry in entries)
        if not groups or len(groups[-1]) == most or size > room:
            groups.append({})
            room = max_tokens
        groups[-1][number] = entries
        room -= size
    return groups


async def _group(
    brief: Brief, asker: Asker, draw: Draw, group: Mapping[int, Sequence[Entry]]
) -> Mapping[int, Verdicts]:
    ids, numbers = brief.ids(events=True), list(group)
    rows = []
    for number, entries in group.items():
        limit = max(brief.part_tokens // max(len(entries), 1), 1)
        rows += [
            {**row, "text": shortened(row["text"], max_tokens=limit)} for row in lines(entries)
        ] or [{"event": number, "role": "event", "text": ""}]
    inquiry = Inquiry(
        prompt=load("events"),
        blocks={
            **brief.blocks(vote=draw.vote, events=True),
            "examples": block("examples", examples(brief, events=True)),
            "events": block("events", rows),
        },
        schema=events_schema(ids, numbers),
        task="events",
        max_output_tokens=brief.reply_tokens(len(ids) * len(numbers)),
    )
    return await asker.ask(inquiry, draw=draw, read=lambda text: read_events(text, ids, numbers))
