"""Bodies of the scoring endpoints: what is asked, in both published shapes, and what is answered.

The older shape has trace, options and rubric at the top; the later one puts them into `input`, and
its answer puts the review into `output`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import InvalidArgument
from burnish.graphs import graph_name
from burnish.models import provider_of
from burnish.saved_rollouts import SavedRollout, read_rollouts, session_traces
from burnish.texts import is_whole

DEFAULT_GRAPH: Final = "zero_shot_verifier"
_TRACES: Final = ("trace", "session_trace")
_REFERENCE: Final = "trace:"
_PROMPTS: Final = ("system_prompt", "user_prompt")
_HALF: Final = "a text holds half of a character (a lone surrogate); write it anew"


class BodyRefused(InvalidArgument):
    """A scoring request that cannot be read; the message names every fault."""

    default_reason = "SCORE_REQUEST_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a scoring request asks for.

    Attributes:
        request: The same for the verifier.
        wrapped: Whether the answer goes into `output`.
        events: Whether events are reviewed.
        outcome: Whether the outcome is reviewed.
    """

    request: verifier_v1.ScoreRolloutsRequest
    wrapped: bool
    events: bool
    outcome: bool


def read_body(body: object, *, max_cost_usd: float) -> Asked:
    """Reads a scoring request.

    Args:
        body: The body as a JSON value.
        max_cost_usd: Most US dollars that judges may cost; the body may ask for less.

    Raises:
        BodyRefused: It cannot be read; the message names every fault.
    """
    problems: list[str] = []
    top = _table(body, "the body", problems)
    given = _table(top["input"], "`input`", problems) if "input" in top else top
    options = _table(given.get("options") or {}, "`options`", problems)
    if top.get("stream"):
        problems.append("`stream` is not offered; leave it out")
    rollout = _rollout(given, problems)
    request = verifier_v1.ScoreRolloutsRequest(include_node_results=True)
    try:
        request.judge_options.CopyFrom(_judge_options(top, given, options, problems))
        request.verifier_graph = graph_name(_graph(top, options))
        request.rollouts.append(rollout.message)
        request.session_traces.update(session_traces([rollout]))
    except UnicodeEncodeError:
        problems.append(_HALF)
    request.max_cost_usd = _cap(options, max_cost_usd, problems)
    if problems:
        raise BodyRefused("; ".join(problems), metadata={"problems": str(len(problems))})
    return Asked(
        request=request,
        wrapped="input" in top,
        events=options.get("event", True) is not False,
        outcome=options.get("outcome", True) is not False,
    )


def referred_rollout(body: object) -> str:
    """Returns the rollout of the suite whose trace is meant; empty when the trace is given.

    Raises:
        BodyRefused: No rollout can be called so.
    """
    given = _input(body)
    reference = given.get("trace_ref")
    if not isinstance(reference, str) or any(given.get(key) is not None for key in _TRACES):
        return ""
    if not is_whole(reference):
        raise BodyRefused(_HALF)
    return reference.removeprefix(_REFERENCE)


def with_trace(body: object, trace: object) -> object:
    """Returns a body in which a trace stands where its reference was."""
    if not isinstance(body, Mapping):
        return body
    given = {**_input(body), _TRACES[0]: trace}
    return {**body, "input": given} if "input" in body else given


def _input(body: object) -> Mapping[str, Any]:
    inner = body.get("input", body) if isinstance(body, Mapping) else {}
    return inner if isinstance(inner, Mapping) else {}


def answer(
    asked: Asked, scored: verifier_v1.ScoredRollout, graph: verifier_v1.VerifierGraph, *, ms: float
) -> dict[str, Any]:
    """Returns the answer to a scoring request.

    Args:
        asked: The request.
        scored: What came of it.
        graph: The graph that scored.
        ms: How long it took, in milliseconds.
    """
    review = _review(asked, scored, graph)
    if not asked.wrapped:
        return review
    nodes = [one for one in scored.node_results if one.HasField("score")]
    usage = scored.usage
    return {
        "output": review,
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
            "cost_usd": usage.cost_usd if usage.HasField("cost_usd") else None,
        },
        "cache_status": "warm" if nodes and all(one.cached for one in nodes) else "cold",
        "latency_ms": round(ms, 3),
    }


def _review(
    asked: Asked, scored: verifier_v1.ScoredRollout, graph: verifier_v1.VerifierGraph
) -> dict[str, Any]:
    results = {one.node_id: one for one in scored.node_results}
    found: dict[str, Any] = {
        "status": "ok",
        "event_reviews": [],
        "outcome_review": None,
        "event_totals": [],
        "objectives": {},
        "evidence": [_evidence(one) for node in scored.node_results for one in node.evidence],
        "details": {"nodes": {one.node_id: _node(one) for one in scored.node_results}},
        "metadata": {"verifier_graph": graph.name, "simulated": scored.simulated},
    }
    if scored.HasField("failure"):
        failure = scored.failure
        told = {"reason": failure.reason, "message": failure.message}
        return {**found, "status": "failed", "details": {**found["details"], "failure": told}}
    events = results.get(graph.event_node)
    if asked.events and events is not None:
        found["event_reviews"] = [
            {"criteria": _criteria(one.criteria), "total": one.total, "summary": one.summary}
            for one in events.event_reviews
        ]
        found["event_totals"] = [one.total for one in events.event_reviews]
    output = results.get(graph.output_node)
    if asked.outcome and scored.reward.HasField("outcome"):
        criteria = _criteria(output.criteria) if output is not None else {}
        found["outcome_review"] = {
            "criteria": criteria or _criteria(_every_criterion(scored)),
            "total": scored.reward.outcome,
            "summary": output.reason if output is not None else scored.reward.feedback,
        }
        found["objectives"] = {"reward": scored.reward.outcome}
    return found


