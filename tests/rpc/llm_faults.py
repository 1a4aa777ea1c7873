"""Measures what a fault of a provider comes to: told, tried again, and booked. No tests in here."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.testing.providers import FAULTS, FakeProvider, FakeReply, fake_provider
from burnish_runtime.llm.accounts import Account, CallDesk
from burnish_runtime.llm.anthropic import AnthropicProvider
from burnish_runtime.llm.base import (
    ChatMessage,
    Completion,
    CompletionRequest,
    LlmProvider,
    ProviderAccess,
    ProviderError,
)
from burnish_runtime.llm.google import GoogleProvider
from burnish_runtime.llm.groq import GroqProvider
from burnish_runtime.llm.openai import OpenAiApi, OpenAiProvider
from burnish_runtime.retries import RetryPolicy

TRIES = 2
KEY = "sk-canary-0123456789"
PROMPT = "canary prompt: which colour has the sky"
REPLY = FakeReply(text="blue", input_tokens=120, output_tokens=30)
_SLOW = frozenset({"hang", "drip"})
_SLOW_SECONDS = 2.0
_SECONDS = 30.0
_PATIENCE = 60.0
# A wait of the provider's is told by the error; nobody sits through it here.
_ONCE = frozenset({"429 with a wait"})
NEVER_REACHED = ("refused connection", "failed TLS")
ROWS = (*FAULTS, *NEVER_REACHED)


def _openai(root: str) -> LlmProvider:
    return OpenAiProvider(ProviderAccess(api_key=KEY, base_url=f"{root}/v1"))


def _responses(root: str) -> LlmProvider:
    access = ProviderAccess(api_key=KEY, base_url=f"{root}/v1")
    return OpenAiProvider(access, api=OpenAiApi.RESPONSES)


def _groq(root: str) -> LlmProvider:
    return GroqProvider(ProviderAccess(api_key=KEY, base_url=root))


def _google(root: str) -> LlmProvider:
    return GoogleProvider(ProviderAccess(api_key=KEY, base_url=root))


def _anthropic(root: str) -> LlmProvider:
    return AnthropicProvider(ProviderAccess(api_key=KEY, base_url=root))


COLUMNS: dict[str, Callable[[str], LlmProvider]] = {
    "openai, chat": _openai,
    "openai, responses": _responses,
    "groq": _groq,
    "google": _google,
    "anthropic": _anthropic,
}


@dataclass
class Books:
    """A ledger in memory that gives leave to every call and keeps how each ended."""

    begun: list[ledger_v1.BeginCall] = field(default_factory=list)
    ended: list[ledger_v1.FinishCall] = field(default_factory=list)

    async def begin(
        self,
        call: ledger_v1.BeginCall,
        *,
        timeout: float,  # noqa: ASYNC109 - the ledger client's own signature
    ) -> ledger_v1.CallDecision:
        self.begun.append(call)
        return ledger_v1.CallDecision(
            call_id=f"call-{len(self.begun) - 1}", proceed=ledger_v1.Proceed()
        )

    async def finish(self, call: ledger_v1.FinishCall) -> None:
        self.ended.append(call)


@dataclass(frozen=True)
class Seen:
    """What a fault came to."""

    books: Books
    provider: FakeProvider
    completion: Completion | None
    error: ProviderError | None

    def cell(self) -> str:
        """Returns the cell of the table."""
        if self.error is None:
            (end,) = self.books.ended
            return "answered" if end.HasField("usage") else "answered, estimated"
        tried = "again" if self.error.can_retry else "final"
        return f"{tried}, {'unpaid' if self.error.not_sent else 'perhaps paid'}"

    def reason(self) -> str:
        """Returns the reason that the caller and the ledger are told."""
        return "" if self.error is None else self.error.reason

    def problems(self, row: str) -> Iterator[str]:
        """Yields where the books, the calls and the bill disagree."""
        tries = TRIES if self.error is not None and self.error.can_retry else 1
        tries = 1 if row in _ONCE else tries
        reached = 0 if row in NEVER_REACHED else tries
        if (len(self.books.begun), len(self.books.ended)) != (tries, tries):
            yield f"{len(self.books.begun)} begun and {len(self.books.ended)} ended, not {tries}"
        if len(self.provider.heard) != reached:
            yield f"{len(self.provider.heard)} requests were sent, not {reached}"
        if [begin.client_retry for begin in self.books.begun] != [n > 0 for n in range(tries)]:
            yield "a retry is not begun as one"
        if len({begin.request_hash for begin in self.books.begun}) != 1:
            yield "a retry is another call"
        for charge in self.provider.bill.charges:
            yield from _unbooked(charge, self.books.ended[charge.number])
        for end in self.books.ended:
            if end.HasField("failure") is (self.error is None):
                yield "an end tells another story than the caller was told"
            if self.error is not None and (
                end.failure.reason != self.error.reason
                or end.not_sent is not self.error.not_sent
                or end.failure.retryable is not self.error.can_retry
            ):
                yield f"booked as {end.failure.reason}, told as {self.error.reason}"
        if self.error is not None and any(one in _told(self.error) for one in (KEY, PROMPT)):
            yield "an error tells a secret"


def _told(error: ProviderError) -> str:
    return f"{error!r} {error.message} {error.metadata} {error.__cause__!r}"


def _unbooked(charge: Any, end: ledger_v1.FinishCall) -> Iterator[str]:
    """Yields what is wrong with the booking of a call that the provider billed."""
    if end.not_sent:
        yield "billed, and booked as certainly unpaid"
    if charge.answered and end.HasField("usage"):
        booked = (end.usage.input_tokens, end.usage.output_tokens)
        if booked != (charge.input_tokens, charge.output_tokens):
            yield f"billed {charge}, and booked {booked}"


async def measured(row: str, column: str) -> Seen:
    """Returns what a fault comes to at a provider, through the desk where calls are paid."""
    line = row if row in FAULTS else REPLY
    async with asyncio.timeout(_PATIENCE), fake_provider(line, reply=REPLY) as fake:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            root = fake.root
            if row == "refused connection":
                root = f"http://127.0.0.1:{held.getsockname()[1]}"
            if row == "failed TLS":
                root = root.replace("http://", "https://")
            seen = await _asked(COLUMNS[column](root), fake, row)
        while fake.open:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
    return seen


async def _asked(provider: LlmProvider, fake: FakeProvider, row: str) -> Seen:
    books = Books()
    attempts = 1 if row in _ONCE else TRIES
    desk = CallDesk(books, retry=RetryPolicy(attempts=attempts, first_wait=0.0, jitter=0.0))
    model = desk.model(
        provider,
        spec=types_v1.ModelSpec(provider=provider.name, model="some-model"),
        account=Account(job="jobs/1", scope="s", attempt=1, role=ledger_v1.CALL_ROLE_PROPOSER),
    )
    request = CompletionRequest(
        model="some-model",
        messages=(ChatMessage(role="user", content=PROMPT),),
        max_output_tokens=50,
        timeout_seconds=_SLOW_SECONDS if row in _SLOW else _SECONDS,
    )
    try:
        return Seen(books, fake, await model.complete(request), None)
    except ProviderError as error:
        return Seen(books, fake, None, error)
    finally:
        await provider.close()
