"""Errors as the app is told them: OpenAI's JSON form, in our own words, with our request id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

_RETRY_AFTER = re.compile(
    r"\d{1,7}(\.\d{1,6})?|[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT"
)
_KNOWN_CODES = frozenset(
    {
        "content_filter",
        "context_length_exceeded",
        "insufficient_quota",
        "invalid_api_key",
        "model_not_found",
        "rate_limit_exceeded",
    }
)
# Refusals below 500 that may be over by the next try.
_PASSING = frozenset({408, 409, 425, 429})
_PROVIDER_SAYS = {
    400: ("invalid_request_error", "the model provider refused the request as invalid"),
    401: ("authentication_error", "the model provider refused the suite's key; check its settings"),
    403: ("permission_error", "the model provider refused the suite's key for this model"),
    404: ("not_found_error", "the model provider does not know the model"),
    408: ("timeout_error", "the model provider timed out; try again"),
    413: ("invalid_request_error", "the request is too large for the model provider"),
    422: ("invalid_request_error", "the model provider refused the request as invalid"),
    429: ("rate_limit_error", "the model provider's rate limit was reached; try again later"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AppError:
    """An error for the app.

    Attributes:
        status: HTTP status.
        kind: OpenAI's `type`.
        code: Stable reason.
        message: For a developer to read; holds nothing of a candidate.
        headers: Further headers, such as `retry-after`.
    """

    status: int
    kind: str
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, request_id: str) -> bytes:
        """Returns the error as JSON."""
        return orjson.dumps(
            {
                "error": {
                    "message": f"{self.message} (request {request_id})",
                    "type": self.kind,
                    "code": self.code,
                    "param": None,
                }
            }
        )


def invalid(message: str, *, status: int = 400, code: str = "invalid_request") -> AppError:
    """Returns an error that the app has to mend; its SDK will not retry."""
    return AppError(
        status=status,
        kind="invalid_request_error",
        code=code,
        message=message,
        headers={"x-should-retry": "false"},
    )


def broken() -> AppError:
    """Returns the error for what nobody foresaw; it would happen again."""
    return AppError(
        status=500,
        kind="server_error",
        code="internal",
        message="the suite failed; see its log",
        headers={"x-should-retry": "false"},
    )


def rollout_unknown() -> AppError:
    """Returns the one error for URLs that are forged, foreign, expired, or of a rollout now over.

    Nothing can be learnt from it.
    """
    return invalid(
        "the rollout URL is not valid; use the one given for the rollout",
        status=404,
        code="rollout_unknown",
    )


def unavailable(message: str, *, code: str, retry_after: int = 1) -> AppError:
    """Returns a 503 that the app's SDK retries after a while."""
    return AppError(
        status=503,
        kind="server_error",
        code=code,
        message=message,
        headers={"retry-after": str(retry_after)},
    )


def from_provider(status: int, headers: Mapping[str, str], code: str | None) -> AppError:
    """Returns a provider's error in our words, with its status and its time to wait.

    Args:
        status: The provider's, at least 300.
        headers: The provider's, by lower-case name.
        code: `error.code` of the provider's body, passed on only when it is a known one.
    """
    shown = status if status >= 400 else 502
    kind, message = _PROVIDER_SAYS.get(
        status,
        ("server_error", "the model provider failed; try again")
        if shown >= 500
        else ("invalid_request_error", "the model provider refused the request"),
    )
    kept = {
        name: value
        for name in ("retry-after", "retry-after-ms")
        if (value := headers.get(name)) is not None and _RETRY_AFTER.fullmatch(value)
    }
    should_retry = headers.get("x-should-retry")
    if shown != status:
        # A redirect is never followed, and it would be one again.
        kept["x-should-retry"] = "false"
    elif should_retry in ("true", "false"):
        kept["x-should-retry"] = should_retry
    elif code == "insufficient_quota" or (status < 500 and status not in _PASSING):
        # A used-up quota comes as a 429, but no waiting helps.
        kept["x-should-retry"] = "false"
    return AppError(
        status=shown,
        kind=kind,
        code=code if code in _KNOWN_CODES else f"upstream_{status}",
        message=message,
        headers=kept,
    )


_UNFIT = {
    "WILDCARD_UNBOUND": "the messages do not match the template declared for this call; send what "
    "the template says, or correct the template",
    "REPLACEMENT_UNFOUND": "the messages lack a text that has to be replaced; send what the job "
    "declares for this call",
}


def unfit(reason: str) -> AppError:
    """Returns the error for a call on which the candidate's prompt cannot be put."""
    message = _UNFIT.get(reason, "the messages are not those declared for this call")
    return invalid(message, status=422, code=reason.lower())
