"""How alike data rows are, by what candidates scored on them, and rows that stand for others.

Nothing is known of a row but its rewards: the search never reads a text. So rows are alike when
the same candidates fail on them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from burnish_search.algorithms.minibatches import RowKey
from burnish_search.history import Row

Array = npt.NDArray[np.float64]

_PRIOR_WEIGHT = 2.0
_ROUNDS = 10
_MOST_CANDIDATES = 64


def vectors(measured: Sequence[Row], keys: Sequence[RowKey]) -> Array:
    """Returns rewards by row and candidate.

    Only the candidates with the most rewards count, so that large searches cost no more. A reward
    that is missing is taken for the row's mean, shrunken towards that of all rows; of a row without
    any reward nothing is known but that mean.
    """
    places = {key: place for place, key in enumerate(keys)}
    known = [row for row in measured if (row.pool, row.seed) in places]
    often = Counter(row.candidate_id for row in known).most_common(_MOST_CANDIDATES)
    columns = {name: place for place, (name, _) in enumerate(often)}
    known = [row for row in known if row.candidate_id in columns]
    if not known:
        return np.zeros((len(keys), 1))
    where = np.array([places[row.pool, row.seed] for row in known])
    who = np.array([columns[row.candidate_id] for row in known])
    rewards = np.array([row.reward for row in known], dtype=np.float64)
    counts = np.bincount(where, minlength=len(keys))
    sums = np.bincount(where, weights=rewards, minlength=len(keys))
    means = (sums + _PRIOR_WEIGHT * rewards.mean()) / (counts + _PRIOR_WEIGHT)
    found: Array = np.repeat(means[:, None], len(columns), axis=1)
    found[where, who] = rewards
    return found


def medoids(points: Array, count: int, randomness: random.Random) -> list[int]:
    """Returns `count` points that stand for groups of points: k-medoids from spread-out starts.

    Distances are computed to the medoids only, so that large pools cost no more than they hold.
    """
    chosen = spread_out(points, [], count, randomness)
    for _ in range(_ROUNDS if chosen else 0):
        nearest = np.argmin(_distances(points, points[chosen]), axis=1)
        nearest[chosen] = np.arange(len(chosen))  # Equal points stay apart, so no group is empty.
        moved = [_middle(points, np.flatnonzero(nearest == group)) for group in range(len(chosen))]
        if moved == chosen:
            break
        chosen = moved
    return sorted(chosen)


def spread_out(
    points: Array, beside: Sequence[int], count: int, randomness: random.Random
) -> list[int]:
    """Returns `count` further points, each as far as can be from those before it.

    Args:
        points: All of them.
        beside: Points that are taken already.
        count: How many more; fewer when there are not as many.
        randomness: Breaks ties.
    """
    order = np.array(randomness.sample(range(len(points)), len(points)), dtype=np.int64)
    far = np.full(len(points), np.inf)
    if beside:
        far = _distances(points, points[list(beside)]).min(axis=1)
        far[list(beside)] = -1.0
    found: list[int] = []
    for _ in range(min(count, len(points) - len(set(beside)))):
        best = int(order[np.argmax(far[order])])
        found.append(best)
        far = np.minimum(far, _distances(points, points[[best]])[:, 0])
        far[best] = -1.0
    return found


def _middle(points: Array, members: npt.NDArray[np.int64]) -> int:
    centre = points[members].mean(axis=0, keepdims=True)
    return int(members[np.argmin(_distances(points[members], centre)[:, 0])])


def _distances(points: Array, others: Array) -> Array:
    squares = (points**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None, :]
    # Rounded, so that the last digits of a machine's arithmetic decide no tie.
    return np.asarray(np.round(np.maximum(squares - 2.0 * points @ others.T, 0.0), 9))
