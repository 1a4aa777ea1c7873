"""A paid call before, during and after: what is asked of the ledger, and what is reported to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from burnish_interceptor.policies.policy import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that is about to be made.

    Attributes:
        job: Resource name of the job that pays.
        rollout_id: Rollout that it belongs to.
        attempt: Attempt of the rollout, from 1.
        body: What the provider would be sent.
        retry: Whether the app repeats an earlier call.
        client_key: Hash of the key that the app gave the call; empty when it gave none.
        model: Model that would be called.
        max_output_tokens: Most tokens that the answer can have.
    """

    job: str
    rollout_id: str
    attempt: int
    body: bytes = field(repr=False)
    retry: bool
    model: Model
    max_output_tokens: int
    client_key: str = ""

    @property
    def body_hash(self) -> str:
        """Lower-case hex SHA-256 of the body."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReply:
    """A provider's reply as it came."""

    status: int
    content_type: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a call was refused, or has no usable answer."""

    reason: str
    message: str
    retryable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The ledger's answer. With neither reply nor problem the call may be made.

    Attributes:
        call_id: Id of the call.
        replay: Reply that was paid for before.
        refused: Why the call may not be made.
    """

    call_id: str
    replay: StoredReply | None = None
    refused: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """The call as it went over the wire.

    Attributes:
        stage_id: Stage it was matched to; empty when unmatched.
        candidate_id: Candidate substituted; empty when passed through.
        app_request: Body that the app sent.
        provider_request: Body that the provider was sent; empty when none was.
        bindings: Values of the stage's wildcards.
        start_time: Unix seconds.
        latency: Seconds to the last byte.
        first_byte_latency: Seconds to the first byte.
        trace_id: W3C trace id.
        match_ratio: How well the messages fitted the stage; None when nothing was compared.
        overhead: Seconds that we took.
        api: API that the app called.
    """

    stage_id: str
    candidate_id: str
    app_request: bytes = field(repr=False)
    provider_request: bytes = field(default=b"", repr=False)
    bindings: Mapping[str, str] = field(default_factory=dict, repr=False)
    start_time: float = 0.0
    latency: float = 0.0
    first_byte_latency: float = 0.0
    trace_id: str = ""
    match_ratio: float | None = None
    overhead: float = 0.0
    api: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a call ended.

    Attributes:
        reply: What the provider answered; None when nothing is to be replayed.
        usage: Tokens in and out; None when the provider did not say.
        problem: Why there is no usable answer.
        not_sent: Whether the call is certainly unpaid.
        record: The call for traces.
    """

    reply: StoredReply | None = None
    usage: tuple[int, int] | None = None
    problem: Problem | None = None
    not_sent: bool = False
    record: CallRecord
