"""Similarity of one query to many evidence texts, by an inverted index over those texts alone.

Inverse frequencies come from the texts that are indexed: there is no corpus and no shipped
vocabulary, so what the index knows is what the prompt says.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from burnish.local.text import features

Floats = NDArray[np.float64]

# A feature that no evidence text holds counts as rarer than one that a single text holds.
_UNSEEN_COUNT: Final = 0.5


class LexicalIndex:
    """Cosine similarity between a query and each indexed text, in [0, 1]."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Indexes the texts in order; an empty text is allowed and is similar to nothing."""
        self._size = len(texts)
        bags = [features(text) for text in texts]
        counts: dict[str, int] = {}
        for bag in bags:
            for name in bag:
                counts[name] = counts.get(name, 0) + 1
        self._rarity = {name: self._inverse(count) for name, count in counts.items()}
        self._unseen = self._inverse(_UNSEEN_COUNT)
        self._postings = self._post(bags)

    def _inverse(self, count: float) -> float:
        return math.log(1.0 + self._size / count)

    def _post(self, bags: Sequence[dict[str, float]]) -> dict[str, tuple[NDArray[np.intp], Floats]]:
        lists: dict[str, tuple[list[int], list[float]]] = {name: ([], []) for name in self._rarity}
        for item, bag in enumerate(bags):
            weights = {name: weight * self._rarity[name] for name, weight in bag.items()}
            norm = math.sqrt(sum(weight * weight for weight in weights.values()))
            for name, weight in weights.items():
                lists[name][0].append(item)
                lists[name][1].append(weight / norm)
        return {
            name: (np.array(items, dtype=np.intp), np.array(weights))
            for name, (items, weights) in lists.items()
        }

    def similarities(self, query: str) -> Floats:
        """Returns the similarity of the query to each indexed text, in the order of the texts."""
        items: list[NDArray[np.intp]] = []
        weights: list[Floats] = []
        square = 0.0
        for name, weight in features(query).items():
            posting = self._postings.get(name)
            if posting is None:
                square += (weight * self._unseen) ** 2
                continue
            scaled = weight * self._rarity[name]
            square += scaled * scaled
            items.append(posting[0])
            weights.append(posting[1] * scaled)
        if not items:
            return np.zeros(self._size)
        total = np.bincount(
            np.concatenate(items), weights=np.concatenate(weights), minlength=self._size
        )
        return total / math.sqrt(square)
