"""The front of candidates over rows: who is best where, and who adds nothing to the others.

This is GEPA's rule. A candidate that has the best reward of a row stands for that row. One that is
plainly dominated, because somebody else who stays stands for each of its rows, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

Rewards = Mapping[str, Mapping[int, float]]


def best_by_row(rewards: Rewards, *, eps: float) -> dict[int, frozenset[str]]:
    """Returns for each row the candidates with its best reward.

    Args:
        rewards: By candidate and row; a row that was not measured is absent.
        eps: Rewards that are nearer to the best than this are ties, at least 0.
    """
    rows: dict[int, dict[str, float]] = {}
    for candidate, measured in rewards.items():
        for row, reward in measured.items():
            rows.setdefault(row, {})[candidate] = reward
    found = {}
    for row in sorted(rows):
        best = max(rows[row].values())
        found[row] = frozenset(one for one, reward in rows[row].items() if best - reward <= eps)
    return found


def front(rewards: Rewards, *, eps: float) -> dict[str, int]:
    """Returns the candidates on the front, and for how many rows each of them stands.

    Dominated ones are taken out worst mean first, of equal ones the later by its name.

    Args:
        rewards: By candidate and row; a row that was not measured is absent.
        eps: Rewards that are nearer to the best than this are ties, at least 0.
    """
    holders = best_by_row(rewards, eps=eps)
    rows_of: dict[str, list[int]] = {}
    for row, best in holders.items():
        for one in best:
            rows_of.setdefault(one, []).append(row)
    staying = set(rows_of)
    by_name = sorted(rows_of, reverse=True)
    for one in sorted(by_name, key=lambda name: _mean(rewards[name])):
        if all(len(holders[row] & staying) > 1 for row in rows_of[one]):
            staying.discard(one)
    return {one: len(rows_of[one]) for one in sorted(staying)}


def _mean(measured: Mapping[int, float]) -> float:
    return math.fsum(measured.values()) / len(measured)
