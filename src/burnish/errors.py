"""The error tree, and its one mapping to and from `google.rpc.Status`.

    BurnishError
    ├── InvalidArgument      never valid; do not retry
    ├── FailedPrecondition   not in this state
    ├── NotFound / AlreadyExists
    ├── Unauthenticated / PermissionDenied
    ├── ResourceExhausted    a budget or a rate; message says which
    ├── DeadlineExceeded
    ├── Unavailable          the only one that clients retry
    ├── Unimplemented
    └── Internal             a bug of ours; its text stays in the log

Rooms raise their own subclasses with a `reason` of their own. A message says what was wrong, with
which value, and what to do; the same values are in `metadata`, as text.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import ClassVar


class Code(enum.IntEnum):
    """Status codes of gRPC, by number, so that pure modules need no import of grpc."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


DOMAIN = "burnish.dev"


class BurnishError(Exception):
    """Base of every error that crosses a room's wall.

    Attributes:
        code: Status code that the error travels under.
        reason: UPPER_SNAKE_CASE, stable across releases.
        message: For a developer to read; holds no prompt, key or token.
        metadata: The values that `message` mentions.
    """

    code: ClassVar[Code] = Code.INTERNAL
    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self, message: str, *, reason: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason if reason is not None else self.default_reason
        self.metadata: dict[str, str] = dict(metadata) if metadata is not None else {}

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later without a change."""
        return self.code == Code.UNAVAILABLE


class InvalidArgument(BurnishError):
    """A request that is never valid. Do not retry."""

    code = Code.INVALID_ARGUMENT
    default_reason = "INVALID_ARGUMENT"


class FailedPrecondition(BurnishError):
    """A request that is not valid in this state."""

    code = Code.FAILED_PRECONDITION
    default_reason = "FAILED_PRECONDITION"


class NotFound(BurnishError):
    """A name that nothing has."""

    code = Code.NOT_FOUND
    default_reason = "NOT_FOUND"


class AlreadyExists(BurnishError):
    """A name that something else has."""

    code = Code.ALREADY_EXISTS
    default_reason = "ALREADY_EXISTS"


class Aborted(BurnishError):
    """A conflict with a concurrent change; start the whole operation again."""

    code = Code.ABORTED
    default_reason = "ABORTED"


class OutOfRange(BurnishError):
    """A position past what is kept."""

    code = Code.OUT_OF_RANGE
    default_reason = "OUT_OF_RANGE"


class Unauthenticated(BurnishError):
    """No credentials, or wrong ones."""

    code = Code.UNAUTHENTICATED
    default_reason = "UNAUTHENTICATED"


class PermissionDenied(BurnishError):
    """Known, but not allowed."""

    code = Code.PERMISSION_DENIED
    default_reason = "PERMISSION_DENIED"


class ResourceExhausted(BurnishError):
    """A budget or a rate limit is used up."""

    code = Code.RESOURCE_EXHAUSTED
    default_reason = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(BurnishError):
    """The deadline passed before the work was done."""

    code = Code.DEADLINE_EXCEEDED
    default_reason = "DEADLINE_EXCEEDED"


class Unavailable(BurnishError):
    """The other side cannot be reached now. Retry with back-off."""

    code = Code.UNAVAILABLE
    default_reason = "UNAVAILABLE"


class Unimplemented(BurnishError):
    """Asked for something that this build does not offer."""

    code = Code.UNIMPLEMENTED
    default_reason = "UNIMPLEMENTED"


class Internal(BurnishError):
    """A bug of ours."""

    code = Code.INTERNAL
    default_reason = "INTERNAL"


class MissingExtra(BurnishError):
    """A package of an optional extra is not installed."""

    code = Code.FAILED_PRECONDITION
    default_reason = "MISSING_EXTRA"

    def __init__(self, *, package: str, extra: str) -> None:
        super().__init__(
            f'package `{package}` is not installed; run `pip install "burnish[{extra}]"`',
            metadata={"package": package, "extra": extra},
        )


_BY_CODE: dict[int, type[BurnishError]] = {
    int(cls.code): cls
    for cls in (
        InvalidArgument,
        FailedPrecondition,
        NotFound,
        AlreadyExists,
        Aborted,
        OutOfRange,
        Unauthenticated,
        PermissionDenied,
        ResourceExhausted,
        DeadlineExceeded,
        Unavailable,
        Unimplemented,
        Internal,
    )
}


def error_from_code(
    code: int, message: str, *, reason: str, metadata: Mapping[str, str] | None = None
) -> BurnishError:
    """Builds the error class for a status code that came over the wire.

    A code with no class of its own becomes `Internal`, or `Unavailable` for CANCELLED, which a
    server under load answers in place of UNAVAILABLE.
    """
    if code == Code.CANCELLED:
        return Unavailable(message, reason=reason, metadata=metadata)
    return _BY_CODE.get(code, Internal)(message, reason=reason, metadata=metadata)
