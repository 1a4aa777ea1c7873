"""Judges a task app's reply: whose it is, whether its reward is one, and what of it is kept."""

from __future__ import annotations

import json

from burnish.task_app.model import RewardInvalid, RewardRange, RolloutReply
from burnish_controller.task_apps.base import AppFailure, AppResult, RunRequest

RESULT_MISMATCH = "RESULT_MISMATCH"


def judged(reply: RolloutReply, *, request: RunRequest, reward_range: RewardRange) -> AppResult:
    """Returns what a reply comes to.

    An echo that contradicts the request is a failure of reason `RESULT_MISMATCH`: a result on the
    wrong seed would poison the search silently, so the job has to stop for it.
    """
    mismatch = _mismatch(reply, request=request)
    if mismatch is not None:
        return AppResult(failure=mismatch)
    if reply.failure is not None:
        return AppResult(failure=reply.failure)
    result = reply.result
    if result is None:
        return AppResult()
    try:
        unit = None if result.reward is None else reward_range.to_unit(result.reward)
    except RewardInvalid as error:
        return AppResult(
            failure=AppFailure(
                reason=error.reason,
                message=error.message,
                retryable=False,
                metadata=error.metadata,
            )
        )
    return AppResult(
        environment_reward=unit, output=_json(result.output), reference=_json(result.reference)
    )


def _mismatch(reply: RolloutReply, *, request: RunRequest) -> AppFailure | None:
    wrong = {}
    if reply.rollout_id and reply.rollout_id != request.rollout_id:
        wrong = {"asked": request.rollout_id, "echoed": reply.rollout_id[:100]}
    elif reply.seed is not None and reply.seed != request.seed:
        wrong = {"asked": str(request.seed), "echoed": str(reply.seed)}
    if not wrong:
        return None
    return AppFailure(
        reason=RESULT_MISMATCH,
        message=(
            f"task app answered for {wrong['echoed']} when asked for {wrong['asked']}; "
            "make the app echo `trace_correlation_id` and `seed` of the request it answers"
        ),
        retryable=False,
        metadata=wrong,
    )


def _json(value: object) -> bytes:
    return b"" if value is None else json.dumps(value, separators=(",", ":")).encode()
