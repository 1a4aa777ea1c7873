"""What a job's candidates earn against what they cost: the front that search found, and means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.tradeoffs import COST_USD, OBJECTIVES, PROMPT_LENGTH, TOKENS
from burnish.verdicts import CONFIDENCE, mean_interval
from burnish_controller.features import features_of
from burnish_controller.phases.base import message_of
from burnish_controller.store.rollouts import FinishedRollout

MOST_WEIGHED = 1000
_MOST_SHOWN = 50


def objective_of(spec: job_v1.JobSpec) -> str:
    """Returns what a job's candidates are weighed against reward by."""
    settings = spec.algorithm_settings
    if "objective" in settings:
        chosen = settings.fields["objective"].struct_value.fields["minimise"].string_value
        return chosen if chosen in OBJECTIVES else PROMPT_LENGTH
    return PROMPT_LENGTH


def tradeoff_of(spec: job_v1.JobSpec, found: search_v1.RankCandidatesResponse) -> job_v1.Tradeoff:
    """Returns what search says of its candidates as it ends."""
    objective = objective_of(spec)
    standings = [one.standing for one in found.candidates]
    front = [one for one in found.candidates if one.standing == types_v1.STANDING_FRONT]
    front.sort(key=lambda one: -one.pooled.mean)
    return job_v1.Tradeoff(
        objective=objective,
        choice=found.choice,
        front=[
            job_v1.TradeoffPoint(
                candidate_id=one.candidate.candidate_id,
                reward=one.pooled,
                cost=one.objectives[objective],
            )
            for one in front[:_MOST_SHOWN]
        ],
        candidate_count=len(standings),
        unknown_count=standings.count(types_v1.STANDING_UNKNOWN),
    )


def objectives_of(
    candidate: types_v1.Candidate,
    rollouts: Sequence[FinishedRollout],
    components: Mapping[str, types_v1.Component],
) -> dict[str, types_v1.Estimate]:
    """Returns the means of what a candidate costs; what is not known is left out.

    Args:
        candidate: The candidate.
        rollouts: Its rollouts in the search.
        components: Components by id.
    """
    scored = [one for one in rollouts if one.fused is not None]
    found = {
        COST_USD: _mean(one.cost_usd for one in scored),
        TOKENS: _mean(one.tokens for one in scored),
        PROMPT_LENGTH: _length(candidate, components),
    }
    return {name: mean for name, mean in found.items() if mean is not None}


def standing_of(
    tradeoff: job_v1.Tradeoff, candidate_id: str, costs: Mapping[str, types_v1.Estimate]
) -> types_v1.Standing.ValueType:
    """Returns where a candidate stands, as far as the search tells."""
    if not tradeoff.objective:
        return types_v1.STANDING_UNSPECIFIED
    if any(one.candidate_id == candidate_id for one in tradeoff.front):
        return types_v1.STANDING_FRONT
    known = tradeoff.objective in costs
    return types_v1.STANDING_DOMINATED if known else types_v1.STANDING_UNKNOWN


def _mean(values: Iterable[float | None]) -> types_v1.Estimate | None:
    """Returns a mean with its interval; None when there is no value, or one is not known."""
    every = list(values)
    known = [float(one) for one in every if one is not None]
    if not known or len(known) < len(every):
        return None
    # One value tells nothing of how far they spread.
    high = math.inf if len(known) > 1 else known[0]
    return message_of(mean_interval(known, low=0.0, high=high))


def _length(
    candidate: types_v1.Candidate, components: Mapping[str, types_v1.Component]
) -> types_v1.Estimate | None:
    ids = [
        one
        for choice in candidate.stages.values()
        for one in (choice.instruction_id, choice.demo_set_id)
    ]
    if any(one not in components for one in ids):
        return None
    length = float(sum(features_of(components[one]).character_count for one in ids))
    return types_v1.Estimate(mean=length, lower=length, upper=length, confidence=CONFIDENCE)
