"""Which parts a job's reward consists of: what is asked for, what the task offers, what remains."""

from __future__ import annotations

import math
from dataclasses import dataclass

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1

_PARTS = ("environment", "event", "outcome")
_WHY = {
    "outcome": ("no verifier graph gives an outcome", "give a verifier graph"),
    "event": ("no node of the verifier graph scores events", "name an `event_node` in the graph"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardPlan:
    """The weights in force.

    Attributes:
        weights: By part; a part of weight 0 does not count.
        problems: Why no reward can be made this way, with a fix each.
        warnings: Parts that were asked for and are left out.
    """

    weights: types_v1.RewardWeights
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def reward_plan(scoring: job_v1.ScoringSpec, graph: verifier_v1.VerifierGraph | None) -> RewardPlan:
    """Settles the weights of a job.

    A part with a weight that the task never offers would leave every rollout unscored. It is left
    out with a warning when another part remains, and refused when none does. Whether an app gives
    rewards of its own shows only when it runs.

    Args:
        scoring: What the job asks for.
        graph: The graph that scores, whole; None when there is none.
    """
    if not scoring.HasField("weights"):
        only = "environment" if graph is None else "outcome"
        return RewardPlan(weights=types_v1.RewardWeights(**{only: 1.0}))
    given = {name: float(getattr(scoring.weights, name)) for name in _PARTS}
    if any(value < 0 or not math.isfinite(value) for value in given.values()) or not any(
        given.values()
    ):
        problem = "`scoring.weights` must be finite, at least 0, and one of them above 0"
        return RewardPlan(weights=scoring.weights, problems=(problem,))
    offered = {"environment"}
    if graph is not None:
        offered |= {"outcome"} | ({"event"} if graph.event_node else set())
    missing = {
        name: f"`scoring.weights.{name}` is {given[name]:g}, but {_WHY[name][0]}"
        for name in _PARTS
        if given[name] > 0 and name not in offered
    }
    remaining = {name: value for name, value in given.items() if name in offered}
    if not any(remaining.values()):
        fixes = [f"{said}; {_WHY[name][1]}, or set it to 0" for name, said in missing.items()]
        return RewardPlan(weights=scoring.weights, problems=tuple(fixes))
    return RewardPlan(
        weights=types_v1.RewardWeights(**remaining),
        warnings=tuple(f"{said}: that part is left out" for said in missing.values()),
    )


def inheriting_judges(graph: verifier_v1.VerifierGraph) -> list[str]:
    """Returns the judges whose rubric is another's, or is laid over another's."""
    inherit = verifier_v1.AGGREGATION_INHERIT
    return [
        node.node_id
        for node in graph.nodes
        if node.HasField("rubric")
        and (not node.rubric.HasField("rubric") or node.rubric.rubric.aggregation == inherit)
    ]


def rubricless_judges(graph: verifier_v1.VerifierGraph) -> list[str]:
    """Returns the judges that cannot judge without a rubric from elsewhere.

    Shipped judges have one for any task.
    """
    if graph.shipped:
        return []
    return [
        node.node_id
        for node in graph.nodes
        if node.HasField("rubric")
        and not node.rubric.rubric.criteria
        and not node.rubric.rubric.event_criteria
    ]


def modelless_judges(graph: verifier_v1.VerifierGraph) -> list[str]:
    """Returns the judges that name no model of their own."""
    return [
        node.node_id
        for node in graph.nodes
        if node.HasField("rubric") and not node.rubric.model.model
    ]
