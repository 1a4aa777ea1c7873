"""Calls of a model that are asked for, booked and kept by the call ledger, and so paid for once.

Each try of a call is one BeginCall and one FinishCall. The key of a call is its scope, the hash of
its body and an ordinal, 0 unless the asker says otherwise: the same request in the same scope means
the same call, whoever asks again. A seed counts as part of the body even where it is not sent. So a
repeat replays, and a retry after a failure takes the place of the failed try, while the ledger
keeps what that try may have cost booked.

A call that was begun is finished even when whoever asked for it goes away: it is paid for anyway,
and its reply is then in the ledger for the next one who asks.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.usages import add_usage
from burnish_runtime.llm.base import (
    JSON_CONTENT,
    Completion,
    CompletionRequest,
    LlmProvider,
    ProviderError,
    TokenUsage,
)
from burnish_runtime.llm.booking import (
    duration,
    failure_message,
    refusal,
    timestamp,
    usage_message,
)
from burnish_runtime.llm.failures import status_error
from burnish_runtime.retries import RetryPolicy, retried

_BYTES_PER_TOKEN = 4
_BEGIN_MARGIN_SECONDS = 30.0


class CallLedger(Protocol):
    """What is needed of `burnish_runtime.ledger_client.LedgerClient`."""

    async def begin(
        self,
        call: ledger_v1.BeginCall,
        *,
        timeout: float,  # noqa: ASYNC109 - the ledger client's own signature
    ) -> ledger_v1.CallDecision:
        """Asks for leave to make a call."""

    async def finish(self, call: ledger_v1.FinishCall) -> None:
        """Reports the end of a call; returns when that is durable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who pays for a call.

    Attributes:
        job: Resource name of the job.
        scope: What the call belongs to, such as `proposals/{request_id}`.
        attempt: Attempt of the scope, from 1.
        role: Who spends, as the ledger names it.
    """

    job: str
    scope: str
    attempt: int
    role: ledger_v1.CallRole.ValueType


class CallDesk:
    """The one place of a process where paid calls are made."""

    def __init__(
        self,
        ledger: CallLedger,
        *,
        retry: RetryPolicy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Opens the desk.

        Args:
            ledger: The ledger of the controller.
            retry: How often a call is tried.
            clock: Seconds since the epoch.
        """
        self._ledger = ledger
        self._retry = retry if retry is not None else RetryPolicy()
        self._clock = clock
        self._running: set[asyncio.Task[Completion]] = set()

    def model(
        self, provider: LlmProvider, *, spec: types_v1.ModelSpec, account: Account
    ) -> LedgeredModel:
        """Returns a model whose calls go on an account."""
        return LedgeredModel(self, provider=provider, spec=spec, account=account)

    async def drain(self) -> None:
        """Waits for calls whose asker went away."""
        while self._running:
            await asyncio.wait(set(self._running))

    async def pay(self, provider: LlmProvider, call: _Call) -> Completion:
        """Makes one try of a call that the ledger has given leave for, and finishes it."""
        task = asyncio.create_task(self._made(provider, call))
        self._running.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    @property
    def ledger(self) -> CallLedger:
        """The ledger."""
        return self._ledger

    @property
    def retry(self) -> RetryPolicy:
        """How often a call is tried."""
        return self._retry

    def _forget(self, task: asyncio.Task[Completion]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Marks the failure as seen: nobody awaits a task whose asker went away, and the
            # ledger has the failure.
            task.exception()

    async def _made(self, provider: LlmProvider, call: _Call) -> Completion:
        start = self._clock()
        finish = ledger_v1.FinishCall(call_id=call.call_id)
        finish.trace.CopyFrom(
            ledger_v1.CallTrace(provider_request=call.body, start_time=timestamp(start))
        )
        try:
            completion = await provider.complete(call.request)
        except Exception as error:
            # Also for a bug in an adapter: a call that was begun never stays open.
            finish.failure.CopyFrom(failure_message(error))
            finish.not_sent = isinstance(error, ProviderError) and error.not_sent
            finish.trace.latency.CopyFrom(duration(self._clock() - start))
            await self._ledger.finish(finish)
            raise
        finish.trace.latency.CopyFrom(duration(self._clock() - start))
        finish.reply.CopyFrom(
            ledger_v1.CallReply(status=200, content_type=JSON_CONTENT, body=completion.body)
        )
        if completion.usage is not None:
            finish.usage.CopyFrom(usage_message(call.spec, completion.usage))
        await self._ledger.finish(finish)
        return completion


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One try."""

    call_id: str
    body: bytes
    request: CompletionRequest
    spec: types_v1.ModelSpec


class LedgeredModel:
    """A model whose calls go on one account, with a running total of what they cost."""

    def __init__(
        self,
        desk: CallDesk,
        *,
        provider: LlmProvider,
        spec: types_v1.ModelSpec,
        account: Account,
    ) -> None:
        """Opens the account at nothing spent; use `CallDesk.model`."""
        self._desk = desk
        self._provider = provider
        self._spec = spec
        self._account = account
        self._spent = types_v1.Usage(cost_usd=0.0)

    @property
    def spent(self) -> types_v1.Usage:
        """What the calls cost so far, replayed ones included, since they were paid for once."""
        usage = types_v1.Usage()
        usage.CopyFrom(self._spent)
        return usage

    async def complete(self, request: CompletionRequest, *, ordinal: int = 0) -> Completion:
        """Asks the model, or takes the reply that was paid for before.

        Args:
            request: What is asked.
            ordinal: Tells equal requests of one scope apart that are to be calls of their own, such
                as several samples of a model whose provider takes no seed.

        Raises:
            ResourceExhausted: The job's budget refuses the call. Do not retry.
            FailedPrecondition: The job does not run any more, or the provider refuses.
            Unavailable: The provider cannot answer now, and every try is used up.
        """
        body = self._provider.request_body(request)
        begin = self._begin(request, body, ordinal=ordinal)
        tried = False

        async def attempt() -> Completion:
            nonlocal tried
            trying, tried = _retried(begin) if tried else begin, True
            return await self._once(request, trying, body)

        return await retried(attempt, self._desk.retry, on=_wait)

    async def _once(
        self, request: CompletionRequest, begin: ledger_v1.BeginCall, body: bytes
    ) -> Completion:
        decision = await self._desk.ledger.begin(
            begin, timeout=request.timeout_seconds + _BEGIN_MARGIN_SECONDS
        )
        kind = decision.WhichOneof("decision")
        if kind == "refused":
            raise refusal(decision.refused)
        if kind == "replay":
            return self._replayed(decision.replay, body)
        call = _Call(call_id=decision.call_id, body=body, request=request, spec=self._spec)
        try:
            completion = await self._desk.pay(self._provider, call)
        except ProviderError as error:
            if not error.not_sent:
                self._spent.call_count += 1
                self._spent.possibly_paid_call_count += 1
            raise
        self._book(completion, body)
        return completion

    def _begin(
        self, request: CompletionRequest, body: bytes, *, ordinal: int
    ) -> ledger_v1.BeginCall:
        return ledger_v1.BeginCall(
            job=self._account.job,
            scope=self._account.scope,
            attempt=self._account.attempt,
            request_hash=hashlib.sha256(body + self._unsent(request, body)).hexdigest(),
            role=self._account.role,
            model=self._spec,
            worst_case=ledger_v1.WorstCase(
                input_tokens=len(body), output_tokens=request.max_output_tokens
            ),
            ordinal=ordinal,
        )

    def _unsent(self, request: CompletionRequest, body: bytes) -> bytes:
        """Returns what tells a request apart that its provider does not take; mostly nothing.

        Two samples that differ in their seed are two calls, also where no seed can be sent.
        """
        told = b""
        for name, value, plain in (
            ("seed", request.seed, replace(request, seed=None)),
            ("temperature", request.temperature, replace(request, temperature=None)),
        ):
            if value is not None and self._provider.request_body(plain) == body:
                told += f"\n{name}={value}".encode()
        return told

    def _replayed(self, reply: ledger_v1.CallReply, body: bytes) -> Completion:
        if reply.status >= 300:
            raise status_error(self._provider.name, reply.status)
        completion = self._provider.read(reply.body)
        self._book(completion, body)
        return completion

    def _book(self, completion: Completion, body: bytes) -> None:
        usage = completion.usage
        if usage is None:
            self._spent.estimated = True
            usage = TokenUsage(
                input_tokens=len(body) // _BYTES_PER_TOKEN,
                output_tokens=len(completion.text.encode()) // _BYTES_PER_TOKEN,
            )
        add_usage(self._spent, usage_message(self._spec, usage))


def _retried(begin: ledger_v1.BeginCall) -> ledger_v1.BeginCall:
    again = ledger_v1.BeginCall()
    again.CopyFrom(begin)
    again.client_retry = True
    return again


def _wait(error: Exception) -> bool | float:
    if not isinstance(error, ProviderError) or not error.can_retry:
        return False
    return True if error.retry_after is None else error.retry_after
