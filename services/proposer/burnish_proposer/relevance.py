"""Which texts of a reference corpus are shown: those that are to the point and not all alike.

Texts are compared by the words that they share, rare words counting for more (TF-IDF, cosine). They
are then taken one by one by maximal marginal relevance: each is the one with the best balance of
being close to the task and being far from what was taken already. Everything is arithmetic over
words in a fixed order, so equal corpora give equal choices in any process.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")
_RELEVANCE_SHARE = 0.6
# A corpus is looked at as far as this; beyond it the least relevant texts are left out at once.
_MOST_COMPARED = 1_500
# A word in more than this share of the texts tells none of them apart.
_COMMON_SHARE = 0.5
_PASSAGE_CHARS = 1_600
_PARAGRAPH = re.compile(r"\n[ \t]*\n")

_Vector = dict[str, float]


def choose(texts: Sequence[str], *, query: str, costs: Sequence[int], budget: int) -> list[int]:
    """Chooses texts within a budget.

    Args:
        texts: The corpus.
        query: What the texts should be close to.
        costs: What each text costs, as long as `texts`.
        budget: Most that the chosen texts may cost together.

    Returns:
        Positions of the chosen texts, in the order of the corpus.
    """
    if sum(costs) <= budget:
        return list(range(len(texts)))
    vectors, target = _vectors(texts, query)
    relevance = [_dot(vector, target) for vector in vectors]
    order = sorted(range(len(texts)), key=lambda place: (-relevance[place], place))
    return sorted(_taken(order[:_MOST_COMPARED], vectors, relevance, costs=costs, budget=budget))


def passages(text: str) -> list[str]:
    """Cuts a text into passages of a few paragraphs, so that a long one can be shown in part."""
    found: list[str] = []
    for paragraph in _PARAGRAPH.split(text):
        piece = paragraph.strip()
        while len(piece) > _PASSAGE_CHARS:
            end = piece.rfind(" ", _PASSAGE_CHARS // 2, _PASSAGE_CHARS)
            end = end if end > 0 else _PASSAGE_CHARS
            found.append(piece[:end].strip())
            piece = piece[end:].strip()
        if not piece:
            continue
        if found and len(found[-1]) + len(piece) < _PASSAGE_CHARS // 2:
            found[-1] += f"\n\n{piece}"
        else:
            found.append(piece)
    return found


def _taken(
    open_places: Sequence[int],
    vectors: Sequence[_Vector],
    relevance: Sequence[float],
    *,
    costs: Sequence[int],
    budget: int,
) -> list[int]:
    holders: dict[str, list[int]] = defaultdict(list)
    for place in open_places:
        for word in vectors[place]:
            holders[word].append(place)
    nearest = dict.fromkeys(open_places, 0.0)
    chosen: list[int] = []
    left = [place for place in open_places if costs[place] <= budget]
    while left:
        best = max(
            left,
            key=lambda place: (
                _RELEVANCE_SHARE * relevance[place] - (1 - _RELEVANCE_SHARE) * nearest[place],
                -place,
            ),
        )
        chosen.append(best)
        budget -= costs[best]
        left = [place for place in left if place != best and costs[place] <= budget]
        shared: dict[int, float] = defaultdict(float)
        for word, weight in vectors[best].items():
            for place in holders[word]:
                shared[place] += weight * vectors[place][word]
        for place, likeness in shared.items():
            nearest[place] = max(nearest[place], likeness)
    return chosen


def _vectors(texts: Sequence[str], query: str) -> tuple[list[_Vector], _Vector]:
    counts = [Counter(words(text)) for text in texts]
    spread = Counter(word for count in counts for word in count)
    most = max(_COMMON_SHARE * len(texts), 1)
    weights = {
        word: math.log(1 + len(texts) / number) for word, number in spread.items() if number <= most
    }
    return [_unit(count, weights) for count in counts], _unit(Counter(words(query)), weights)


def _unit(counts: Counter[str], weights: _Vector) -> _Vector:
    vector = {
        word: (1 + math.log(number)) * weights[word]
        for word, number in counts.items()
        if word in weights
    }
    length = math.sqrt(math.fsum(value * value for value in vector.values()))
    return {word: value / length for word, value in vector.items()} if length else {}


def _dot(one: _Vector, other: _Vector) -> float:
    if len(other) < len(one):
        one, other = other, one
    return math.fsum(value * other[word] for word, value in one.items() if word in other)


def words(text: str) -> list[str]:
    """Returns the words of a text, folded; a Chinese or Japanese character is a word."""
    return _WORD.findall(text.casefold())
