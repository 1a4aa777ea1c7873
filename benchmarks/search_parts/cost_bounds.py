"""The table of search_cost.py and what it is held to."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_ASK_BOUNDS = {100: 1.2, 1000: 2.0, 5000: 7.0}
_TELL_BOUND = 0.8
_BATCH_BOUND = 4.0
_OURS = "burnish"


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of every call at one length of history.

    Attributes:
        name: What was measured.
        trials: Trials in the history.
        asks: Asks of one suggestion.
        tells: Tells of one value.
        closes: Ends of a work, where that is a call of its own.
        batches: Asks of 16 suggestions.
    """

    name: str
    trials: int
    asks: Sequence[float]
    tells: Sequence[float]
    closes: Sequence[float]
    batches: Sequence[float]

    @property
    def ask(self) -> float:
        """Median ask in milliseconds."""
        return 1000 * statistics.median(self.asks)

    @property
    def tell(self) -> float:
        """Median tell in milliseconds."""
        return 1000 * statistics.median(self.tells)

    @property
    def close(self) -> float | None:
        """Median close in milliseconds; None where there is none."""
        return 1000 * statistics.median(self.closes) if self.closes else None

    @property
    def batch(self) -> float:
        """Median ask of 16 suggestions in milliseconds."""
        return 1000 * statistics.median(self.batches)

    def as_dict(self) -> dict[str, object]:
        """Returns the medians."""
        return {
            "name": self.name,
            "trials": self.trials,
            "ask_ms": self.ask,
            "ask_p90_ms": 1000 * sorted(self.asks)[int(0.9 * len(self.asks))],
            "tell_ms": self.tell,
            "close_ms": self.close,
            "batch_ms": self.batch,
            "batch_over_ask": self.batch / self.ask,
        }


def table(found: Sequence[Costs]) -> str:
    """Returns the table as Markdown."""
    lines = [
        "| | trials | ask ms | tell ms | close ms | 16 suggestions ms | 16 over one |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in sorted(found, key=lambda costs: (costs.trials, costs.name)):
        close = "" if one.close is None else f"{one.close:.2f}"
        lines.append(
            f"| {one.name} | {one.trials:,} | {one.ask:.2f} | {one.tell:.2f} | {close} "
            f"| {one.batch:.1f} | {one.batch / one.ask:.1f} |"
        )
    return "\n".join(lines) + "\n"


def missed(found: Sequence[Costs]) -> list[str]:
    """Returns the bounds that ours is over."""
    problems = []
    for one in found:
        if not one.name.startswith(_OURS):
            continue
        most = _ASK_BOUNDS.get(one.trials)
        if most is not None and one.ask > most:
            problems.append(f"ask at {one.trials} trials: {one.ask:.2f} ms, bound {most}")
        if one.tell > _TELL_BOUND:
            problems.append(f"tell at {one.trials} trials: {one.tell:.2f} ms, bound {_TELL_BOUND}")
        if one.batch > _BATCH_BOUND * one.ask:
            ratio = one.batch / one.ask
            problems.append(f"16 at {one.trials} trials: {ratio:.1f} asks, bound {_BATCH_BOUND}")
    return problems
