"""The errors with which the server itself refuses a call, before a handler sees it."""

from __future__ import annotations

from burnish.errors import InvalidArgument, ResourceExhausted, Unauthenticated, Unavailable


class DeadlineRefused(InvalidArgument):
    """A unary call with no deadline, or with one that is too far off."""

    default_reason = "DEADLINE_REFUSED"


class Overloaded(ResourceExhausted):
    """The server serves as many calls as it may; the call was not begun."""

    default_reason = "SERVER_OVERLOADED"


class TokenMissing(Unauthenticated):
    """A call with no bearer token."""

    default_reason = "TOKEN_MISSING"


class TokenWrong(Unauthenticated):
    """A call with another bearer token than the server's."""

    default_reason = "TOKEN_WRONG"


class ShuttingDown(Unavailable):
    """The server ends its endless streams because it is about to stop; reconnect."""

    default_reason = "SHUTTING_DOWN"
