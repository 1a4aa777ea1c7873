"""Aggregations: one score out of the scores of a node's inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from burnish_verifier.fuse import Failed
from burnish_verifier.graph import Node
from burnish_verifier.nodes.base import NodeResult
from burnish_verifier.steps import Aggregate, Gate, Majority, Minimum, WeightedMean


def aggregated(
    node: Node, step: Aggregate, inputs: Mapping[str, NodeResult]
) -> NodeResult | Failed:
    """Returns the score of an aggregation over its inputs, all of which have a result."""
    scores: dict[str, float] = {}
    for name in node.inputs:
        score = inputs[name].score
        if score is None:
            return Failed(
                reason="NODE_SCORE_MISSING",
                message=f"node `{node.node_id}` aggregates `{name}`, which gave no score; let a "
                "python or remote node read its criteria",
                metadata={"node": node.node_id, "input": name},
            )
        scores[name] = score
    if isinstance(step, WeightedMean):
        return NodeResult(score=_mean(scores, step.weights))
    if isinstance(step, Minimum):
        lowest = min(scores, key=lambda name: scores[name])
        return NodeResult(score=scores[lowest], reason=f"lowest: {lowest}")
    if isinstance(step, Gate):
        return _gated(step, scores)
    return _voted(step, scores)


def _mean(scores: Mapping[str, float], weights: Mapping[str, float]) -> float:
    own = {name: weights.get(name, 1.0) for name in scores}
    heaviest = max(own.values())
    total = math.fsum(weight / heaviest for weight in own.values())
    parts = (scores[name] * (weight / heaviest) for name, weight in own.items())
    return min(max(math.fsum(parts) / total, 0.0), 1.0)


def _gated(step: Gate, scores: Mapping[str, float]) -> NodeResult:
    shut = [name for name in step.gates if scores[name] < step.threshold]
    if shut:
        return NodeResult(score=0.0, reason=f"did not pass: {', '.join(shut)}")
    others = {name: score for name, score in scores.items() if name not in step.gates}
    return NodeResult(score=_mean(others, {}) if others else 1.0)


def _voted(step: Majority, scores: Mapping[str, float]) -> NodeResult:
    passed = sum(score >= step.threshold for score in scores.values())
    return NodeResult(
        score=float(2 * passed > len(scores)), reason=f"{passed} of {len(scores)} pass"
    )
