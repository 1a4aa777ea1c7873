"""What an instruction has to pass before it is proposed.

Each guard looks at one thing and says, in words that hold nothing of the refused text, what is
wrong with it. The order is from cheap to dear.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from burnish_proposer.blocks import tokens

# A Chinese or Japanese character counts as a word, since nothing parts the words there.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
_PIECE = re.compile(rf"{_WORD.pattern}|[^\w\s]")
_MARK = re.compile(r"[^\w\s]")
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][\w.-]*)\}")
_NEAR = 0.97
_NEAR_WORDS = 8
_ROW_WORDS = 6


class RefusalReason(enum.StrEnum):
    """Why an answer is not taken; the names are those of `ProposalRefusal`."""

    PLACEHOLDER = "PLACEHOLDER"
    TOO_LONG = "TOO_LONG"
    DUPLICATE = "DUPLICATE"
    COPIES_ROW = "COPIES_ROW"
    UNPARSABLE = "UNPARSABLE"
    EMPTY = "EMPTY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A guard's answer.

    Attributes:
        reason: Which guard.
        message: What is wrong and what to do, without the refused text.
    """

    reason: RefusalReason
    message: str


class Guards:
    """The guards of one batch; what they let through becomes known to them."""

    def __init__(
        self,
        *,
        baseline: str,
        placeholders: Sequence[str],
        max_tokens: int,
        rows: Iterable[str],
        known: Iterable[str] = (),
    ) -> None:
        """Learns what instructions are held against.

        Args:
            baseline: The present instruction.
            placeholders: Names that every instruction has to hold.
            max_tokens: Most tokens, as estimated.
            rows: Inputs of the data.
            known: Instructions that were tried before.
        """
        self._required = tuple(dict.fromkeys(placeholders))
        self._allowed = frozenset(self._required) | set(placeholders_of(baseline))
        self._max_tokens = max_tokens
        self._known: list[Counter[str]] = []
        self._texts: set[str] = set()
        self._rows = _RowIndex(rows, exempt=baseline)
        for text in (baseline, *known):
            self.learn(text)

    def learn(self, text: str) -> None:
        """Makes a text known, so that a later one may not repeat it."""
        words = _words(text)
        self._known.append(Counter(words))
        self._texts.add(" ".join(words))

    def check(self, text: str) -> Refusal | None:
        """Returns why an instruction is refused, or None."""
        if not text.strip():
            return Refusal(reason=RefusalReason.EMPTY, message="the instruction is empty")
        return (
            self._placeholders(text)
            or self._length(text)
            or self._duplicate(text)
            or self._copied_row(text)
        )

    def _placeholders(self, text: str) -> Refusal | None:
        found = set(placeholders_of(text))
        missing = [name for name in self._required if name not in found]
        invented = sorted(found - self._allowed)
        problems = []
        if missing:
            problems.append(f"{_named(missing)} missing; keep each as it is, in braces")
        if invented:
            problems.append(f"{_named(invented)} made up; write no other word in single braces")
        if not problems:
            return None
        return Refusal(reason=RefusalReason.PLACEHOLDER, message="; ".join(problems))

    def _length(self, text: str) -> Refusal | None:
        size = tokens(text)
        if size <= self._max_tokens:
            return None
        return Refusal(
            reason=RefusalReason.TOO_LONG,
            message=f"about {size} tokens long; write at most {self._max_tokens}",
        )

    def _duplicate(self, text: str) -> Refusal | None:
        words = _words(text)
        counts = Counter(words)
        if " ".join(words) in self._texts:
            return Refusal(
                reason=RefusalReason.DUPLICATE,
                message="the same as an instruction that is known; write a different one",
            )
        if any(_nearly_equal(counts, known) for known in self._known):
            return Refusal(
                reason=RefusalReason.DUPLICATE,
                message="all but the same as an instruction that is known; change what it says",
            )
        return None

    def _copied_row(self, text: str) -> Refusal | None:
        count = self._rows.copied(text)
        if count == 0:
            return None
        rows = "a row" if count == 1 else f"{count} rows"
        return Refusal(
            reason=RefusalReason.COPIES_ROW,
            message=f"copies {rows} of the data whole; use phrases of a few words",
        )


def placeholders_of(text: str) -> list[str]:
    """Returns the names in single braces, in order, without repeats; `{{` and `}}` are literal."""
    names = (match.group(1) for match in _PLACEHOLDER.finditer(text))
    return list(dict.fromkeys(name for name in names if name is not None))


class _RowIndex:
    """Finds whole rows in a text by their first words."""

    def __init__(self, rows: Iterable[str], *, exempt: str) -> None:
        self._rows: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        for row in rows:
            pieces = _pieces(row)
            if sum(_MARK.fullmatch(piece) is None for piece in pieces) >= _ROW_WORDS:
                self._rows.setdefault(pieces[:_ROW_WORDS], set()).add(pieces)
        # What the program's own prompt quotes already, a better one may go on quoting.
        for pieces in self._found(exempt):
            self._rows[pieces[:_ROW_WORDS]].discard(pieces)

    def copied(self, text: str) -> int:
        """Returns how many different rows stand in a text whole."""
        return len(self._found(text))

    def _found(self, text: str) -> set[tuple[str, ...]]:
        pieces = _pieces(text)
        found = set()
        for start in range(len(pieces) - _ROW_WORDS + 1):
            for row in self._rows.get(pieces[start : start + _ROW_WORDS], ()):
                if pieces[start : start + len(row)] == row:
                    found.add(row)
        return found


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _pieces(text: str) -> tuple[str, ...]:
    # Marks count, so that a list of short phrases is not taken for a row that has the same words;
    # those at either end do not, since a quotation often drops them.
    pieces = _PIECE.findall(text.translate(_QUOTES).casefold())
    start, end = 0, len(pieces)
    while start < end and _MARK.fullmatch(pieces[start]):
        start += 1
    while end > start and _MARK.fullmatch(pieces[end - 1]):
        end -= 1
    return tuple(pieces[start:end])


def _nearly_equal(one: Counter[str], other: Counter[str]) -> bool:
    # In a long instruction one new rule is a small share of the words and yet a real change, so
    # two texts that differ by several words are never the same.
    size = one.total() + other.total()
    shared = (one & other).total()
    return size > 0 and 2 * shared / size >= _NEAR and size - 2 * shared < _NEAR_WORDS


def _named(names: Sequence[str]) -> str:
    listed = ", ".join(f"`{{{name}}}`" for name in names)
    return f"placeholder {listed} is" if len(names) == 1 else f"placeholders {listed} are"
