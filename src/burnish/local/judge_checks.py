"""What the local judge can see in a text: words, sizes, shapes, and agreement with a reference.

It can check quoted words that must or must not occur, limits on length, valid JSON, case, emptiness
and agreement with a reference. Anything else it can only guess from shared words, and then the
reason says so and the score stays between the extremes.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from burnish.local.text import STOP_WORDS, stem, words

_QUOTED: Final = re.compile(
    r"[\"\u201c]([^\"\u201c\u201d]+)[\"\u201d]|(?<!\w)'([^'\n]+)'(?!\w)|`([^`]+)`"
)
_NEGATION: Final = re.compile(
    r"\b(?:no|not|never|without|avoids?|free of|must not|does not|doesn't|don't|excludes?)\b",
    re.IGNORECASE,
)
_LIMIT: Final = re.compile(
    r"\b(at most|no more than|up to|under|fewer than|less than|maximum(?: of)?|within|at least|"
    r"no fewer than|more than|over|minimum(?: of)?|exactly)\s+(\d+)\s+"
    r"(words?|characters?|sentences?|lines?)",
    re.IGNORECASE,
)
_JSON: Final = re.compile(r"\bjson\b", re.IGNORECASE)
_REFERENCE: Final = re.compile(
    r"\b(?:reference|expected|gold|ground truth|correct answer|correct label|correct)\b",
    re.IGNORECASE,
)
_EXACT: Final = re.compile(r"\b(?:exact|exactly|identical|equals?|same)\b", re.IGNORECASE)
_ONE_WORD: Final = re.compile(r"\b(?:one|single) word\b|\bonly the label\b", re.IGNORECASE)
_CASE: Final = re.compile(r"\b(lower|upper)[ -]?case\b", re.IGNORECASE)
_EMPTY: Final = re.compile(r"\b(?:not empty|non-?empty|answers at all)\b", re.IGNORECASE)
_GUESS_LOW: Final = 0.1
_GUESS_HIGH: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A text to be checked by one criterion.

    Attributes:
        criterion: What earns the score.
        output: The text.
        reference: What was wanted; None when nothing is known.
        examples: Texts of other work with the rewards that they deserved.
    """

    criterion: str
    output: str
    reference: str | None = None
    examples: Sequence[tuple[str, float]] = ()


Verdict = tuple[float, str]


def verdict(case: Case) -> Verdict:
    """Returns the score of a text by a criterion, in [0, 1], and why."""
    found = [verdict for check in _CHECKS if (verdict := check(case)) is not None]
    if not found:
        return _guess(case)
    # A criterion may ask for several things at once; it is met as far as its worst part.
    return min(score for score, _ in found), "; ".join(reason for _, reason in found)


def quoted_terms(criterion: str) -> list[str]:
    """Returns the words that a criterion quotes."""
    return [match[1] or match[2] or match[3] for match in _QUOTED.finditer(criterion)]


def forbids(criterion: str) -> bool:
    """Returns whether a criterion asks for its quoted words to be absent."""
    terms = quoted_terms(criterion)
    return bool(terms) and _NEGATION.search(criterion[: criterion.find(terms[0])]) is not None


def content(text: str) -> set[str]:
    """Returns the stems of a text's words, without the words that every text has."""
    return {stem(word) for word in words(text) if word not in STOP_WORDS}


def _quoted(case: Case) -> Verdict | None:
    terms = quoted_terms(case.criterion)
    if not terms:
        return None
    spoken = f" {' '.join(words(case.output))} "
    present = [term for term in terms if f" {' '.join(words(term))} " in spoken]
    if forbids(case.criterion):
        return (0.0 if present else 1.0), f"{len(present)} of {len(terms)} forbidden terms occur"
    share = len(present) / len(terms)
    any_will_do = re.search(r"\b(?:any|either|one) of\b|\bor\b", case.criterion, re.IGNORECASE)
    if any_will_do is not None and present:
        share = 1.0
    return share, f"{len(present)} of {len(terms)} required terms occur"


def _length(case: Case) -> Verdict | None:
    limit = _LIMIT.search(case.criterion)
    if limit is None:
        return None
    unit = limit[3].lower().rstrip("s")
    sizes: Mapping[str, int] = {
        "word": len(case.output.split()),
        "character": len(case.output),
        "sentence": len(
            [part for part in re.split(r"[.!?]+(?:\s|$)", case.output) if part.strip()]
        ),
        "line": len(case.output.splitlines()),
    }
    size, bound, sense = sizes[unit], int(limit[2]), limit[1].lower()
    if sense == "exactly":
        kept = size == bound
    elif sense in ("under", "fewer than", "less than"):
        kept = size < bound
    elif sense in ("more than", "over"):
        kept = size > bound
    elif sense.startswith(("at least", "no fewer", "minimum")):
        kept = size >= bound
    else:
        kept = size <= bound
    return float(kept), f"{size} {unit}s, wanted {sense} {bound}"


def _json(case: Case) -> Verdict | None:
    if _JSON.search(case.criterion) is None:
        return None
    try:
        json.loads(case.output)
    except ValueError:
        return 0.0, "not valid JSON"
    return 1.0, "valid JSON"


def _shape(case: Case) -> Verdict | None:
    text = case.output.strip()
    if _ONE_WORD.search(case.criterion):
        return float(len(text.split()) == 1), f"{len(text.split())} words"
    cased = _CASE.search(case.criterion)
    if cased is not None:
        wanted = text.lower() if cased[1].lower() == "lower" else text.upper()
        return float(bool(text) and text == wanted), f"checked for {cased[1].lower()} case"
    if _EMPTY.search(case.criterion):
        return float(bool(text)), "empty" if not text else "not empty"
    return None


def _agreement(case: Case) -> Verdict | None:
    if case.reference is None or _REFERENCE.search(case.criterion) is None:
        return None
    if _EXACT.search(case.criterion):
        return float(
            case.output.strip() == case.reference.strip()
        ), "compared exactly with the reference"
    return _shared(case.output, case.reference), "words shared with the reference (F1)"


def _guess(case: Case) -> Verdict:
    if not case.output.strip():
        return 0.0, "the output is empty"
    against = case.criterion if case.reference is None else case.reference
    wanted = content(against)
    share = len(wanted & content(case.output)) / len(wanted) if wanted else 0.0
    score = _GUESS_LOW + (_GUESS_HIGH - _GUESS_LOW) * share
    near = [(_shared(text, case.output), reward) for text, reward in case.examples]
    weight = sum(share for share, _ in near)
    if weight:
        # Work that is like an example deserves what the example deserved.
        score = (score + sum(share * reward for share, reward in near) / weight) / 2
    return score, "a guess from shared words: this criterion has no lexical check"


def _shared(one: str, other: str) -> float:
    left, right = set(words(one)), set(words(other))
    both = len(left & right)
    return 2.0 * both / (len(left) + len(right)) if left or right else 1.0


_CHECKS: Final[tuple[Callable[[Case], Verdict | None], ...]] = (
    _quoted,
    _length,
    _json,
    _shape,
    _agreement,
)
