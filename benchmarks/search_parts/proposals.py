"""Answers to briefs in a world: other options at random in place of reflection.

The peers are given the same: a proposal changes one option of its parent, so that what comes of it
was not proposed before, as long as there is such an option. What is proposed again is a candidate
of its own here, which pays for its cells anew.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from benchmarks.search_parts.worlds import Searched
from burnish_search.history import History
from burnish_search.model import Component, Kind, ProposalPlan

_MARK = "~"


def arm(world: Searched, choices: Sequence[str]) -> int:
    """Returns the number of the arm with these components."""
    number = 0
    for place, choice in enumerate(choices):
        number = number * world.shape[place % 2] + int(choice.rpartition("_")[2])
    return number


def written(world: Searched, history: History, plan: ProposalPlan) -> tuple[Component, ...]:
    """Returns as many new components as a brief asks for."""
    parent = history.candidates[plan.parent_candidate_ids[0]]
    kinds = [kind for kind in Kind if world.shape[kind] > 1]
    # A component's name holds the arm that it was proposed for.
    proposed = {0} | {
        int(name.split(_MARK)[2].partition("_")[0])
        for name in history.space.components
        if _MARK in name
    }
    number = len(history.space.components)
    stage = plan.stage_ids[0]
    first = 2 * history.space.stage_ids.index(stage)
    randomness = random.Random(f"{world.seed}/{plan.proposal_id}")
    neighbours = []
    for kind in kinds:
        for option in range(world.shape[kind]):
            choices = list(parent.choices)
            choices[first + kind] = f"any_{option}"
            neighbours.append((kind, option, arm(world, choices)))
    own = arm(world, parent.choices)
    found: list[Component] = []
    for place in range(plan.count):
        listed = [one for one in neighbours if one[2] not in proposed]
        listed = listed or [one for one in neighbours if one[2] != own]
        # An instruction is as likely as a demo set, however many there are of either.
        among = randomness.choice(sorted({kind for kind, _, _ in listed}))
        kind, option, whole = randomness.choice([one for one in listed if one[0] == among])
        proposed.add(whole)
        name = f"{kind.name}{_MARK}{number + place}{_MARK}{whole}_{option}"
        found.append(Component(component_id=name, stage_id=stage, kind=kind))
    return tuple(found)
