"""The HTTP bodies of a rollout, written for apps of both generations and read from either."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from burnish.errors import BurnishError
from burnish.task_app.jsonwire import (
    BodyInvalid,
    first_int,
    first_number,
    first_text,
    section,
)
from burnish.task_app.model import (
    ModelChoice,
    Result,
    RolloutFailure,
    RolloutReply,
    RolloutRequest,
)
from burnish.task_app.rewards import extract_reward

_INFRASTRUCTURE = {
    "timeout": "TASK_APP_TIMEOUT",
    "network_error": "TASK_APP_NETWORK_ERROR",
    "runtime_error": "TASK_APP_RUNTIME_ERROR",
}
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://\S+")
_SECRET = re.compile(r"(?i)\b(bearer\s+\S+|(?:sk|gsk|key)[-_][\w-]{6,}|[A-Za-z0-9_-]{32,})")
_MAX_DETAIL = 300


def request_body(request: RolloutRequest) -> dict[str, Any]:
    """Writes a request for apps of both generations; it holds nothing of a candidate."""
    config: dict[str, Any] = {
        "model": request.model.model,
        "provider": request.model.provider,
        "inference_url": request.inference_url,
        "trace_correlation_id": request.rollout_id,
    }
    if request.model.temperature is not None:
        config["temperature"] = request.model.temperature
    if request.model.max_output_tokens is not None:
        config["max_completion_tokens"] = request.model.max_output_tokens
    body: dict[str, Any] = {
        "run_id": request.rollout_id,
        "trace_correlation_id": request.rollout_id,
        "env": {
            "env_name": request.env_name or None,
            "seed": request.seed,
            "config": {**request.env_config, "seed": request.seed},
        },
        "policy": {"policy_name": "burnish", "config": config},
        "on_done": "reset",
        "mode": "eval",
    }
    if request.max_seconds is not None:
        body["safety"] = {"max_time_s": request.max_seconds}
    return body


def parse_request(body: Mapping[str, Any], *, cid: str = "", attempt: int = 1) -> RolloutRequest:
    """Reads a request of either generation.

    Args:
        body: The parsed body.
        cid: Correlation id of the request's query; empty when there is none.
        attempt: Attempt, from the request's header.

    Raises:
        BodyInvalid: Something needed is missing; every fault is named.
    """
    env, config = section(body, "env"), section(body, "policy", "config")
    env_config = section(env, "config")
    rollout_id = first_text(
        config.get("trace_correlation_id"),
        config.get("trace"),
        cid,
        body.get("trace_correlation_id"),
        body.get("trace"),
        body.get("run_id"),
    )
    seed = first_int(env.get("seed"), env_config.get("seed"), env_config.get("index"))
    url = first_text(config.get("inference_url"), config.get("api_base"), config.get("base_url"))
    problems = []
    if not rollout_id:
        problems.append("`trace_correlation_id` (or `run_id`) is missing; name the rollout")
    if seed is None or seed < 0:
        problems.append(f"`env.seed` is {seed!r}; give a whole number from 0")
    if not url:
        problems.append("`policy.config.inference_url` is missing; say where the model is")
    if problems:
        raise BodyInvalid("rollout request: " + "; ".join(problems))
    return RolloutRequest(
        rollout_id=rollout_id,
        seed=seed if seed is not None else 0,
        inference_url=url,
        attempt=attempt,
        model=ModelChoice(
            model=first_text(config.get("model")),
            provider=first_text(config.get("provider")),
            temperature=first_number(config.get("temperature")),
            max_output_tokens=first_int(
                config.get("max_completion_tokens"), config.get("max_tokens")
            ),
        ),
        env_name=first_text(env.get("env_name"), env.get("env_id")),
        env_config=dict(env_config),
        max_seconds=first_number(section(body, "safety").get("max_time_s")),
    )


def reply_body(request: RolloutRequest, outcome: Result | RolloutFailure) -> dict[str, Any]:
    """Writes a reply in both generations at once."""
    failure = outcome if isinstance(outcome, RolloutFailure) else None
    result = outcome if isinstance(outcome, Result) else Result()
    reward, details = result.reward, dict(result.details)
    metadata: dict[str, Any] = {"seed": request.seed, "attempt": request.attempt}
    if failure is not None:
        metadata["failure"] = {"reason": failure.reason, "retryable": failure.retryable}
    cid = request.rollout_id
    return {
        "run_id": cid,
        "trace_correlation_id": cid,
        "seed": request.seed,
        "reward_info": {
            "outcome_reward": reward,
            "outcome_objectives": None if reward is None else {"reward": reward},
            "details": details,
        },
        "metrics": {
            "episode_returns": [] if reward is None else [reward],
            "mean_return": reward,
            "outcome_score": reward,
            "num_steps": 1,
            "num_episodes": 0 if failure is not None else 1,
            "details": details,
        },
        "output": result.output,
        "reference": result.reference,
        "trace": {
            "schema_version": "3.0",
            "event_history": [],
            "markov_blanket_message_history": [],
            "metadata": {
                "session_id": cid,
                "trace_correlation_id": cid,
                "correlation_ids": {"trace_correlation_id": cid},
            },
        },
        "inference_url": request.inference_url,
        "pipeline_metadata": {
            "inference_url": request.inference_url,
            "trace_correlation_id": cid,
        },
        "metadata": metadata,
        "aborted": failure is not None,
        "success_status": "success" if failure is None else _status_of(failure),
        "status_detail": None if failure is None else failure.message,
    }


def parse_reply(body: Mapping[str, Any]) -> RolloutReply:
    """Reads a reply of either generation. A reward that cannot be read is a failure, never 0."""
    metadata = section(body, "metadata")
    rollout_id, seed = echo_of(body), first_int(body.get("seed"), metadata.get("seed"))
    status = first_text(body.get("success_status")).lower() or "success"
    if status == "success" and body.get("aborted") is True:
        status = "aborted"
    if status != "success":
        return RolloutReply(
            rollout_id=rollout_id, seed=seed, failure=_failure_of(status, body=body)
        )
    try:
        result = _result_of(body)
    except BurnishError as error:
        failure = RolloutFailure(
            reason=error.reason, message=error.message, retryable=False, metadata=error.metadata
        )
        return RolloutReply(rollout_id=rollout_id, seed=seed, failure=failure)
    return RolloutReply(rollout_id=rollout_id, seed=seed, result=result)


def echo_of(body: Mapping[str, Any]) -> str:
    """Returns the correlation id that a reply echoes; empty when it echoes none.

    A reply that contradicts itself gives the first of its ids in the order of the contract.
    """
    return first_text(
        body.get("trace_correlation_id"),
        section(body, "pipeline_metadata").get("trace_correlation_id"),
        section(body, "trace", "metadata").get("trace_correlation_id"),
        section(body, "trace", "session_trace", "metadata").get("trace_correlation_id"),
        body.get("run_id"),
    )


def redacted(text: str) -> str:
    """Shortens an app's text and takes out addresses and what looks like a secret."""
    return _SECRET.sub("<redacted>", _URL.sub("<url>", " ".join(text.split())))[:_MAX_DETAIL]


