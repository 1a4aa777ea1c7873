"""Describes a data set: batch by batch, each call bettering the summary of the one before.

It stops early when the model says twice that a batch taught it nothing new, or repeats itself.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from burnish_proposer.blocks import prose_block, word_block
from burnish_proposer.brief import Example
from burnish_proposer.evidence import choose_rows, examples_block
from burnish_proposer.parse import EmptyAnswer, Unparsable, parse_summary
from burnish_proposer.templates import load
from burnish_proposer.writers import CallSettings, MetaModel
from burnish_runtime.llm.base import CompletionRequest

_ENOUGH = 2
_MAX_TOKENS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryLimits:
    """How much a summary may look at.

    Attributes:
        calls: Most calls, at least 1.
        batch_rows: Most rows per call, at least 1.
        max_tokens: Most tokens of all rows together.
    """

    calls: int
    batch_rows: int
    max_tokens: int


async def summarize(
    examples: Sequence[Example],
    *,
    model: MetaModel,
    settings: CallSettings,
    limits: SummaryLimits,
) -> str:
    """Returns a summary of the rows; empty when there are none, or no answer was usable.

    Args:
        examples: The rows.
        model: What writes.
        settings: How it is called.
        limits: How many calls may be made.
    """
    prompt = load("summary")
    summary, nothing_new = "", 0
    for number, batch in enumerate(_batches(examples, limits)):
        values = {
            "task": word_block("task", "summary"),
            "variant": word_block("variant", str(number)),
            "dataset_summary": prose_block("dataset_summary", summary),
            "examples": await asyncio.to_thread(examples_block, batch),
        }
        completion = await model.complete(
            CompletionRequest(
                model=settings.model,
                messages=prompt.render(values),
                max_output_tokens=min(settings.max_output_tokens, _MAX_TOKENS),
                temperature=settings.temperature,
                seed=number,
                json_mode=True,
            )
        )
        try:
            text, complete = parse_summary(completion.text)
        except (EmptyAnswer, Unparsable):
            # What the earlier batches gave still stands.
            continue
        nothing_new += int(complete or text == summary)
        summary = text
        if nothing_new >= _ENOUGH:
            break
    return summary


def _batches(examples: Sequence[Example], limits: SummaryLimits) -> list[list[Example]]:
    rows = choose_rows(
        examples,
        limit=limits.calls * limits.batch_rows,
        max_tokens=limits.max_tokens,
        rng=random.Random("summary"),  # noqa: S311
    )
    # Rows often come sorted by answer, so each batch takes every n-th of them.
    count = -(-len(rows) // limits.batch_rows)
    return [rows[first::count] for first in range(count)]
