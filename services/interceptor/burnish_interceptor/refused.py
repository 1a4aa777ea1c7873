"""A call that is not made."""

from __future__ import annotations

from burnish_interceptor import app_error
from burnish_interceptor.app_error import AppError
from burnish_interceptor.calls import Problem

_SPENT = frozenset({"BUDGET_EXHAUSTED", "PRICE_UNKNOWN"})


class CallRefused(Exception):
    """A call that is not made; the app is told why."""

    def __init__(self, error: AppError) -> None:
        super().__init__(error.code)
        self.error = error


def told_of(problem: Problem) -> AppError:
    """Returns what the app is told of a call that the ledger refuses."""
    code = problem.reason.lower()
    if problem.retryable:
        return app_error.unavailable("the call cannot be made now; try again", code=code)
    if problem.reason == "SCOPE_NOT_ACTIVE":
        # The rollout is over, and with it its URL: whoever kept it learns no more than a guesser.
        return app_error.rollout_unknown()
    if problem.reason in _SPENT:
        return AppError(
            status=402,
            kind="insufficient_quota",
            code=code,
            message="the job's budget does not allow this call",
            headers={"x-should-retry": "false"},
        )
    return app_error.invalid(
        "the job does not allow this call; it may be over", status=409, code=code
    )
