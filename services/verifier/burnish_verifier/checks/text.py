"""Checks that compare texts: exact and normalised equality, containment, and token overlap (F1)."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from burnish_verifier.checks.base import (
    CannotJudge,
    CheckKind,
    Settings,
    Sources,
    Subject,
    Verdict,
    as_text,
    compared,
    shown,
)

_ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Normaliser:
    """Makes texts that mean the same equal.

    Attributes:
        punctuation: Whether punctuation is dropped.
        articles: Whether English articles are dropped.
    """

    punctuation: bool = True
    articles: bool = False

    @classmethod
    def read(cls, settings: Settings) -> Normaliser:
        """Reads `ignore_punctuation` and `ignore_articles`."""
        return cls(
            punctuation=settings.flag("ignore_punctuation", default=True),
            articles=settings.flag("ignore_articles", default=False),
        )

    def tokens(self, value: object) -> list[str]:
        """Returns the words of a value, in lower case; underscores part words."""
        text = unicodedata.normalize("NFKC", as_text(value) or "").casefold()
        if self.punctuation:
            text = "".join(" " if unicodedata.category(char)[0] in "PS" else char for char in text)
        words = text.split()
        return [word for word in words if word not in _ARTICLES] if self.articles else words


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactMatch:
    """1 when the answer is what was wanted, to the letter."""

    sources: Sources
    strip: bool

    def score(self, subject: Subject) -> Verdict:
        """Judges one rollout."""
        answer, wanted = self.sources.answer(subject), self.sources.wanted(subject)
        same = any(self._same(answer, option) for option in wanted)
        return compared(float(same), answer=answer, wanted=wanted)

    def _same(self, answer: object, option: object) -> bool:
        if isinstance(answer, int | float) and isinstance(option, int | float):
            return answer == option and isinstance(answer, bool) == isinstance(option, bool)
        left, right = as_text(answer), as_text(option)
        if left is None or right is None:
            return left is right
        return left.strip() == right.strip() if self.strip else left == right


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalizedMatch:
    """1 when the answer is what was wanted, apart from case, white space and punctuation."""

    sources: Sources
    normaliser: Normaliser

    def score(self, subject: Subject) -> Verdict:
        """Judges one rollout."""
        answer, wanted = self.sources.answer(subject), self.sources.wanted(subject)
        found = self.normaliser.tokens(answer)
        same = answer is not None and any(
            found == self.normaliser.tokens(option) for option in wanted
        )
        return compared(float(same), answer=answer, wanted=wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contains:
    """The share of the wanted texts that stand in the answer, or 1 when any does."""

    sources: Sources
    every: bool
    fold: bool

    def score(self, subject: Subject) -> Verdict:
        """Judges one rollout."""
        answer = self.sources.answer(subject)
        wanted = self.sources.wanted(subject)[0]
        needles = [
            self._folded(item) for item in (wanted if isinstance(wanted, list) else [wanted])
        ]
        if not needles or not all(needles):
            raise CannotJudge(
                "there is no text to look for; let the app return one, or set `expected`",
                reason="REFERENCE_INVALID",
            )
        text = self._folded(answer)
        missing = [needle for needle in needles if needle not in text]
        hits = len(needles) - len(missing)
        score = hits / len(needles) if self.every else float(hits > 0)
        if score >= 1.0:
            return Verdict(score=1.0)
        named = ", ".join(f"`{shown(needle)}`" for needle in missing[:5])
        return Verdict(score=score, feedback=f"`{shown(answer)}` does not contain {named}")

    def _folded(self, value: object) -> str:
        text = as_text(value) or ""
        return text.casefold() if self.fold else text


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenF1:
    """Harmonic mean of precision and recall, over words of texts or over elements of lists."""

    sources: Sources
    normaliser: Normaliser

    def score(self, subject: Subject) -> Verdict:
        """Judges one rollout."""
        answer, wanted = self.sources.answer(subject), self.sources.wanted(subject)
        best = max(_f1(self._items(answer), self._items(option)) for option in wanted)
        return compared(best, answer=answer, wanted=wanted)

    def _items(self, value: Any) -> list[str]:  # noqa: ANN401
        if isinstance(value, list):
            return [" ".join(self.normaliser.tokens(item)) for item in value]
        return self.normaliser.tokens(value)


def _f1(found: Sequence[str], wanted: Sequence[str]) -> float:
    if not found and not wanted:
        return 1.0
    common = sum((Counter(found) & Counter(wanted)).values())
    return 2 * common / (len(found) + len(wanted))


def _exact(settings: Settings) -> ExactMatch:
    return ExactMatch(sources=Sources.read(settings), strip=settings.flag("strip", default=False))


def _normalized(settings: Settings) -> NormalizedMatch:
    return NormalizedMatch(sources=Sources.read(settings), normaliser=Normaliser.read(settings))


def _contains(settings: Settings) -> Contains:
    sources = Sources.read(settings)
    if sources.any_of:
        settings.problems.append("`any_of` is not for `contains`; set `mode` to any")
    if sources.constant and sources.constant[0] in ("", []):
        settings.problems.append("`expected` is empty; give a text or a list of texts")
    return Contains(
        sources=sources,
        every=settings.choice("mode", ("all", "any"), "all") == "all",
        fold=not settings.flag("case_sensitive", default=False),
    )


def _token_f1(settings: Settings) -> TokenF1:
    return TokenF1(sources=Sources.read(settings), normaliser=Normaliser.read(settings))


KINDS = (
    CheckKind(name="exact_match", build=_exact, guarded=False),
    CheckKind(name="normalized_match", build=_normalized, guarded=False),
    CheckKind(name="contains", build=_contains, guarded=False),
    CheckKind(name="f1", build=_token_f1, guarded=False),
)
