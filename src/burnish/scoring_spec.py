"""From a settled configuration to the `ScoringSpec` of a job: graph, weights, judge options."""

from __future__ import annotations

import json

from google.protobuf.json_format import ParseDict

from burnish.api.job.v1 import job_spec_pb2
from burnish.api.types.v1 import model_pb2, rollout_pb2
from burnish.api.verifier.v1 import rubric_pb2, verifier_service_pb2
from burnish.config.resolved import ResolvedModel, ResolvedVerifier
from burnish.graph_files import read_graph
from burnish.graphs import graph_name


def scoring_spec(verifier: ResolvedVerifier) -> job_spec_pb2.ScoringSpec | None:
    """Returns how rollouts are scored; None takes the app's own reward alone."""
    spec = job_spec_pb2.ScoringSpec(
        weights=rollout_pb2.RewardWeights(
            environment=verifier.weight_env,
            event=verifier.weight_event,
            outcome=verifier.weight_outcome,
        )
    )
    if verifier.graph is not None:
        spec.verifier_graph.CopyFrom(read_graph(verifier.graph))
    elif verifier.graph_id is not None:
        spec.verifier_graph.name = graph_name(verifier.graph_id)
    elif verifier.checks:
        spec.verifier_graph.CopyFrom(_check_graph(verifier))
        return spec
    else:
        return None if verifier.weight_event == 0 and verifier.weight_outcome == 0 else spec
    spec.judge_options.CopyFrom(_judge_options(verifier))
    return spec


def _judge_options(verifier: ResolvedVerifier) -> rubric_pb2.JudgeOptions:
    options = rubric_pb2.JudgeOptions(
        context=verifier.spec_text or "", max_concurrency=verifier.concurrency
    )
    options.timeout.FromNanoseconds(round(verifier.timeout_seconds * 1e9))
    if verifier.rubric is not None:
        options.rubric_source = json.dumps(verifier.rubric, sort_keys=True).encode()
    if verifier.model is not None:
        options.model.CopyFrom(model_spec(verifier.model))
    return options


def model_spec(model: ResolvedModel) -> model_pb2.ModelSpec:
    """Returns a model as it is sent."""
    return model_pb2.ModelSpec(
        provider=model.provider,
        model=model.model or "",
        temperature=model.temperature,
        max_output_tokens=model.max_output_tokens or 0,
        base_url=model.base_url or "",
    )


def _check_graph(verifier: ResolvedVerifier) -> verifier_service_pb2.VerifierGraph:
    graph = verifier_service_pb2.VerifierGraph()
    weights: dict[str, float] = {}
    for index, check in enumerate(verifier.checks):
        node = graph.nodes.add(node_id=f"{check.check}_{index}")
        node.scope = verifier_service_pb2.NODE_SCOPE_OUTPUT
        node.builtin.check = check.check
        ParseDict(check.settings, node.builtin.settings)
        weights[node.node_id] = check.weight
    if len(weights) == 1:
        graph.output_node = next(iter(weights))
        return graph
    mean = graph.nodes.add(node_id="outcome", inputs=list(weights))
    mean.weighted_mean.weights.update(weights)
    graph.output_node = "outcome"
    return graph
