"""Compares the work with good answers, each in both orders, and places it between their rewards.

A judge that prefers whatever comes first says so in one order and takes it back in the other: what
it says in both counts half each, and how often the two differ is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from burnish_verifier.judges import map_reduce
from burnish_verifier.judges.asking import Asker, Draw, Inquiry
from burnish_verifier.judges.brief import Brief, example_rows, lines, shortened, together
from burnish_verifier.judges.material import Cleaner, block
from burnish_verifier.judges.replies import (
    Better,
    Verdict,
    Verdicts,
    comparison_schema,
    read_comparison,
)
from burnish_verifier.judges.templates import load
from burnish_verifier.steps import GoldExample

_SIDE_TOKENS: Final = 24_000
_FIRST: Final[Mapping[Better, float]] = {"first": 1.0, "equal": 0.5, "second": 0.0}
Comparison = Mapping[str, tuple[Better, str]]
Rows = Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """What comparisons came to.

    Attributes:
        verdicts: By criterion.
        comparisons: Pairs that were judged in both orders, each criterion on its own.
        flips: How many of them were judged differently in the two orders.
    """

    verdicts: Verdicts
    comparisons: int
    flips: int


async def review(brief: Brief, asker: Asker, draw: Draw) -> Contrast:
    """Scores the outcome by comparing it with every gold example.

    Raises:
        BurnishError: There is no judgement.
    """
    golds = brief.gold_examples
    work = await _work(brief, asker, draw)
    asked = [
        partial(_compare, brief, asker, draw, sides=(work, _gold(gold)), work_first=first)
        for gold in golds
        for first in (True, False)
    ]
    found = await together(asked)
    pairs = list(zip(golds, found[::2], found[1::2], strict=True))
    verdicts: dict[str, Verdict] = {}
    flips = 0
    for name in brief.ids():
        places, reasons = [], []
        for gold, first, second in pairs:
            one, other = _FIRST[first[name][0]], 1.0 - _FIRST[second[name][0]]
            flips += one != other
            places.append(placed(gold.gold_reward, (one + other) / 2))
            reasons.append(first[name][1])
        verdicts[name] = Verdict(score=sum(places) / len(places), reason=reasons[0])
    return Contrast(verdicts=verdicts, comparisons=len(pairs) * len(verdicts), flips=flips)


def placed(gold_reward: float, win: float) -> float:
    """Returns the score of work that wins so much over an answer with that reward.

    Args:
        gold_reward: In [0, 1].
        win: 1 for work that is better, 0.5 for as good, 0 for worse.

    Returns:
        The reward itself for work that is as good; from there up to 1, or down to 0.
    """
    if win >= 0.5:
        return gold_reward + (2 * win - 1) * (1 - gold_reward)
    return gold_reward * 2 * win


async def _compare(
    brief: Brief, asker: Asker, draw: Draw, *, sides: tuple[Rows, Rows], work_first: bool
) -> Comparison:
    ids = brief.ids()
    first, second = sides if work_first else (sides[1], sides[0])
    inquiry = Inquiry(
        prompt=load("compare"),
        blocks={
            **brief.blocks(vote=draw.vote),
            "first": block("first", first),
            "second": block("second", second),
        },
        schema=comparison_schema(ids),
        task="compare",
        max_output_tokens=brief.reply_tokens(len(ids)),
    )
    return await asker.ask(inquiry, draw=draw, read=lambda text: read_comparison(text, ids))


async def _work(brief: Brief, asker: Asker, draw: Draw) -> Rows:
    """Returns the work as it is, or what is found in its parts when it is too long for that."""
    rows: list[Any] = []
    if brief.material.has_output:
        rows.append({"answer": shortened(brief.material.output, max_tokens=_SIDE_TOKENS)})
    if sum(entry.size for entry in brief.material.entries) <= _SIDE_TOKENS:
        return rows + lines(brief.material.entries)
    return rows + await map_reduce.findings(brief, asker, draw)


def _gold(gold: GoldExample) -> Rows:
    # Its reward and the reasons for it are left out: they would tell which of the two is gold.
    cleaner = Cleaner()
    rows: list[Any] = []
    if gold.summary.strip():
        rows.append({"answer": cleaner.text(gold.summary)})
    if gold.session_trace:
        trace = example_rows(gold.session_trace, max_tokens=_SIDE_TOKENS)
        rows.append({"trace": cleaner.value(trace)})
    return rows
