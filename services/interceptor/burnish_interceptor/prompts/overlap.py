"""Measures how much of a pattern a text repeats, by the longest common subsequence of their tokens.

What stands in place of a wildcard does not count. What both begin and end with to the letter is not
searched, so that a long text with one change in it costs little, and what is searched is bounded:
of a long value of a wildcard only its ends are read, and two texts that differ throughout and are
too long are not compared at all. A text in which all sentences of a pattern without wildcards stand
in another order has all of it in common.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from burnish.templates import Binder, Part, Pattern, Wildcard

MAX_TOKENS = 1000
_MAX_CHARACTERS = 8_000
# A text with less than this share of a pattern's pairs of neighbouring tokens is not searched.
_MIN_SHARED = 0.3
_FEW_TOKENS = 16
# Scripts without spaces between words are read letter by letter.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]")


_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=。)|\n+")


class Tokens(NamedTuple):
    """Words and signs of a text in lower case.

    Attributes:
        found: The tokens.
        cut: Place among them where others were left out; None when all are there.
    """

    found: list[str]
    cut: int | None


Tokenise = Callable[[str], Tokens]


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a pattern and a text have in common, in tokens.

    Attributes:
        common: Tokens of both, in the same order.
        wanted: Tokens of the pattern's literals.
        given: Tokens of the text that no wildcard stands for.
        replaced: Words that one side has in place of words of the other, whichever is less; numbers
            and punctuation do not count. Words that were not compared count as replaced.
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


def tokens_of(text: str) -> Tokens:
    """Returns the tokens of a text, at most `MAX_TOKENS`; of a text too long its two ends."""
    if len(text) <= _MAX_CHARACTERS:
        found = _TOKEN.findall(text.lower())
        if len(found) <= MAX_TOKENS:
            return Tokens(found, None)
    half = MAX_TOKENS // 2
    first = _TOKEN.findall(text[: _MAX_CHARACTERS // 2].lower())[:half]
    last = _TOKEN.findall(text[-_MAX_CHARACTERS // 2 :].lower())[-half:]
    return Tokens(first + last, len(first))


class PatternTokens:
    """A pattern made ready to be compared with many texts."""

    __slots__ = ("_parts", "_read", "bind", "literal", "names")

    def __init__(self, pattern: Pattern, *, optional: Collection[str] = ()) -> None:
        """Takes the pattern, and the names of those wildcards that may be absent."""
        self.names = pattern.names
        #: The text that the pattern stands for, when it has no wildcards.
        self.literal = pattern.render({}) if not self.names else None
        #: Returns the wildcards' values when a text follows the pattern to the letter, else None.
        self.bind = Binder(pattern, optional=optional).bind
        self._parts = pattern.parts
        # Most patterns are never compared, so that their tokens need not be known.
        self._read: tuple[_Sought, Counter[str]] | None = None

    def count(self, most: int) -> int:
        """Returns how many tokens the literals have, or `most` when they have more."""
        texts = (part for part in self._parts if isinstance(part, str))
        tokens = (token for text in texts for token in _TOKEN.finditer(text))
        return sum(1 for _ in itertools.islice(tokens, most))

    def overlap(self, text: str, tokenise: Tokenise = tokens_of) -> Overlap:
        """Compares the pattern with a text."""
        if self._read is None:
            self._read = _Sought(self._parts), _sentences(self.literal or "")
        whole, sentences = self._read
        size = len(whole.tokens)
        if self.bind(text) is not None:
            return Overlap(size, size, size, 0)
        parts, rest = _without_ends(self._parts, text)
        sought = whole if parts is self._parts else _Sought(parts)
        kept = size - len(sought.tokens)
        common, extra, replaced = sought.compared(tokenise(rest))
        if replaced and sentences and len(text) <= _MAX_CHARACTERS:
            given = _sentences(text)
            if not sentences - given:
                # Everything is there, in another order.
                more = sum(len(_TOKEN.findall(one)) for one in (given - sentences).elements())
                return Overlap(size, size, size + more, 0)
        return Overlap(
            common=kept + common, wanted=size, given=kept + common + extra, replaced=replaced
        )


class _Sought:
    """Parts of a pattern, as tokens to be found in a text."""

    __slots__ = ("_gaps", "_pairs", "_places", "tokens")

    def __init__(self, parts: Sequence[Part]) -> None:
        self.tokens: list[str] = []
        gaps = set()
        for part in parts:
            if isinstance(part, Wildcard):
                gaps.add(len(self.tokens))
            else:
                self.tokens += _TOKEN.findall(part.lower())
        self._gaps = frozenset(gaps)
        self._pairs = Counter(itertools.pairwise(self.tokens))
        self._places = _places(self.tokens) if len(self.tokens) <= MAX_TOKENS else {}

    def compared(self, given: Tokens) -> tuple[int, int, int]:
        """Returns how many tokens are common, how many the text has besides, and are replaced."""
        wanted, found = self.tokens, given.found
        if len(wanted) > MAX_TOKENS or not self._shares(found):
            return 0, len(found), len(wanted)
        matches = _common(self._places, len(wanted), found)
        kept = {i for i, _ in matches}
        missing = _words(token for i, token in enumerate(wanted) if i not in kept)
        extra: list[str] = []
        unread = False
        ends = [(-1, -1), *matches, (len(wanted), len(found))]
        for (i, j), (next_i, next_j) in itertools.pairwise(ends):
            # A wildcard before token g is in gaps as g; what lies here spans tokens i+1 .. next_i.
            if any(g in self._gaps for g in range(i + 1, next_i + 1)):
                continue
            extra += found[j + 1 : next_j]
            unread = unread or (given.cut is not None and j < given.cut <= next_j)
        if unread:
            return len(matches), len(extra) + MAX_TOKENS, len(wanted)
        return len(matches), len(extra), min(missing, _words(extra))

    def _shares(self, found: Sequence[str]) -> bool:
        if len(self.tokens) < _FEW_TOKENS:
            return True
        shared = (self._pairs & Counter(itertools.pairwise(found))).total()
        return shared >= _MIN_SHARED * (len(self.tokens) - 1)


def _without_ends(parts: tuple[Part, ...], text: str) -> tuple[tuple[Part, ...], str]:
    """Returns a pattern and a text without the whole words that both begin and end with."""
    first = parts[0] if parts and isinstance(parts[0], str) else ""
    head = _alike(first, text)
    if head:
        parts, text = (first[head:], *parts[1:]), text[head:]
    last = parts[-1] if parts and isinstance(parts[-1], str) else ""
    tail = _alike(last[::-1], text[::-1])
    if tail:
        parts, text = (*parts[:-1], last[: len(last) - tail]), text[: len(text) - tail]
    return parts, text


def _alike(one: str, other: str) -> int:
    """Returns how many characters two texts begin with alike, up to the last space."""
    low, high = 0, min(len(one), len(other))
    if high == 0 or one[0] != other[0]:
        return 0
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return one.rfind(" ", 0, low) + 1


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Returns one longest common subsequence as pairs of indexes, ascending.

    Bit-parallel: a row of the table is one integer, so that 1,000 by 1,000 tokens take under 1 ms.
    """
    return _common(_places(a), len(a), b)


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


def _sentences(text: str) -> Counter[str]:
    """Returns the sentences of a text, without regard to space and case."""
    found = (" ".join(one.split()).lower() for one in _SENTENCE.split(text))
    return Counter(one for one in found if one)


def _words(tokens: Iterable[str]) -> int:
    return sum(1 for token in tokens if any(letter.isalpha() for letter in token))
