"""What a job's candidates earn against what they cost, as typed values and as a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from burnish.api.job.v1 import job_result_pb2
from burnish.api.types.v1 import rollout_pb2

if TYPE_CHECKING:
    from burnish.results import Estimate, JobOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One candidate that no other beats in both.

    Attributes:
        candidate_id: The candidate.
        reward: Reward that it is believed to have, pooled over all that was seen.
        cost: What it costs.
    """

    candidate_id: str
    reward: Estimate
    cost: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What candidates earn against what they cost, as the search ended.

    Attributes:
        objective: What they cost: `cost_usd` or `tokens` per rollout, or `prompt_length` in
            characters.
        choice: What the challenger was chosen by; empty when by reward alone.
        points: Those that no other beats in both, best reward first.
        candidate_count: How many were compared.
        unknown_count: How many could not be, for their cost is not known.
    """

    objective: str
    choice: str
    points: tuple[FrontPoint, ...]
    candidate_count: int
    unknown_count: int


def front_of(
    message: job_result_pb2.Tradeoff, estimate: Callable[[rollout_pb2.Estimate], Estimate]
) -> Front:
    """Returns the front as a typed value.

    Args:
        message: As the contract has it.
        estimate: Reads a mean with its uncertainty.
    """
    return Front(
        objective=message.objective,
        choice=message.choice,
        points=tuple(
            FrontPoint(
                candidate_id=one.candidate_id,
                reward=estimate(one.reward),
                cost=estimate(one.cost),
            )
            for one in message.front
        ),
        candidate_count=message.candidate_count,
        unknown_count=message.unknown_count,
    )


def front_table(outcome: JobOutcome) -> list[str]:
    """Returns the front as lines of Markdown; none before the search ended."""
    front = outcome.front
    if front is None:
        return []
    names = {one.prompt.candidate_id: "baseline" for one in outcome.candidates if one.baseline}
    lines = []
    if front.points:
        lines += [f"| candidate | reward | {front.objective} | reward per cost added |"]
        lines += ["|---|---|---|---|"]
    cheapest = front.points[-1] if front.points else None
    for one in front.points:
        name = names.get(one.candidate_id, f"`{one.candidate_id[:13]}`")
        lines.append(
            f"| {name} | {one.reward.mean:.4f} | {one.cost.mean:.6g} | {_gain(one, cheapest)} |"
        )
    if front.points:
        lines.append("")
    lines.append(
        f"{len(front.points)} of {front.candidate_count} candidates are beaten by no other in both."
    )
    if front.unknown_count:
        lines.append(
            f"The `{front.objective}` of {front.unknown_count} is not known: they are compared with"
            " none, and are not among them."
        )
    if front.choice:
        lines.append(f"Chosen by {front.choice}.")
    return lines


def _gain(one: FrontPoint, cheapest: FrontPoint | None) -> str:
    """Returns the reward gained over the cheapest per unit of cost added."""
    if cheapest is None or one.cost.mean <= cheapest.cost.mean:
        return "-"
    gained = one.reward.mean - cheapest.reward.mean
    return f"{gained / (one.cost.mean - cheapest.cost.mean):.3g}"
