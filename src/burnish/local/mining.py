"""Mines labelled rows: which short phrases tell the labels apart, and which rows are typical.

Terms are n-grams of one to three words, ranked by their share in the label's rows times the log
odds against all other rows; a term that shares a content word with a better one is left out.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from burnish.local.text import STOP_WORDS, stem, words

_LONGEST: Final = 3
# Rarer terms than this are chance, once a label has rows enough to judge by.
_ENOUGH_ROWS: Final = 8
_SMOOTHING: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One labelled input."""

    text: str
    label: str


class Miner:
    """Counts n-grams once and answers questions about labels; labels keep the order of the rows."""

    def __init__(self, rows: Sequence[Row]) -> None:
        """Counts the n-grams of every row."""
        self.rows = tuple(rows)
        self.labels = tuple(dict.fromkeys(row.label for row in rows))
        self._counts: dict[str, Counter[str]] = {label: Counter() for label in self.labels}
        self._texts: dict[str, list[str]] = {label: [] for label in self.labels}
        self._sizes: Counter[str] = Counter()
        self._whole_rows = {" ".join(words(row.text)) for row in rows}
        for row in rows:
            self._sizes[row.label] += 1
            self._texts[row.label].append(row.text)
            self._counts[row.label].update(ngrams(row.text))
        self._totals: Counter[str] = Counter()
        self._ranked: dict[tuple[str, int], list[str]] = {}
        for counts in self._counts.values():
            self._totals.update(counts)

    def terms(self, label: str, count: int, *, rare: bool = False) -> tuple[str, ...]:
        """Returns the phrases that set a label apart from all others, the best first.

        With `rare` phrases count that only one row of the label holds.
        """
        commoner = not rare and self._sizes[label] >= _ENOUGH_ROWS
        key = (label, 2 if commoner else 1)
        if key not in self._ranked:
            self._ranked[key] = self._rank(label, self._totals, len(self.rows), key[1])
        return _apart(self._ranked[key], count)

    def terms_against(self, label: str, other: str, count: int) -> tuple[str, ...]:
        """Returns the phrases that set a label apart from one other label, the best first."""
        totals = self._counts[label] + self._counts[other]
        row_count = self._sizes[label] + self._sizes[other]
        floor = 2 if self._sizes[label] >= _ENOUGH_ROWS else 1
        return _apart(self._rank(label, totals, row_count, floor), count)

    def _rank(self, label: str, totals: Mapping[str, int], row_count: int, floor: int) -> list[str]:
        size = self._sizes[label]
        ranked: list[tuple[float, str]] = []
        for term, here in self._counts[label].items():
            if here < floor or term in self._whole_rows:
                continue
            inside = (here + _SMOOTHING) / (size + 2 * _SMOOTHING)
            elsewhere = totals[term] - here
            outside = (elsewhere + _SMOOTHING) / (row_count - size + 2 * _SMOOTHING)
            if inside > outside:
                ranked.append((-here / size * math.log(inside / outside), term))
        return [term for _, term in sorted(ranked)]

    def fragments(self, label: str, count: int) -> tuple[str, ...]:
        """Returns parts of typical rows, each of 4 to 9 words and shorter than its row."""
        weights = {term: 1.0 / (1 + place) for place, term in enumerate(self.terms(label, 16))}
        ranked: list[tuple[float, str]] = []
        for text in self._texts[label]:
            row_words = words(text)
            if len(row_words) < 6:
                continue
            size = min(9, max(4, len(row_words) * 7 // 10))
            for start in range(len(row_words) - size + 1):
                part = " ".join(row_words[start : start + size])
                if self._holds_a_row(part):
                    continue
                value = sum(
                    weight for term, weight in weights.items() if f" {term} " in f" {part} "
                )
                ranked.append((-value, part))
        return self._unlike(ranked, count)

    def _holds_a_row(self, part: str) -> bool:
        spoken = part.split()
        return any(
            " ".join(spoken[start:end]) in self._whole_rows
            for start in range(len(spoken))
            for end in range(start + 1, len(spoken) + 1)
        )

    def quotes(self, label: str, count: int) -> tuple[str, ...]:
        """Returns whole typical rows of a label, none much longer than its shorter half."""
        texts = sorted(self._texts[label], key=len)
        short = texts[: max(count, (len(texts) + 1) // 2)]
        weights = {term: 1.0 / (1 + place) for place, term in enumerate(self.terms(label, 16))}
        ranked = [
            (-sum(weight for term, weight in weights.items() if term in text.lower()), text)
            for text in short
        ]
        return self._unlike(ranked, count)

    def _unlike(self, ranked: Iterable[tuple[float, str]], count: int) -> tuple[str, ...]:
        chosen: list[str] = []
        for _, text in sorted(set(ranked)):
            bag = set(words(text)) - STOP_WORDS
            if all(len(bag & set(words(other))) < 0.5 * len(bag) for other in chosen):
                chosen.append(text)
                if len(chosen) == count:
                    break
        return tuple(chosen)


def _apart(ranked: Sequence[str], count: int) -> tuple[str, ...]:
    """Returns the first terms that share no content word with a better one."""
    chosen: list[str] = []
    taken: set[str] = set()
    for term in ranked:
        content = {stem(word) for word in term.split() if word not in STOP_WORDS}
        if not content & taken:
            chosen.append(term)
            taken |= content
            if len(chosen) == count:
                break
    return tuple(chosen)


def ngrams(text: str) -> set[str]:
    """Returns the n-grams of a text that hold a content word."""
    row = words(text)
    found: set[str] = set()
    for size in range(1, _LONGEST + 1):
        for start in range(len(row) - size + 1):
            part = row[start : start + size]
            if not all(word in STOP_WORDS for word in part):
                found.add(" ".join(part))
    return found
