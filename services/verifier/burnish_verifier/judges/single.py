"""One prompt with the whole trace, with or without judged examples."""

from __future__ import annotations

from typing import Any, Final

from burnish_verifier.judges.asking import Asker, Draw, Inquiry
from burnish_verifier.judges.brief import Brief, example_rows, lines
from burnish_verifier.judges.material import Cleaner, block
from burnish_verifier.judges.replies import Verdicts, read_review, review_schema
from burnish_verifier.judges.templates import load

_EXAMPLE_TOKENS: Final = 4_000


async def review(brief: Brief, asker: Asker, draw: Draw) -> Verdicts:
    """Scores the outcome in one call.

    Raises:
        BurnishError: There is no judgement.
    """
    ids = brief.ids()
    inquiry = Inquiry(
        prompt=load("review"),
        blocks={
            **brief.blocks(vote=draw.vote),
            "examples": block("examples", examples(brief)),
            "trace": block("trace", lines(brief.material.entries)),
            "answer": brief.answer(),
        },
        schema=review_schema(ids),
        task="review",
        max_output_tokens=brief.reply_tokens(len(ids)),
    )
    return await asker.ask(inquiry, draw=draw, read=lambda text: read_review(text, ids))


def examples(brief: Brief, *, events: bool = False) -> list[dict[str, Any]]:
    """Returns judged examples as the rows of a block.

    Args:
        brief: What the judgement is made from.
        events: Whether events are judged: examples without rewards of theirs are left out.
    """
    rows = []
    for each in brief.calibration_examples:
        if events and not each.event_rewards:
            continue
        row: dict[str, Any] = {
            "trace": Cleaner().value(example_rows(each.session_trace, max_tokens=_EXAMPLE_TOKENS)),
            "outcome_reward": each.outcome_reward,
        }
        if events:
            row["event_rewards"] = list(each.event_rewards)
        rows.append(row)
    return rows
