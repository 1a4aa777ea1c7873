"""Builds demo sets from what passed: none, labelled, bootstrapped in order, shuffled.

The plan is MIPROv2's (Opsahl-Ong et al. 2024, arXiv 2406.11695, section 4; the order and the random
sizes as its implementation has them): set 0 is empty, set 1 is labelled rows alone, set 2 the first
rollouts that passed, and every further set a shuffle of them with a random size, each filled up
with labelled rows.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class SetKind(Enum):
    """How a demo set was made."""

    ZERO_SHOT = "zero_shot"
    LABELLED = "labelled"
    BOOTSTRAPPED = "bootstrapped"
    SHUFFLED = "shuffled"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """How many demos and sets are wanted.

    Attributes:
        max_bootstrapped: Most demos of one set that come from rollouts, at least 0.
        max_labelled: Most demos of a set that is filled up with labelled rows, at least 0.
        max_sets: Most sets, the empty one included, at least 1.
    """

    max_bootstrapped: int
    max_labelled: int
    max_sets: int


@dataclass(frozen=True, slots=True)
class DemoChoice(Generic[Item]):
    """One demo set."""

    kind: SetKind
    demos: tuple[Item, ...]


def demo_sets(
    *, passed: Sequence[Item], labelled: Sequence[Item], plan: DemoPlan, rng: random.Random
) -> list[DemoChoice[Item]]:
    """Returns distinct demo sets, the empty one first.

    Args:
        passed: Demos of rollouts that passed, in pool order.
        labelled: Demos of labelled rows, in pool order.
        plan: How many.
        rng: Source of every random choice.
    """
    made: list[DemoChoice[Item]] = [DemoChoice(SetKind.ZERO_SHOT, ())]
    if plan.max_labelled > 0 and labelled:
        size = min(plan.max_labelled, len(labelled))
        made.append(DemoChoice(SetKind.LABELLED, tuple(rng.sample(list(labelled), size))))
    if plan.max_bootstrapped > 0 and passed:
        first = passed[: plan.max_bootstrapped]
        made.append(DemoChoice(SetKind.BOOTSTRAPPED, _filled(first, labelled, plan=plan, rng=rng)))
    if (plan.max_bootstrapped > 0 and passed) or (plan.max_labelled > 0 and labelled):
        for _ in range(4 * plan.max_sets):
            if len(_distinct(made)) >= plan.max_sets:
                break
            made.append(DemoChoice(SetKind.SHUFFLED, _shuffled(passed, labelled, plan, rng)))
    return _distinct(made)[: plan.max_sets]


def _shuffled(
    passed: Sequence[Item], labelled: Sequence[Item], plan: DemoPlan, rng: random.Random
) -> tuple[Item, ...]:
    if plan.max_bootstrapped > 0 and passed:
        size = rng.randint(1, min(plan.max_bootstrapped, len(passed)))
        return _filled(rng.sample(list(passed), size), labelled, plan=plan, rng=rng)
    size = rng.randint(1, min(plan.max_labelled, len(labelled)))
    return tuple(rng.sample(list(labelled), size))


def _filled(
    chosen: Sequence[Item], labelled: Sequence[Item], *, plan: DemoPlan, rng: random.Random
) -> tuple[Item, ...]:
    room = plan.max_labelled - len(chosen)
    others = [item for item in labelled if item not in set(chosen)]
    if room <= 0 or not others:
        return tuple(chosen)
    return (*chosen, *rng.sample(others, min(room, len(others))))


def _distinct(sets: Sequence[DemoChoice[Item]]) -> list[DemoChoice[Item]]:
    seen: set[tuple[Item, ...]] = set()
    kept = []
    for one in sets:
        if one.demos not in seen:
            seen.add(one.demos)
            kept.append(one)
    return kept
