"""What the ledger of a real controller says was spent is what the provider billed."""

import asyncio
import random
import sqlite3

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import BurnishError, ResourceExhausted
from burnish.testing.providers import FakeReply, at_random, fake_provider
from burnish_controller.testing import World, small_job
from burnish_runtime.llm.accounts import Account, CallDesk
from burnish_runtime.llm.base import ChatMessage, CompletionRequest
from burnish_runtime.retries import RetryPolicy
from tests.rpc.llm_faults import COLUMNS

pytest.importorskip("anthropic")

SCOPE = "proposals/bill"
ACCOUNT = Account(job="jobs/job1", scope=SCOPE, attempt=1, role=ledger_v1.CALL_ROLE_PROPOSER)
PRICE = types_v1.Price(
    input_usd_per_million=2.5, output_usd_per_million=10.0, cached_input_usd_per_million=1.25
)
REPLY = FakeReply(text="blue", input_tokens=100, output_tokens=20, cached_input_tokens=40)
ANSWER_USD = (60 * 2.5 + 40 * 1.25 + 20 * 10.0) / 1e6
CALLS = 48


def books(world: World) -> tuple[int, int, float, int, float]:
    """Returns tokens in and out, dollars, lost calls, and what is booked for those."""
    connection = sqlite3.connect(world.state_dir / "controller.db")
    try:
        row = connection.execute(
            "SELECT SUM(input_tokens), SUM(output_tokens), SUM(COALESCE(cost_usd, 0)),"
            " SUM(lost_calls), SUM(COALESCE(lost_usd, 0)) FROM calls WHERE scope = ?",
            (SCOPE,),
        ).fetchone()
    finally:
        connection.close()
    read, written, usd, lost, lost_usd = row
    return read, written, usd, lost, lost_usd


@pytest.mark.parametrize("cap", [None, 0.01])
@pytest.mark.parametrize("column", COLUMNS)
async def test_the_ledger_s_total_is_the_provider_s_bill(tmp_path, column, cap):
    budget = job_v1.Budget(max_cost_usd_by_role={} if cap is None else {"proposer": cap})
    answer = at_random(random.Random(11), share=0.4, reply=REPLY)
    refused = 0
    async with World(tmp_path) as world, fake_provider(answer=answer, reply=REPLY) as fake:
        world.program.gate.clear()
        await world.create(small_job(budget=budget))
        await world.open_scope(SCOPE, job_id="job1")
        provider = COLUMNS[column](fake.root)
        client = world.client("proposer-0")
        await client.start()
        desk = CallDesk(client, retry=RetryPolicy(attempts=3, first_wait=0.0, jitter=0.0))
        spec = types_v1.ModelSpec(provider=provider.name, model="m", price=PRICE)
        model = desk.model(provider, spec=spec, account=ACCOUNT)

        async def call(number: int) -> bool:
            nonlocal refused
            message = ChatMessage(role="user", content=f"which colour has sky {number}")
            asked = CompletionRequest(model="m", messages=(message,), max_output_tokens=30)
            try:
                await model.complete(asked)
            except ResourceExhausted:
                refused += 1
                return False
            except BurnishError:
                return False
            return True

        good = sum(await asyncio.gather(*map(call, range(CALLS))))
        await client.close(grace=5)
        await provider.close()
        read, written, usd, lost_calls, lost_usd = books(world)
    answered = fake.bill.answered
    assert len(answered.charges) == good
    assert (read, written) == (answered.input_tokens, answered.output_tokens)
    assert usd == pytest.approx(good * ANSWER_USD)
    # What was billed without an answer is marked as possibly paid.
    assert lost_calls == len(fake.bill.charges) - good
    assert (refused > 0) is (cap is not None)
    if cap is None:
        assert good > CALLS // 2
    else:
        assert usd + lost_usd <= cap + 1e-12
