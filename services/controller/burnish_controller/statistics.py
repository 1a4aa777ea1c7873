"""The paired difference of two candidates, row by row, which removes the rows' difficulty."""

from __future__ import annotations

from collections.abc import Mapping

from burnish.verdicts import Interval, mean_interval


def paired_difference(
    winner: Mapping[int, float], baseline: Mapping[int, float]
) -> Interval | None:
    """Returns winner minus baseline over the rows that both have, or None when there are none.

    Args:
        winner: Reward by seed.
        baseline: Reward by seed.
    """
    shared = sorted(winner.keys() & baseline.keys())
    differences = [winner[seed] - baseline[seed] for seed in shared]
    return mean_interval(differences, low=-1.0, high=1.0)
