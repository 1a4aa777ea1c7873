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
from burnish_proposer.injections import InjectionScan
from burnish_proposer.leaks import RUN_WORDS, RowIndex

# A Chinese or Japanese character counts as a word, since nothing parts the words there.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_][\w.-]*)\}")
_NEAR = 0.97
_NEAR_WORDS = 8


class RefusalReason(enum.StrEnum):
    """Why an answer is not taken; the names are those of `ProposalRefusal`."""

    PLACEHOLDER = "PLACEHOLDER"
    TOO_LONG = "TOO_LONG"
    DUPLICATE = "DUPLICATE"
    COPIES_ROW = "COPIES_ROW"
    UNPARSABLE = "UNPARSABLE"
    EMPTY = "EMPTY"
    PROTECTED_TEXT = "PROTECTED_TEXT"
    LEAKS_TEXT = "LEAKS_TEXT"
    INJECTION = "INJECTION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A guard's answer.

    Attributes:
        reason: Which guard.
        message: What is wrong and what to do, without the refused text.
    """

    reason: RefusalReason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRules:
    """What instructions are held against.

    Attributes:
        baseline: The program's own instruction.
        placeholders: Names that every instruction has to hold, in braces.
        max_tokens: Most tokens, as estimated.
        protected: Texts that every instruction has to hold word for word.
        duplicate_overlap: Share of common words, in (0, 1], from which two instructions are the
            same; None is 0.97 with fewer than eight words apart.
        given: What the user wrote; an instruction may quote it, whatever it says.
    """

    baseline: str
    placeholders: Sequence[str] = ()
    max_tokens: int = 25_000
    protected: Sequence[str] = ()
    duplicate_overlap: float | None = None
    given: Sequence[str] = ()


class Guards:
    """The guards of one batch; what they let through becomes known to them."""

    def __init__(
        self, rules: GuardRules, *, rows: Iterable[str] = (), known: Iterable[str] = ()
    ) -> None:
        """Learns what instructions are held against.

        Args:
            rules: The rules of the batch.
            rows: Inputs of the data.
            known: Instructions that were tried before.
        """
        self._rules = rules
        self._required = tuple(dict.fromkeys(rules.placeholders))
        self._allowed = frozenset(self._required) | set(placeholders_of(rules.baseline))
        self._known: list[Counter[str]] = []
        self._texts: set[str] = set()
        allowed = (rules.baseline, *rules.given, *rules.protected)
        self._rows = RowIndex(rows, exempt=allowed)
        self._injections = InjectionScan(exempt=allowed)
        for text in dict.fromkeys((rules.baseline, *known)):
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
            or self._changed_region(text)
            or self._duplicate(text)
            or self._injection(text)
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
        if size <= self._rules.max_tokens:
            return None
        return Refusal(
            reason=RefusalReason.TOO_LONG,
            message=f"about {size} tokens long; write at most {self._rules.max_tokens}",
        )

    def _changed_region(self, text: str) -> Refusal | None:
        flat = _flat(text)
        changed = [
            place
            for place, region in enumerate(self._rules.protected, start=1)
            if _flat(region) not in flat
        ]
        if not changed:
            return None
        listed = ", ".join(str(place) for place in changed)
        noun = "region" if len(changed) == 1 else "regions"
        return Refusal(
            reason=RefusalReason.PROTECTED_TEXT,
            message=(
                f"protected {noun} {listed} of {len(self._rules.protected)} missing or changed;"
                " keep each word for word"
            ),
        )

    def _injection(self, text: str) -> Refusal | None:
        found = self._injections.found(text)
        if not found:
            return None
        return Refusal(
            reason=RefusalReason.INJECTION,
            message=f"holds {', '.join(found)}; write what the step has to do, and nothing else",
        )

    def _duplicate(self, text: str) -> Refusal | None:
        words = _words(text)
        counts = Counter(words)
        if " ".join(words) in self._texts:
            return Refusal(
                reason=RefusalReason.DUPLICATE,
                message="the same as an instruction that is known; write a different one",
            )
        if any(self._same(counts, known) for known in self._known):
            return Refusal(
                reason=RefusalReason.DUPLICATE,
                message="all but the same as an instruction that is known; change what it says",
            )
        return None

    def _same(self, one: Counter[str], other: Counter[str]) -> bool:
        size = one.total() + other.total()
        if size == 0:
            return False
        shared = (one & other).total()
        overlap = 2 * shared / size
        if self._rules.duplicate_overlap is not None:
            return overlap >= self._rules.duplicate_overlap
        # In a long instruction one new rule is a small share of the words and yet a real change, so
        # two texts that differ by several words are never the same.
        return overlap >= _NEAR and size - 2 * shared < _NEAR_WORDS

    def _copied_row(self, text: str) -> Refusal | None:
        copied, leaked = self._rows.copied(text)
        if copied:
            rows = "a row" if copied == 1 else f"{copied} rows"
            return Refusal(
                reason=RefusalReason.COPIES_ROW,
                message=f"copies {rows} of the data whole; use phrases of a few words",
            )
        if leaked:
            runs = "a run" if leaked == 1 else f"{leaked} runs"
            return Refusal(
                reason=RefusalReason.LEAKS_TEXT,
                message=f"holds {runs} of {RUN_WORDS} words or more out of the data's rows;"
                " use phrases of a few words",
            )
        return None


def placeholders_of(text: str) -> list[str]:
    """Returns the names in single braces, in order, without repeats; `{{` and `}}` are literal."""
    names = (match.group(1) for match in _PLACEHOLDER.finditer(text))
    return list(dict.fromkeys(name for name in names if name is not None))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _flat(text: str) -> str:
    # A model breaks lines where it likes; a region is changed when its words or marks are.
    return " ".join(text.split())


def _named(names: Sequence[str]) -> str:
    listed = ", ".join(f"`{{{name}}}`" for name in names)
    return f"placeholder {listed} is" if len(names) == 1 else f"placeholders {listed} are"
