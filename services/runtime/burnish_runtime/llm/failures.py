"""One meaning for the ways in which any provider can fail.

The text of a provider's error never travels on: it may quote the prompt or part of a key. What is
kept is the status and the provider's own short error code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from burnish_runtime.llm.base import ProviderError, ProviderUnavailable

_RETRY_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
# 503 and 529 say that the provider did not begin: it is overloaded, or away.
_UNPAID_STATUSES = (frozenset(range(400, 500)) - {408, 409, 499}) | {503, 529}
_NO_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
# The model wrote something, and the provider threw it away: no JSON, or no call of a tool.
_PAID_AND_LOST = frozenset({"json_validate_failed", "tool_use_failed"})
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_MAX_RETRY_AFTER = 600.0

_FIXES = {
    400: "check the model's name and its output limit",
    401: "check the provider's API key",
    403: "check what the provider's API key may do",
    404: "check the model's name and the base URL",
    413: "lower the effort, so that less context is sent",
}


def status_error(
    provider: str,
    status: int,
    *,
    code: str = "",
    headers: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> ProviderError:
    """Returns the error for an HTTP status.

    Args:
        provider: Name of the provider.
        status: Its status, at least 300.
        code: Its own short error code; dropped when it does not look like one.
        headers: Its headers; `retry-after-ms` and `retry-after` are read.
        now: Time that a date in `retry-after` is relative to; the present when None.
    """
    code = code if _CODE.fullmatch(code) is not None else ""
    metadata = {"provider": provider, "status": str(status)}
    if code:
        metadata["provider_code"] = code
    named = f"provider `{provider}` answered {status}" + (f" ({code})" if code else "")
    unpaid = status in _UNPAID_STATUSES and code not in _PAID_AND_LOST
    if code in _NO_CREDIT:
        return ProviderError(
            f"{named}: the account has no credit left; top it up or choose another provider",
            reason="PROVIDER_QUOTA",
            metadata=metadata,
            status=status,
            not_sent=unpaid,
        )
    if status not in _RETRY_STATUSES and code not in _PAID_AND_LOST:
        return ProviderError(
            f"{named}; {_FIXES.get(status, 'see what the provider says about this status')}",
            metadata=metadata,
            status=status,
            not_sent=unpaid,
        )
    error = ProviderUnavailable(
        f"{named}; try again later",
        reason="PROVIDER_RATE_LIMITED" if status == 429 else None,
        metadata=metadata,
        status=status,
        not_sent=unpaid,
    )
    error.retry_after = retry_after_seconds(headers or {}, now=now)
    return error


def connection_error(provider: str, *, not_sent: bool) -> ProviderUnavailable:
    """Returns the error for a connection that failed or broke."""
    what = "cannot be reached" if not_sent else "closed the connection before its reply was whole"
    return ProviderUnavailable(
        f"provider `{provider}` {what}; try again later",
        reason="PROVIDER_UNREACHABLE" if not_sent else "PROVIDER_CONNECTION_LOST",
        metadata={"provider": provider},
        not_sent=not_sent,
    )


def timeout_error(provider: str, seconds: float) -> ProviderUnavailable:
    """Returns the error for a reply that did not come in time."""
    return ProviderUnavailable(
        f"provider `{provider}` did not reply within {seconds:g} s; try again later",
        reason="PROVIDER_TIMEOUT",
        metadata={"provider": provider, "timeout_seconds": f"{seconds:g}"},
    )


def malformed_error(provider: str, problem: str) -> ProviderError:
    """Returns the error for a reply that is no reply of this provider."""
    return ProviderError(
        f"provider `{provider}` answered with something else than a completion: {problem}; "
        "check the base URL",
        reason="PROVIDER_MALFORMED_REPLY",
        metadata={"provider": provider},
    )


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Returns the wait that a provider asks for, in [0, 600] seconds, or None.

    Args:
        headers: Header names in lower case, or a mapping that ignores case.
        now: Time that a date is relative to; the present when None.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, _MAX_RETRY_AFTER)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None:
        return min(seconds, _MAX_RETRY_AFTER)
    if value is None:
        return None
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    wait = (when - (now if now is not None else datetime.now(UTC))).total_seconds()
    return min(max(wait, 0.0), _MAX_RETRY_AFTER)


def _number(value: str | None) -> float | None:
    if value is None or _NUMBER.fullmatch(value.strip(" \t")) is None:
        return None
    return float(value.strip(" \t"))
