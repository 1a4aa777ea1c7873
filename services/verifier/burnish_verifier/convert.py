"""Requests and results from protobuf to the engine's values and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from google.protobuf.duration_pb2 import Duration

from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import InvalidArgument
from burnish.rubric_forms import read_rubric
from burnish.rubrics import Rubric
from burnish.texts import whole
from burnish_verifier.convert_graph import node_message
from burnish_verifier.convert_judge import calibration_of, gold_of, model_of, rubric_of
from burnish_verifier.engine import Reward, Rollout, Scored, ScoreRequest
from burnish_verifier.fuse import Failed, Weights
from burnish_verifier.nodes.base import (
    NOTHING,
    CriterionScore,
    EventReview,
    Evidence,
    JudgeOptions,
    NodeFailed,
    NodeResult,
    NodeTask,
    Spending,
)
from burnish_verifier.runner import Asking

_DEFAULTS = JudgeOptions()
_MOST_CONCURRENCY = 256
_MOST_SECONDS = 3600.0


def request_of(message: verifier_v1.ScoreRolloutsRequest) -> ScoreRequest:
    """Reads a request to score rollouts.

    Raises:
        InvalidArgument: The weights, the options or the repeat are none.
    """
    if message.repeat < 0:
        raise InvalidArgument(
            f"`repeat` is {message.repeat}; give a number from 0",
            reason="REPEAT_INVALID",
            metadata={"repeat": str(message.repeat)},
        )
    traces = message.session_traces
    return ScoreRequest(
        rollouts=[_rollout_of(each, traces) for each in message.rollouts],
        graph=message.verifier_graph,
        weights=weights_of(message.weights),
        asking=Asking(
            job=message.job, options=_options_of(message.judge_options), repeat=message.repeat
        ),
        every_node=message.include_node_results,
    )


def response_message(
    request: verifier_v1.ScoreRolloutsRequest, scored: Sequence[Scored], *, graph: str
) -> verifier_v1.ScoreRolloutsResponse:
    """Writes what rollouts came to."""
    response = verifier_v1.ScoreRolloutsResponse(verifier_graph=graph)
    spent = NOTHING
    for rollout, each in zip(request.rollouts, scored, strict=True):
        message = response.scored_rollouts.add(
            rollout_id=rollout.rollout_id, simulated=each.simulated
        )
        if isinstance(each.result, Failed):
            message.failure.CopyFrom(failure_message(each.result))
        else:
            message.reward.CopyFrom(_reward_message(each.result))
        if each.spent is not NOTHING:
            message.usage.CopyFrom(_usage_message(each.spent))
            spent = spent.plus(each.spent)
        if request.include_node_results:
            message.node_results.extend(
                _node_result(name, found) for name, found in each.nodes.items()
            )
    response.usage.CopyFrom(_usage_message(spent))
    return response


def weights_of(message: types_v1.RewardWeights) -> Weights:
    """Reads weights."""
    return Weights(environment=message.environment, event=message.event, outcome=message.outcome)


def failure_message(failed: Failed) -> types_v1.Failure:
    """Writes a failure."""
    return types_v1.Failure(
        reason=failed.reason,
        message=whole(failed.message),
        retryable=failed.retryable,
        metadata={name: whole(value) for name, value in failed.metadata.items()},
    )


def failed_of(message: types_v1.Failure) -> Failed:
    """Reads a failure."""
    return Failed(
        reason=message.reason,
        message=message.message,
        retryable=message.retryable,
        metadata=dict(message.metadata),
    )


def remote_request(
    task: NodeTask, *, final_message: str, most_trace_bytes: int
) -> verifier_v1.EvaluateNodeRequest:
    """Writes what a node served elsewhere is asked."""
    evidence = task.evidence
    trace = evidence.session_trace if task.node.scope == "transcript" else b""
    return verifier_v1.EvaluateNodeRequest(
        node=node_message(task.node),
        rollout=types_v1.RolloutResult(
            rollout_id=task.rollout_id, output=evidence.output, reference=evidence.reference
        ),
        inputs={name: _input_message(found) for name, found in task.inputs.items()},
        trace=task.rollout_id if task.node.scope != "output" else "",
        session_trace=trace if len(trace) <= most_trace_bytes else b"",
        final_message=final_message,
        verifier_graph=task.graph,
    )


def remote_result(message: verifier_v1.EvaluateNodeResponse) -> NodeResult | Failed:
    """Reads what a node served elsewhere answered."""
    spent = _spending_of(message.usage) if message.HasField("usage") else NOTHING
    if message.HasField("failure"):
        found = failed_of(message.failure)
        return NodeFailed(
            reason=found.reason or "REMOTE_NODE_FAILED",
            message=found.message or "the remote node gave no reason",
            retryable=found.retryable,
            metadata=found.metadata,
            spent=spent,
        )
    if not message.HasField("reward"):
        return NodeFailed(
            reason="REMOTE_NODE_INVALID",
            message="the remote node answered neither a reward nor a failure; let it answer one",
            spent=spent,
        )
    reward = message.reward
    events = (EventReview(event_index=0, total=reward.event),) if reward.HasField("event") else ()
    return NodeResult(
        score=reward.fused,
        reason=reward.feedback,
        criteria=tuple(
            CriterionScore(criterion_id=name, score=score)
            for name, score in sorted(reward.criteria.items())
        ),
        event_reviews=events,
        spent=spent,
    )


def _rollout_of(message: types_v1.RolloutResult, traces: Mapping[str, bytes]) -> Rollout:
    return Rollout(
        rollout_id=message.rollout_id,
        environment=message.environment_reward if message.HasField("environment_reward") else None,
        evidence=Evidence(
            output=message.output,
            reference=message.reference,
            session_trace=traces.get(message.rollout_id, b""),
        ),
        failure=failed_of(message.failure) if message.HasField("failure") else None,
    )


def _options_of(message: verifier_v1.JudgeOptions) -> JudgeOptions:
    concurrency = message.max_concurrency or _DEFAULTS.max_concurrency
    seconds = message.timeout.ToNanoseconds() / 1e9 or _DEFAULTS.timeout
    problems = []
    if not 1 <= concurrency <= _MOST_CONCURRENCY:
        problems.append(
            f"`max_concurrency` is {concurrency}; give a number in [1, {_MOST_CONCURRENCY}]"
        )
    if not 0 < seconds <= _MOST_SECONDS:
        problems.append(f"`timeout` is {seconds:g} s; give a time in (0 s, {_MOST_SECONDS:g} s]")
    if message.HasField("rubric") and message.rubric_source:
        problems.append("`rubric` and `rubric_source` are both set; give one")
    if problems:
        raise InvalidArgument(
            "judge options: " + "; ".join(problems),
            reason="JUDGE_OPTIONS_INVALID",
            metadata={"problems": str(len(problems))},
        )
    return JudgeOptions(
        rubric=_rubric(message),
        model=model_of(message.model) if message.HasField("model") else None,
        context=message.context,
        calibration_examples=tuple(calibration_of(each) for each in message.calibration_examples),
        gold_examples=tuple(gold_of(each) for each in message.gold_examples),
        timeout=seconds,
        max_concurrency=concurrency,
    )


def _rubric(message: verifier_v1.JudgeOptions) -> Rubric | None:
    if message.HasField("rubric"):
        return rubric_of(message.rubric)
    if not message.rubric_source:
        return None
    try:
        value = json.loads(message.rubric_source)
    except (ValueError, RecursionError):
        raise InvalidArgument(
            "judge options: `rubric_source` is no JSON; give the rubric as RFC 8259 JSON",
            reason="JUDGE_OPTIONS_INVALID",
        ) from None
    return read_rubric(value)


def _reward_message(reward: Reward) -> types_v1.Reward:
    return types_v1.Reward(
        fused=reward.fused,
        environment=reward.environment,
        event=reward.event,
        outcome=reward.outcome,
        criteria={whole(name): score for name, score in reward.criteria.items()},
        feedback=whole(reward.feedback),
    )


def _input_message(found: NodeResult) -> types_v1.Reward:
    return types_v1.Reward(
        fused=found.score or 0.0,
        outcome=found.score,
        event=found.event_score,
        criteria={whole(each.criterion_id): each.score for each in found.criteria},
        feedback=whole(found.reason),
    )


def _node_result(name: str, found: NodeResult | Failed) -> verifier_v1.NodeResult:
    if isinstance(found, Failed):
        return verifier_v1.NodeResult(
            node_id=name,
            failure=failure_message(found),
            usage=_usage_message(found.spent) if isinstance(found, NodeFailed) else None,
        )
    latency = Duration()
    latency.FromNanoseconds(round(found.seconds * 1e9))
    message = verifier_v1.NodeResult(
        node_id=name,
        reason=whole(found.reason),
        criteria=[_criterion_score(each) for each in found.criteria],
        event_reviews=[
            verifier_v1.EventReview(
                event_index=review.event_index,
                criteria=[_criterion_score(each) for each in review.criteria],
                total=review.total,
                summary=whole(review.summary),
            )
            for review in found.event_reviews
        ],
        usage=_usage_message(found.spent),
        cached=found.cached,
        simulated=found.simulated,
        evidence=[
            verifier_v1.Evidence(
                description=whole(each.description),
                snippet=whole(each.snippet),
                iteration=each.iteration,
            )
            for each in found.evidence
        ],
        latency=latency,
    )
    if found.score is not None:
        message.score = found.score
    return message


def _criterion_score(each: CriterionScore) -> verifier_v1.CriterionScore:
    return verifier_v1.CriterionScore(
        criterion_id=whole(each.criterion_id),
        score=each.score,
        reason=whole(each.reason),
        weight=each.weight,
        description=whole(each.description),
    )


def _usage_message(spent: Spending) -> types_v1.Usage:
    return types_v1.Usage(
        input_tokens=spent.input_tokens,
        output_tokens=spent.output_tokens,
        cost_usd=spent.cost_usd,
        call_count=spent.call_count,
        possibly_paid_call_count=spent.possibly_paid_call_count,
        estimated=spent.estimated,
    )


def _spending_of(message: types_v1.Usage) -> Spending:
    return Spending(
        input_tokens=message.input_tokens,
        output_tokens=message.output_tokens,
        cost_usd=message.cost_usd if message.HasField("cost_usd") else None,
        call_count=message.call_count,
        possibly_paid_call_count=message.possibly_paid_call_count,
        estimated=message.estimated,
    )
