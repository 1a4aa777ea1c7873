"""What prompts earn against what they cost: which of them are worth a look, and which to take.

Pure arithmetic over posterior means; it reads no store and no message. A cost that is not known is
never taken for 0: whoever has none is compared with nobody, and is never chosen for being cheap.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

COST_USD = "cost_usd"
TOKENS = "tokens"
PROMPT_LENGTH = "prompt_length"
OBJECTIVES = (COST_USD, TOKENS, PROMPT_LENGTH)
_UNITS = {COST_USD: "US dollars", TOKENS: "tokens", PROMPT_LENGTH: "characters"}


class Standing(enum.IntEnum):
    """Where an offer stands; the numbers are those of the wire."""

    FRONT = 1
    DOMINATED = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One prompt.

    Attributes:
        reward: Mean reward that it is believed to have.
        deviation: Standard deviation of that belief.
        cost: Mean cost; None when it is not known.
    """

    reward: float
    deviation: float
    cost: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What to choose by.

    Without a weight it is the cheapest of those that are nearly the best: whose reward is within
    `tolerance` of the best with at least `probability`. With one it is the highest reward less
    `weight` times the cost. Either way within the limit.

    Attributes:
        objective: What the cost is: `cost_usd`, `tokens` or `prompt_length`.
        tolerance: Reward that may be given up.
        probability: How likely it must be that no more is given up.
        weight: Reward that one unit of cost is worth; None for the cheapest of the nearly best.
        limit: Highest cost; None for none.
    """

    objective: str
    tolerance: float = 0.01
    probability: float = 0.5
    weight: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen.

    Attributes:
        place: Which of the offers.
        why: What it was chosen by, as a sentence without a full stop.
    """

    place: int
    why: str


def standings(offers: Sequence[Offer]) -> list[Standing]:
    """Returns where every offer stands, by its mean reward and its cost."""
    known = sorted(
        (one.cost, -one.reward, place)
        for place, one in enumerate(offers)
        if one.cost is not None and not math.isnan(one.reward)
    )
    found = [Standing.UNKNOWN] * len(offers)
    best, cheapest = -math.inf, math.inf
    for cost, negated, place in known:
        # In this order another one dominates exactly when an earlier one earns more, or as much
        # for less.
        level = (-negated, cost) == (best, cheapest)
        found[place] = Standing.FRONT if -negated > best or level else Standing.DOMINATED
        if -negated > best:
            best, cheapest = -negated, cost
    return found


def choose(offers: Sequence[Offer], rule: Rule) -> Choice:
    """Chooses one of at least one offer; of equals the first.

    When the rule cannot tell, because costs are not known or all are above the limit, it is the
    one of the highest reward, and `why` says so.
    """
    unit = _UNITS[rule.objective]
    best = max(range(len(offers)), key=lambda place: (offers[place].reward, -place))
    costs = [math.inf if one.cost is None else one.cost for one in offers]
    known = [place for place, cost in enumerate(costs) if cost < math.inf]
    alone = "the highest reward alone"
    if not known:
        return Choice(place=best, why=f"{alone}: no `{rule.objective}` is known")
    allowed = known
    within = ""
    if rule.limit is not None:
        allowed = [place for place in known if costs[place] <= rule.limit]
        within = f", of those within {rule.limit:g} {unit}"
    if not allowed:
        return Choice(place=best, why=f"{alone}: none is known to cost at most {rule.limit:g}")
    if rule.weight is not None:
        weight = rule.weight
        place = max(allowed, key=lambda one: (offers[one].reward - weight * costs[one], -one))
        why = f"the highest reward less {weight:g} x `{rule.objective}`{within}"
        return Choice(place=place, why=why)
    if rule.limit is None and offers[best].cost is None:
        return Choice(place=best, why=f"{alone}: its own `{rule.objective}` is not known")
    # A limit narrows what may be the best; without one the best is among all.
    top = max(allowed, key=lambda one: (offers[one].reward, -one))
    near = [one for one in allowed if _is_near(offers[one], offers[top], rule) or one == top]
    place = min(near, key=lambda one: (costs[one], -offers[one].reward, one))
    lowest = f"the lowest `{rule.objective}` within {rule.tolerance:g} of the best reward"
    why = f"{lowest} (P at least {rule.probability:g}){within}"
    return Choice(place=place, why=why)


def _is_near(one: Offer, best: Offer, rule: Rule) -> bool:
    """Whether an offer is as likely as asked to give up no more than the tolerance."""
    spare = one.reward - best.reward + rule.tolerance
    spread = math.hypot(one.deviation, best.deviation)
    if spread == 0.0:
        return spare >= 0.0
    return 0.5 * (1.0 + math.erf(spare / spread / math.sqrt(2.0))) >= rule.probability
