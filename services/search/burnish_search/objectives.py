"""The second objective of a study: what candidates cost beside what they earn, and which to take.

It stands outside the algorithms: they rank by reward, whatever they are, and a study with a second
objective takes from their ranking what its rule prefers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from burnish import tradeoffs
from burnish.tradeoffs import Offer, Rule
from burnish_search.algorithms.settings import Reader
from burnish_search.history import History
from burnish_search.model import Candidate, Estimate, Ranked

MOST_WEIGHED = 1000
_KEY = "objective"
_Z = 1.959963984540054


def split(
    settings: Mapping[str, object],
) -> tuple[Mapping[str, object], Objective | None, list[str]]:
    """Takes the second objective out of a study's settings.

    Returns:
        The settings of the algorithm, the objective, and every problem of it.
    """
    if _KEY not in settings:
        return settings, None, []
    rest = {key: value for key, value in settings.items() if key != _KEY}
    outer = Reader({_KEY: settings[_KEY]}, path="")
    table = Reader(outer.table(_KEY), path=f"{_KEY}.")
    usual = Rule(objective=tradeoffs.COST_USD)
    minimise = table.choice("minimise", tradeoffs.OBJECTIVES)
    if minimise is None and not table.problems:
        known = ", ".join(f"`{name}`" for name in tradeoffs.OBJECTIVES)
        table.problems.append(f"setting `{_KEY}.minimise` is missing; give one of {known}")
    tolerance, probability = table.share("tolerance"), table.share("probability")
    weight, limit = table.amount("weight"), table.amount("limit")
    table.finish()
    if weight is not None and (tolerance is not None or probability is not None):
        table.problems.append(
            f"`{_KEY}.weight` is {weight}: it weighs reward against cost, and `tolerance` and "
            "`probability` choose the cheapest of the nearly best; give one or the other"
        )
    rule = Rule(
        objective=minimise or tradeoffs.COST_USD,
        tolerance=usual.tolerance if tolerance is None else tolerance,
        probability=usual.probability if probability is None else probability,
        weight=weight,
        limit=limit,
    )
    return rest, Objective(rule), [*outer.problems, *table.problems]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Candidates in the order of preference.

    Attributes:
        candidates: Best first.
        choice: What the first was chosen by; empty when that is the reward alone.
    """

    candidates: Sequence[Ranked]
    choice: str = ""


@dataclass(frozen=True, slots=True)
class Objective:
    """A second objective and the rule that weighs it against reward."""

    rule: Rule

    def order(self, history: History, ranked: Sequence[Ranked]) -> Ranking:
        """Returns the candidate that the rule prefers first, the others in their order."""
        known = told(history, ranked, by=self.rule.objective)
        choice = tradeoffs.choose([_offer(one, self.rule.objective) for one in known], self.rule)
        first = known.pop(choice.place)
        return Ranking(candidates=[first, *known], choice=choice.why)


def told(
    history: History, ranked: Sequence[Ranked], *, by: str = tradeoffs.PROMPT_LENGTH
) -> list[Ranked]:
    """Returns ranked candidates with what is known of their costs, and where they stand by one."""
    ids = [one.candidate.candidate_id for one in ranked]
    names = (tradeoffs.COST_USD, tradeoffs.TOKENS)
    means = {name: history.costs.means(name, ids) for name in names}
    found = []
    for one in ranked:
        candidate = one.candidate
        costs = {
            name: known[candidate.candidate_id]
            for name, known in means.items()
            if candidate.candidate_id in known
        }
        length = prompt_length(history, candidate)
        if length is not None:
            exact = float(length)
            costs[tradeoffs.PROMPT_LENGTH] = Estimate(
                mean=exact, row_count=one.pooled.row_count, lower=exact, upper=exact
            )
        found.append(replace(one, objectives=costs))
    standings = tradeoffs.standings([_offer(one, by) for one in found])
    return [replace(one, standing=standing) for one, standing in zip(found, standings, strict=True)]


def prompt_length(history: History, candidate: Candidate) -> int | None:
    """Returns the characters of a candidate's instructions and demos; None unless all are known."""
    total = 0
    for choice in candidate.choices:
        component = history.space.components.get(choice)
        if component is None or component.features is None:
            return None
        total += component.features.character_count
    return total


def _offer(one: Ranked, objective: str) -> Offer:
    cost = one.objectives.get(objective)
    # The ends of an interval are cut to [0, 1]; the wider half was cut less.
    half = max(one.pooled.upper - one.pooled.mean, one.pooled.mean - one.pooled.lower)
    return Offer(
        reward=one.pooled.mean,
        deviation=half / _Z if math.isfinite(half) else 1.0,
        cost=None if cost is None else cost.mean,
    )