def _result_of(body: Mapping[str, Any]) -> Result:
    metadata = section(body, "metadata")
    details = section(body, "reward_info", "details") or section(body, "metrics", "details")
    output = body.get("output", metadata.get("output"))
    if output is None:
        output = body.get("artifact") or (dict(details) if details else None)
    return Result(
        reward=extract_reward(body),
        output=output,
        reference=body.get("reference", metadata.get("reference")),
        details=dict(details),
    )


def _status_of(failure: RolloutFailure) -> str:
    by_reason = {reason: status for status, reason in _INFRASTRUCTURE.items()}
    if failure.reason == "INFERENCE_FAILED":
        return "network_error"
    return by_reason.get(failure.reason, "runtime_error")


def _failure_of(status: str, *, body: Mapping[str, Any]) -> RolloutFailure:
    told = section(body, "metadata", "failure")
    reason = first_text(told.get("reason"))
    if not _REASON.fullmatch(reason):
        reason = _INFRASTRUCTURE.get(status, "TASK_APP_RUNTIME_ERROR")
    detail = redacted(first_text(body.get("status_detail"))) or "it gives no detail"
    return RolloutFailure(
        reason=reason,
        message=f"task app reports {redacted(status)!r}: {detail}",
        retryable=told.get("retryable") is not False,
        metadata={"success_status": redacted(status)},
    )
