"""Sentences of feedback that are worth a note in an instruction."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from burnish.local.text import words

_SENTENCE: Final = re.compile(r"[^.!?\n]+[.!?]?")
_FEWEST_WORDS: Final = 4
_MOST_WORDS: Final = 30


def notes(feedback: Iterable[str]) -> tuple[str, ...]:
    """Returns sentences of feedback, those said of most rows first, each once.

    Very short ones say nothing by themselves, and very long ones tell of one row.
    """
    counts: Counter[str] = Counter()
    shown: dict[str, str] = {}
    for text in feedback:
        for match in _SENTENCE.finditer(text):
            found = words(match[0])
            if _FEWEST_WORDS <= len(found) <= _MOST_WORDS:
                key = " ".join(found)
                counts[key] += 1
                shown.setdefault(key, " ".join(match[0].split()))
    ranked = sorted(counts, key=lambda key: (-counts[key], list(shown).index(key)))
    return tuple(shown[key] for key in ranked)
