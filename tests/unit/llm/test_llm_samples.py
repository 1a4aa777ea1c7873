"""Samples of one request are calls of their own, whatever the provider takes."""

from dataclasses import replace

import pytest

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.testing.providers import fake_provider
from burnish_runtime.llm.accounts import Account, CallDesk, LedgeredModel
from burnish_runtime.llm.base import ChatMessage, CompletionRequest
from tests.rpc.llm_faults import COLUMNS, Books

ACCOUNT = Account(job="jobs/1", scope="s", attempt=1, role=ledger_v1.CALL_ROLE_PROPOSER)
REQUEST = CompletionRequest(
    model="m", messages=(ChatMessage(role="user", content="hi"),), max_output_tokens=5
)


def opened(column: str, root: str, books: Books) -> LedgeredModel:
    if column == "anthropic":
        pytest.importorskip("anthropic")
    provider = COLUMNS[column](root)
    spec = types_v1.ModelSpec(provider=provider.name, model="m")
    return CallDesk(books).model(provider, spec=spec, account=ACCOUNT)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize(
    "asked",
    [
        [REQUEST, *(replace(REQUEST, seed=seed) for seed in (0, 1, 1))],
        [REQUEST, *(replace(REQUEST, temperature=heat) for heat in (0.0, 0.5, 0.5))],
    ],
    ids=["seed", "temperature"],
)
async def test_a_seed_tells_calls_apart_also_where_it_is_not_sent(column, asked):
    books = Books()
    async with fake_provider() as fake:
        model = opened(column, fake.root, books)
        for request in asked:
            await model.complete(request)
        await model._provider.close()
    none, zero, one, again = (begin.request_hash for begin in books.begun)
    assert len({none, zero, one}) == 3
    assert one == again


async def test_an_ordinal_tells_equal_calls_apart():
    books = Books()
    async with fake_provider() as fake:
        model = opened("openai, chat", fake.root, books)
        for ordinal in (0, 1):
            await model.complete(REQUEST, ordinal=ordinal)
        await model._provider.close()
    assert [begin.ordinal for begin in books.begun] == [0, 1]
    assert len({begin.request_hash for begin in books.begun}) == 1
