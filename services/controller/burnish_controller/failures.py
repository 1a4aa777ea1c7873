"""Why an attempt leaves its rollout without a reward."""

from __future__ import annotations

from burnish.api.types import v1 as types_v1
from burnish_controller.context import JobContext
from burnish_controller.ledger.calls import CallState, Scope
from burnish_controller.task_apps import AppResult

BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"


def attempt_failure(
    job: JobContext, scope: Scope, attempt: int, returned: AppResult
) -> types_v1.Failure | None:
    """Says why an attempt has no reward, or None when it has one.

    An app whose call was refused, or cannot succeed, says that inference failed: the ledger knows
    why, so it is asked first.
    """
    return (
        _refusal(scope, attempt)
        or _hopeless_call(scope, attempt)
        or app_failure(returned)
        or call_failure(job, scope, attempt)
    )


def app_failure(returned: AppResult) -> types_v1.Failure | None:
    """Returns what the app says went wrong."""
    failure = returned.failure
    if failure is None:
        return None
    return types_v1.Failure(
        reason=failure.reason, message=failure.message, retryable=failure.retryable
    )


def call_failure(job: JobContext, scope: Scope, attempt: int) -> types_v1.Failure | None:
    """Says why an attempt's calls leave its rollout without a reward, or None when they do not.

    A reward that an app gives after its model call failed, or after the call went through without
    the candidate, is no measurement of the candidate.
    """
    known = _refusal(scope, attempt) or _hopeless_call(scope, attempt)
    if known is not None:
        return known
    calls = scope.of_attempt(attempt)
    if not calls:
        return types_v1.Failure(
            reason="NO_CALLS",
            message="the app made no model call through the inference URL it was given",
            retryable=True,
        )
    if any(call.state is not CallState.DONE for call in calls):
        return types_v1.Failure(
            reason="CALL_FAILED", message="a model call of the rollout failed", retryable=True
        )
    if not job.learning and any(call.trace is None or not call.trace.stage_id for call in calls):
        return types_v1.Failure(
            reason="STAGE_UNMATCHED",
            message="a model call matched no stage, so it did not carry the candidate",
            retryable=False,
        )
    return None


def _refusal(scope: Scope, attempt: int) -> types_v1.Failure | None:
    refused = scope.refused.get(attempt)
    if not refused:
        return None
    return types_v1.Failure(
        reason=refused[0], message="a call of the rollout was refused", retryable=False
    )


def _hopeless_call(scope: Scope, attempt: int) -> types_v1.Failure | None:
    """Returns the failure of a call that would fail again however often it is made."""
    return next(
        (
            call.failure
            for call in scope.of_attempt(attempt)
            if call.state is CallState.UNPAID
            and call.failure is not None
            and call.failure.reason
            and not call.failure.retryable
        ),
        None,
    )
