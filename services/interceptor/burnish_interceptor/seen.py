"""A call as it was seen to end: what traces, metrics and spans are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from burnish_interceptor.calls import Problem

ONLINE = "online"
OFFLINE = "offline"
_TRACEPARENT = re.compile(r"[0-9a-e][0-9a-f]-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Served:
    """What many calls have in common, so that it is put together once.

    Attributes:
        mode: `online` or `offline`.
        api: API that the app called: `chat_completions`, `responses`, `completions`, `embeddings`.
        provider: Provider that is called; empty when none is.
        model: The provider's model id.
        policy_id: Policy in force.
        policy_version: Its version.
        stage_id: Stage that the calls were matched to; empty when unmatched.
        candidate_id: Candidate substituted; empty when passed through.
        arm: Name that the candidate is served as; empty offline.
        price: US dollars per million tokens in and out; None when unknown.
    """

    mode: str
    api: str = "chat_completions"
    provider: str = ""
    model: str = ""
    policy_id: str = ""
    policy_version: int = 0
    stage_id: str = ""
    candidate_id: str = ""
    arm: str = ""
    price: tuple[float, float] | None = None


class TraceContext(NamedTuple):
    """Where a call stands in a distributed trace, by W3C Trace Context.

    Attributes:
        trace_id: 32 lower-case hex digits.
        parent_span_id: The app's span, 16 hex digits; empty when the app sent none.
        span_id: Ours.
        flags: Two hex digits.
    """

    trace_id: str
    parent_span_id: str
    span_id: str
    flags: str

    @property
    def traceparent(self) -> str:
        """Value of the `traceparent` header that names our span."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


class SeenCall(NamedTuple):
    """One call that ended. Made on the hot path, so it only holds references.

    Attributes:
        served: What it has in common with others.
        call_id: Our id of the call.
        rollout_id: Rollout that it belongs to.
        status: HTTP status that the app was answered with; 499 when it left before.
        start_time: Unix seconds when the request left.
        latency: Seconds until the last byte.
        first_byte_latency: Seconds until the provider's first byte; 0 when there was none.
        overhead: Seconds that we took, not waiting for the provider or the ledger.
        app_request: Body that the app sent.
        provider_request: Body that the provider was sent; empty when none was.
        reply: Body that the provider answered: JSON, or the whole event stream as it came.
        reply_status: Status that the provider answered with; 0 when it did not.
        stream: Whether the reply is an event stream.
        usage: Tokens in and out; None when the provider did not say.
        problem: Why there is no usable answer.
        match_ratio: How well the messages fitted the stage; None when nothing was compared.
        traceparent: Value of that header of the app's; empty when it sent none.
        bindings: Values of the stage's wildcards.
    """

    served: Served
    call_id: str
    rollout_id: str
    status: int
    start_time: float
    latency: float
    first_byte_latency: float = 0.0
    overhead: float = 0.0
    app_request: bytes = b""
    provider_request: bytes = b""
    reply: bytes = b""
    reply_status: int = 0
    stream: bool = False
    usage: tuple[int, int] | None = None
    problem: Problem | None = None
    match_ratio: float | None = None
    traceparent: str = ""
    bindings: Mapping[str, str] | None = None

    @property
    def trace(self) -> TraceContext:
        """Where it stands in a distributed trace."""
        return trace_context(self.traceparent, call=self.call_id[-32:])

    def without_bodies(self) -> SeenCall:
        """Returns the call without what was said in it."""
        return self._replace(app_request=b"", provider_request=b"", reply=b"", bindings=None)


def trace_context(traceparent: str, *, call: str) -> TraceContext:
    """Returns the context of a call: the app's trace when it sent a valid one, else a new one.

    Args:
        traceparent: The app's `traceparent` header, or empty.
        call: Random digits of our own, 32 lower-case hex digits, such as those of the call's id.
    """
    if traceparent:
        found = _TRACEPARENT.fullmatch(traceparent)
        if found is not None and found[1] != _NO_TRACE and found[2] != _NO_SPAN:
            return TraceContext(found[1], found[2], call[:16], found[3])
    return TraceContext(call, "", call[:16], "01")
