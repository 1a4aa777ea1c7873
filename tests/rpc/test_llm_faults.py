"""The table of faults in docs/providers.md: each cell is seen, over a socket."""

import asyncio
import contextlib
import random
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.testing.providers import FakeReply, Fault, at_random, fake_provider
from burnish.testing.providers.faults import status
from burnish_runtime.llm import sdk_http
from burnish_runtime.llm.accounts import Account, CallDesk
from burnish_runtime.llm.base import ChatMessage, CompletionRequest, ProviderError
from burnish_runtime.retries import RetryPolicy
from tests.rpc.llm_faults import COLUMNS, ROWS, Books, Seen, measured

pytest.importorskip("anthropic")

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"
ACCOUNT = Account(job="jobs/1", scope="s", attempt=1, role=ledger_v1.CALL_ROLE_JUDGE)


def table() -> dict[str, list[str]]:
    """Returns the table of the page: by fault, its reason and then its cells."""
    lines = re.findall(r"^\| (.+) \|$", PAGE.read_text(encoding="utf-8"), flags=re.M)
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    head = next(n for n, row in enumerate(rows) if row[:2] == ["Fault", "Told as"])
    assert rows[head][2:] == list(COLUMNS)
    faults = rows[head + 1 : head + 1 + len(ROWS)]
    return {row[0]: row[1:] for row in faults}


@pytest.mark.parametrize("row", ROWS)
async def test_every_provider_s_cell_of_a_fault_is_as_the_page_says(row):
    reason, *cells = table()[row]
    seen: list[Seen] = await asyncio.gather(*(measured(row, column) for column in COLUMNS))
    assert [one.cell() for one in seen] == cells
    reasons = {one.reason() for one in seen} - {""}
    assert (", ".join(f"`{one}`" for one in sorted(reasons)) or "-") == reason
    problems = zip(COLUMNS, (list(one.problems(row)) for one in seen), strict=True)
    assert [(column, found) for column, found in problems if found] == []


def test_the_page_has_no_row_that_is_not_seen():
    assert list(table()) == list(ROWS)


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_host_that_never_takes_the_call_is_given_up_early_and_unpaid(column, monkeypatch):
    monkeypatch.setattr(sdk_http, "_CONNECT_SECONDS", 0.5)
    with contextlib.ExitStack() as held:
        full = held.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            # Whoever comes after these is not let in, and not turned away.
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        provider = COLUMNS[column](f"http://127.0.0.1:{full.getsockname()[1]}")
        async with asyncio.timeout(60):
            with pytest.raises(ProviderError) as caught:
                await provider.complete(replace(_request(0), timeout_seconds=300.0))
        await provider.close()
    assert (caught.value.reason, caught.value.not_sent) == ("PROVIDER_UNREACHABLE", True)


@pytest.mark.parametrize("column", COLUMNS)
async def test_the_wait_that_a_provider_asks_for_is_told(column):
    (error,) = [one.error for one in [await measured("429 with a wait", column)]]
    assert error is not None
    assert error.retry_after == 7.0


@pytest.mark.parametrize("column", COLUMNS)
async def test_the_wait_that_a_provider_asks_for_goes_before_our_own(column):
    short = Fault(play=status(429, retry_after="0"), billed=False)
    policy = RetryPolicy(attempts=2, first_wait=1000.0, longest_wait=1000.0, jitter=0.0)
    async with fake_provider(short, FakeReply(text="blue")) as fake, asyncio.timeout(60):
        provider = COLUMNS[column](fake.root)
        desk = CallDesk(Books(), retry=policy)
        spec = types_v1.ModelSpec(provider=provider.name, model="m")
        model = desk.model(provider, spec=spec, account=ACCOUNT)
        assert (await model.complete(_request(0))).text == "blue"
        await provider.close()


@pytest.mark.parametrize("width", [1, 8, 64])
@pytest.mark.parametrize("column", COLUMNS)
async def test_the_books_hold_all_that_was_billed_whatever_fails(column, width):
    books = Books()
    answer = at_random(random.Random(width), share=0.4)
    async with fake_provider(answer=answer) as fake:
        provider = COLUMNS[column](fake.root)
        desk = CallDesk(books, retry=RetryPolicy(attempts=3, first_wait=0.0, jitter=0.0))
        spec = types_v1.ModelSpec(provider=provider.name, model="m")
        model = desk.model(provider, spec=spec, account=ACCOUNT)
        gate = asyncio.Semaphore(width)

        async def call(number: int) -> bool:
            async with gate:
                try:
                    await model.complete(_request(number))
                except ProviderError:
                    return False
                return True

        good = await asyncio.gather(*map(call, range(64)))
        await provider.close()
    assert any(good)
    told = fake.bill.answered
    answered = [end.usage for end in books.ended if end.HasField("usage")]
    assert len(answered) == len(told.charges) == sum(good)
    assert sum(one.input_tokens for one in answered) == told.input_tokens
    assert sum(one.output_tokens for one in answered) == told.output_tokens
    perhaps = [end for end in books.ended if end.HasField("failure") and not end.not_sent]
    assert len(perhaps) == len(fake.bill.charges) - len(told.charges)
    assert len(books.begun) == len(books.ended) == len(fake.heard)


def _request(number: int) -> CompletionRequest:
    message = ChatMessage(role="user", content=f"which colour has sky {number}")
    return CompletionRequest(model="m", messages=(message,), max_output_tokens=20)
