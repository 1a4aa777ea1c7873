"""How calls end that were begun with the ledger and could not be made."""

from __future__ import annotations

from burnish.errors import BurnishError
from burnish_interceptor import app_error
from burnish_interceptor.calls import Problem
from burnish_interceptor.ended import Ended


def unusable(error: BurnishError) -> Ended:
    """Returns the end of a call whose provider cannot be used."""
    return Ended(
        problem=Problem(reason=error.reason, message=error.message, retryable=False),
        not_sent=True,
        error=app_error.invalid(
            "the suite cannot reach the model's provider; see its log",
            status=424,
            code=error.reason.lower(),
        ),
    )


def unbound(problem: Problem) -> Ended:
    """Returns the end of a call that the candidate could not be put on."""
    return Ended(
        problem=problem,
        not_sent=True,
        error=app_error.unfit(problem.reason),
    )