def _every_criterion(scored: verifier_v1.ScoredRollout) -> list[verifier_v1.CriterionScore]:
    return [one for node in scored.node_results for one in node.criteria]


def _node(result: verifier_v1.NodeResult) -> dict[str, Any]:
    failure = result.failure
    return {
        "score": result.score if result.HasField("score") else None,
        "reason": result.reason,
        "failure": failure.reason if result.HasField("failure") else None,
    }


def _criteria(scores: Sequence[verifier_v1.CriterionScore]) -> dict[str, Any]:
    return {
        one.criterion_id: {
            "score": one.score,
            "reason": one.reason,
            "weight": one.weight or 1.0,
            "description": one.description,
        }
        for one in scores
    }


def _evidence(evidence: verifier_v1.Evidence) -> dict[str, Any]:
    return {
        "description": evidence.description,
        "evidence_snippet": evidence.snippet,
        "iteration": evidence.iteration,
    }


def _table(value: object, what: str, problems: list[str]) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    problems.append(f"{what} is {type(value).__name__}; give an object")
    return {}


def _rollout(given: Mapping[str, Any], problems: list[str]) -> SavedRollout:
    trace = next((given[key] for key in _TRACES if given.get(key) is not None), None)
    row: dict[str, Any] = {"session_trace": trace}
    for key in ("output", "reference"):
        if given.get(key) is not None:
            row[key] = given[key]
    artifacts = given.get("artifact")
    if "output" not in row and isinstance(artifacts, list) and artifacts:
        row["output"] = artifacts[-1]
    if not isinstance(trace, Mapping):
        problems.append("`trace` is no trace; give one, or `trace_ref` of a rollout of the suite")
        return SavedRollout(rollout_id="1")
    metadata = trace.get("metadata")
    if isinstance(metadata, Mapping):
        row["metadata"] = metadata
    found = read_rollouts([{**row, "id": trace.get("session_id")}], problems)
    return found[0]


def _graph(top: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    for named in (top.get("job_id"), options.get("rubric_id"), options.get("verifier_graph_id")):
        if isinstance(named, str) and named:
            return named
    return DEFAULT_GRAPH


def _judge_options(
    top: Mapping[str, Any],
    given: Mapping[str, Any],
    options: Mapping[str, Any],
    problems: list[str],
) -> verifier_v1.JudgeOptions:
    found = verifier_v1.JudgeOptions()
    rubric = given.get("rubric")
    if rubric:
        found.rubric_source = json.dumps(rubric).encode()
    model = top.get("model") or options.get("model")
    if isinstance(model, str) and model:
        provider = options.get("provider") or provider_of(model)
        if not isinstance(provider, str):
            problems.append(f"`model` is {model!r}, of no known provider; give `options.provider`")
        else:
            found.model.CopyFrom(types_v1.ModelSpec(provider=provider, model=model))
    prompts = [given[key] for key in _PROMPTS if isinstance(given.get(key), str)]
    found.context = "\n\n".join(prompt for prompt in prompts if prompt)
    for example in _list(given, "calibration_examples", problems):
        found.calibration_examples.append(_calibration(example, problems))
    for example in _list(given, "gold_examples", problems):
        found.gold_examples.append(_gold(example, problems))
    return found


def _calibration(example: Mapping[str, Any], problems: list[str]) -> verifier_v1.CalibrationExample:
    rewards = example.get("event_rewards") or []
    numbers = [one for one in rewards if _is_unit(one)] if isinstance(rewards, list) else []
    outcome = example.get("outcome_reward", 0.0)
    if not isinstance(rewards, list) or len(numbers) != len(rewards) or not _is_unit(outcome):
        problems.append("a calibration example has rewards that are no numbers in [0, 1]")
        return verifier_v1.CalibrationExample()
    return verifier_v1.CalibrationExample(
        session_trace=json.dumps(example.get("session_trace") or {}).encode(),
        event_rewards=numbers,
        outcome_reward=outcome,
    )


def _gold(example: Mapping[str, Any], problems: list[str]) -> verifier_v1.GoldExample:
    reward = example.get("gold_reward", example.get("gold_score", 1.0))
    if not _is_unit(reward):
        problems.append("a gold example has a reward that is no number in [0, 1]")
        return verifier_v1.GoldExample()
    trace = example.get("session_trace")
    return verifier_v1.GoldExample(
        summary=str(example.get("summary") or ""),
        gold_reward=reward,
        gold_reasoning=str(example.get("gold_reasoning") or ""),
        session_trace=b"" if trace is None else json.dumps(trace).encode(),
    )


def _list(given: Mapping[str, Any], key: str, problems: list[str]) -> list[Mapping[str, Any]]:
    value = given.get(key) or []
    if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        return value
    problems.append(f"`{key}` is no list of objects; give one")
    return []


def _cap(options: Mapping[str, Any], most: float, problems: list[str]) -> float:
    asked = options.get("max_cost_usd")
    if asked is None:
        return most
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not asked >= 0:
        problems.append(f"`options.max_cost_usd` is {asked!r}; give a number from 0")
        return most
    # Compared first: an integer may be too large for a float.
    return float(min(most, asked))


def _is_unit(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
