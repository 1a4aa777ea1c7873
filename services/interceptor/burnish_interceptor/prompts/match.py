"""Recognises the stage that a call belongs to, by how much of the stage's baseline it repeats.

A call is compared with every stage: messages are paired by role, and each pair by the longest
common subsequence of its tokens, where what stands in place of a wildcard does not count. The ratio
is 2 * common / (all tokens of both), with the system message counted twice. The best stage is taken
when it reaches `MIN_RATIO` and leads by `MIN_MARGIN`; a lone stage has to reach the ratio as well.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from burnish import templates
from burnish.templates import Wildcard
from burnish_interceptor.policies.policy import MessagePattern, Stage
from burnish_interceptor.prompts.edit import Message

MIN_RATIO = 0.6
MIN_MARGIN = 0.1
SYSTEM_WEIGHT = 2
MAX_TOKENS = 1500
_CACHE_SIZE = 1024
_WORD = re.compile(r"\w+|[^\w\s]")
SYSTEM_ROLES = frozenset({"system", "developer"})
Pairing = list[tuple[MessagePattern, int | None]]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Tokens in common, and tokens on both sides together."""

    common: int
    total: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """Ratio of every stage, best first."""

    scores: tuple[tuple[float, Stage], ...]

    @property
    def clear(self) -> Stage | None:
        """The stage that reaches the ratio and leads by the margin, or None."""
        if not self.scores or self.scores[0][0] < MIN_RATIO:
            return None
        if len(self.scores) > 1 and self.scores[0][0] - self.scores[1][0] < MIN_MARGIN:
            return None
        return self.scores[0][1]

    @property
    def tied(self) -> tuple[Stage, ...]:
        """The stages that reach the ratio and do not trail the best by the margin."""
        if not self.scores:
            return ()
        best = self.scores[0][0]
        return tuple(
            stage
            for ratio, stage in self.scores
            if ratio >= MIN_RATIO and best - ratio < MIN_MARGIN
        )


def pairs(stage: Stage, messages: Sequence[Message]) -> list[Pairing]:
    """Pairs a stage's patterns with messages by role and in order, from the front and the back.

    Messages without a pattern, such as the turns of a tool loop, are left out. A system pattern
    goes with the first system or developer message wherever it stands.

    Returns:
        The different pairings, the one from the front first. The index is None for a pattern that
        no message is left for.
    """
    first_system = next((i for i, m in enumerate(messages) if m.role in SYSTEM_ROLES), None)
    turns = [p for p in stage.messages if p.role not in SYSTEM_ROLES]
    indexes = [i for i, m in enumerate(messages) if m.role not in SYSTEM_ROLES]
    front = _in_order(turns, indexes, messages)
    back = _in_order(turns[::-1], indexes[::-1], messages)[::-1]
    pairings = []
    for chosen in [front] if front == back else [front, back]:
        rest = iter(chosen)
        pairings.append(
            [
                (pattern, first_system if pattern.role in SYSTEM_ROLES else next(rest))
                for pattern in stage.messages
            ]
        )
    return pairings


class Recogniser:
    """Ranks stages for calls, and remembers the overlaps of system messages."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[MessagePattern, str], Overlap] = OrderedDict()

    def rank(self, stages: Sequence[Stage], messages: Sequence[Message]) -> Ranking:
        """Returns every stage with its ratio, best first; equal ratios stay in the given order."""
        scored = [(self._ratio(stage, messages), stage) for stage in stages if stage.messages]
        return Ranking(tuple(sorted(scored, key=lambda pair: -pair[0])))

    def _ratio(self, stage: Stage, messages: Sequence[Message]) -> float:
        return max(
            self._pairing_ratio(stage, pairing, messages) for pairing in pairs(stage, messages)
        )

    def _pairing_ratio(
        self,
        stage: Stage,
        pairing: Pairing,
        messages: Sequence[Message],
    ) -> float:
        common = total = 0
        for pattern, index in pairing:
            weight = SYSTEM_WEIGHT if pattern.role in SYSTEM_ROLES else 1
            if index is None:
                total += weight * (1 + len(literal_tokens(pattern)))
                continue
            overlap = self._overlap(pattern, messages[index].text, stage.optional)
            common += weight * (1 + overlap.common)
            total += weight * (2 + overlap.total)
        return 2 * common / total if total else 0.0

    def _overlap(self, pattern: MessagePattern, text: str, optional: frozenset[str]) -> Overlap:
        if pattern.role not in SYSTEM_ROLES:
            return overlap(pattern, text, optional)
        key = (pattern, text)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = overlap(pattern, text, optional)
            if len(self._known) > _CACHE_SIZE:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return known


def overlap(pattern: MessagePattern, text: str, optional: frozenset[str]) -> Overlap:
    """Compares a pattern with a text; what its wildcards stand for does not count."""
    if templates.bind(pattern.pattern, text, optional=optional) is not None:
        count = len(literal_tokens(pattern))
        return Overlap(count, 2 * count)
    wanted, gaps = _tokens_and_gaps(pattern)
    given = _tokens(text)[:MAX_TOKENS]
    matches = common_subsequence(wanted, given)
    free = 0
    for (i, j), (next_i, next_j) in zip(
        [(-1, -1), *matches], [*matches, (len(wanted), len(given))], strict=True
    ):
        # A wildcard sits before token g when g is in gaps; the gap spans tokens i+1 .. next_i.
        if any(g in gaps for g in range(i + 1, next_i + 1)):
            free += next_j - j - 1
    return Overlap(len(matches), len(wanted) + len(given) - free)


def literal_tokens(pattern: MessagePattern) -> list[str]:
    """Returns the tokens of a pattern's literals."""
    return _tokens_and_gaps(pattern)[0]


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Returns one longest common subsequence as pairs of indexes, ascending.

    Bit-parallel: a row of the table is one integer, so that 1,500 by 1,500 tokens take 1.5 ms.
    """
    if not a or not b:
        return []
    where: dict[str, int] = {}
    for index, token in enumerate(a):
        where[token] = where.get(token, 0) | 1 << index
    full = (1 << len(a)) - 1
    state = full
    rows = []
    for token in b:
        hit = state & where.get(token, 0)
        state = ((state + hit) | (state - hit)) & full
        rows.append(state)
    found = []
    i, j = len(a), len(b)
    while i and j:
        if rows[j - 1] >> (i - 1) & 1:
            i -= 1
            continue
        j -= 1
        if j and not rows[j - 1] >> (i - 1) & 1:
            continue
        i -= 1
        found.append((i, j))
    return found[::-1]


def _in_order(
    patterns: Sequence[MessagePattern], indexes: Sequence[int], messages: Sequence[Message]
) -> list[int | None]:
    chosen: list[int | None] = []
    start = 0
    for pattern in patterns:
        at = next(
            (k for k in range(start, len(indexes)) if messages[indexes[k]].role == pattern.role),
            None,
        )
        chosen.append(None if at is None else indexes[at])
        start = start if at is None else at + 1
    return chosen


def _tokens(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _tokens_and_gaps(pattern: MessagePattern) -> tuple[list[str], set[int]]:
    tokens: list[str] = []
    gaps: set[int] = set()
    for part in pattern.pattern.parts:
        if isinstance(part, Wildcard):
            gaps.add(len(tokens))
        else:
            tokens += _tokens(part)
    tokens = tokens[:MAX_TOKENS]
    return tokens, {min(gap, len(tokens)) for gap in gaps}
