"""Measures how much of a pattern a text repeats, by the longest common subsequence of their tokens.

What stands in place of a wildcard does not count. Long texts are measured by their two ends, so
that the cost is bounded whatever an app sends.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from burnish.templates import Binder, Pattern, Wildcard

MAX_TOKENS = 1000
_MAX_CHARACTERS = 8_000
# A text with less than this share of a pattern's tokens, in whatever order, is not looked at
# further.
_MIN_SHARED = 0.5
# Scripts without spaces between words are read letter by letter.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a pattern and a text have in common, in tokens.

    Attributes:
        common: Tokens of both, in the same order.
        wanted: Tokens of the pattern's literals.
        given: Tokens of the text that no wildcard stands for.
        replaced: Words that one side has in place of words of the other, whichever is less; numbers
            and punctuation do not count.
    """

    common: int
    wanted: int
    given: int
    replaced: int

    @property
    def ratio(self) -> float:
        """Share of both sides' tokens that is common; 1 when there are none."""
        total = self.wanted + self.given
        return 2 * self.common / total if total else 1.0

    @property
    def recall(self) -> float:
        """Share of the pattern's tokens that is in the text; 1 when it has none."""
        return self.common / self.wanted if self.wanted else 1.0


class PatternTokens:
    """A pattern made ready to be compared with many texts."""

    __slots__ = ("_bag", "_gaps", "_places", "bind", "literal", "names", "tokens")

    def __init__(self, pattern: Pattern, *, optional: Collection[str] = ()) -> None:
        """Takes the pattern, and the names of those wildcards that may be absent."""
        self.names = pattern.names
        #: The text that the pattern stands for, when it has no wildcards.
        self.literal = pattern.render({}) if not self.names else None
        #: Returns the wildcards' values when a text follows the pattern to the letter, else None.
        self.bind = Binder(pattern, optional=optional).bind
        self.tokens, self._gaps = _tokens_and_gaps(pattern)
        self._places = _places(self.tokens)
        self._bag = Counter(self.tokens)

    def overlap(self, text: str) -> Overlap:
        """Compares the pattern with a text."""
        return self.overlap_of(text, tokens_of(text))

    def overlap_of(self, text: str, given: Sequence[str]) -> Overlap:
        """Compares the pattern with a text whose tokens are known."""
        wanted = self.tokens
        if self.bind(text) is not None:
            return Overlap(len(wanted), len(wanted), len(wanted), 0)
        shared = (self._bag & Counter(given)).total()
        if shared < _MIN_SHARED * len(wanted):
            return Overlap(shared, len(wanted), len(given), len(wanted) - shared)
        matches = self._matches(given)
        kept = {i for i, _ in matches}
        missing = [token for i, token in enumerate(wanted) if i not in kept]
        extra: list[str] = []
        ends = [(-1, -1), *matches, (len(wanted), len(given))]
        for (i, j), (next_i, next_j) in itertools.pairwise(ends):
            # A wildcard before token g is in gaps as g; what lies here spans tokens i+1 .. next_i.
            if next_j - j > 1 and not any(g in self._gaps for g in range(i + 1, next_i + 1)):
                extra += given[j + 1 : next_j]
        return Overlap(
            common=len(matches),
            wanted=len(wanted),
            given=len(matches) + len(extra),
            replaced=min(_words(missing), _words(extra)),
        )

    def _matches(self, given: Sequence[str]) -> list[tuple[int, int]]:
        """Returns a longest common subsequence; what begins and ends alike is not searched."""
        wanted = self.tokens
        least = min(len(wanted), len(given))
        head = 0
        while head < least and wanted[head] == given[head] and head not in self._gaps:
            head += 1
        tail = 0
        while (
            tail < least - head
            and wanted[-1 - tail] == given[-1 - tail]
            and len(wanted) - tail not in self._gaps
        ):
            tail += 1
        if head == 0 and tail == 0:
            return _common(self._places, len(wanted), given)
        middle = common_subsequence(
            wanted[head : len(wanted) - tail], given[head : len(given) - tail]
        )
        return [
            *((i, i) for i in range(head)),
            *((i + head, j + head) for i, j in middle),
            *((len(wanted) - k, len(given) - k) for k in range(tail, 0, -1)),
        ]


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Returns one longest common subsequence as pairs of indexes, ascending.

    Bit-parallel: a row of the table is one integer, so that 1,000 by 1,000 tokens take under 1 ms.
    """
    return _common(_places(a), len(a), b)


def tokens_of(text: str) -> list[str]:
    """Returns the words and signs of a text in lower case, at most `MAX_TOKENS`.

    Of a text that is too long its two ends are kept.
    """
    if len(text) > _MAX_CHARACTERS:
        text = f"{text[: _MAX_CHARACTERS // 2]} {text[-_MAX_CHARACTERS // 2 :]}"
    return _ends(_TOKEN.findall(text.lower()))


def _common(places: dict[str, int], size: int, b: Sequence[str]) -> list[tuple[int, int]]:
    if not size or not b:
        return []
    full = (1 << size) - 1
    state = full
    rows = []
    for token in b:
        hit = state & places.get(token, 0)
        state = ((state + hit) | (state - hit)) & full
        rows.append(state)
    found = []
    i, j = size, len(b)
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


def _places(tokens: Sequence[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for index, token in enumerate(tokens):
        places[token] = places.get(token, 0) | 1 << index
    return places


def _tokens_and_gaps(pattern: Pattern) -> tuple[list[str], frozenset[int]]:
    tokens: list[str] = []
    gaps: set[int] = set()
    for part in pattern.parts:
        if isinstance(part, Wildcard):
            gaps.add(len(tokens))
        else:
            tokens += _TOKEN.findall(part.lower())
    cut = len(tokens) - MAX_TOKENS
    if cut <= 0:
        return tokens, frozenset(gaps)
    half = MAX_TOKENS // 2
    # A gap in what was cut out stays between the two ends.
    moved = {min(gap, half) if gap < half + cut else gap - cut for gap in gaps}
    return _ends(tokens), frozenset(moved)


def _ends(tokens: list[str]) -> list[str]:
    if len(tokens) <= MAX_TOKENS:
        return tokens
    return tokens[: MAX_TOKENS // 2] + tokens[-MAX_TOKENS // 2 :]


def _words(tokens: Iterable[str]) -> int:
    return sum(1 for token in tokens if any(letter.isalpha() for letter in token))
