"""Which arms are looked at next, and on which rows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from burnish_search.algorithms.race.evidence import Floats, Ints

PLAIN_SHARE = 0.25
_LEAST_WEIGHT = 0.2
_JITTER = 0.4
_OTHER_LEADER = 0.5
_ATTEMPTS = 20

Mask = npt.NDArray[np.bool_]


def top_two(draws: Floats, open_arms: Mask, count: int, rng: np.random.Generator) -> list[int]:
    """Picks arms by top-two Thompson sampling; an arm may be picked several times.

    Args:
        draws: Worth of every arm, one column per draw.
        open_arms: Arms that may be picked, at least one.
        count: How many picks.
        rng: Source of randomness.
    """
    leaders = np.where(open_arms[:, None], draws, -np.inf).argmax(axis=0).tolist()
    coming = itertools.cycle(leaders)
    picks: list[int] = []
    for _ in range(count):
        leader = next(coming)
        if rng.random() < _OTHER_LEADER:
            # Draws go on until another arm leads; when none does, there is no rival.
            rival = next(
                (one for one in itertools.islice(coming, _ATTEMPTS) if one != leader), None
            )
            leader = leader if rival is None else rival
        picks.append(leader)
    return picks


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChoice:
    """How rows are chosen.

    Attributes:
        slopes: How much every row tells candidates apart.
        shared: Share of the leading arms that were seen on every row.
        informative: Whether either counts.
    """

    slopes: Floats
    shared: Floats
    informative: bool

    def pick(self, unseen: Ints, count: int, rng: np.random.Generator) -> list[int]:
        """Picks rows for an arm.

        Args:
            unseen: Rows that the arm was not asked, in the order that all arms walk.
            count: How many.
            rng: Source of randomness.
        """
        if not self.informative or len(unseen) <= count:
            return [int(one) for one in unseen[:count]]
        plain = int(count * PLAIN_SHARE + rng.random())
        rows = [int(one) for one in unseen[:plain]]
        rest = unseen[plain:]
        score = np.log((_LEAST_WEIGHT + self.slopes[rest]) * (1.0 + self.shared[rest]))
        score += _JITTER * rng.gumbel(size=len(rest))
        order = np.argsort(-score, kind="stable")[: count - len(rows)]
        return rows + [int(one) for one in rest[order]]
