"""Caps are never passed, over a real channel, whatever fails and however much is in flight."""

import asyncio
import itertools
import random
import sqlite3
from collections import Counter

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import InvalidArgument
from burnish_controller.testing import World, small_job
from burnish_controller.testing.program import PRICE, Fate

READ, WRITTEN = 60, 40
WORST = READ + WRITTEN


@pytest.fixture
async def world(tmp_path):
    async with World(tmp_path) as running:
        yield running


def committed(world: World) -> tuple[int, float]:
    """What the rows say is spent or reserved: tokens and US dollars."""
    connection = sqlite3.connect(world.state_dir / "controller.db")
    try:
        row = connection.execute(
            "SELECT SUM(input_tokens + output_tokens + lost_tokens)"
            " + SUM(CASE state WHEN 'open' THEN worst_tokens ELSE 0 END),"
            " SUM(COALESCE(cost_usd, 0) + lost_usd)"
            " + SUM(CASE state WHEN 'open' THEN worst_usd ELSE 0 END) FROM calls"
        ).fetchone()
        return row[0] or 0, row[1] or 0.0
    finally:
        connection.close()


async def one_call(client, number: int, rng: random.Random, seen: Counter[str]) -> None:
    """Begins one call of a rollout and gives it one of the fates that calls have."""
    decision = await client.begin(
        ledger_v1.BeginCall(
            job="jobs/job1",
            scope=SCOPE,
            attempt=1,
            request_hash=f"{number:064x}",
            role=ledger_v1.CALL_ROLE_TASK,
            model=types_v1.ModelSpec(provider="openai_compatible", model="fake", price=PRICE),
            worst_case=ledger_v1.WorstCase(input_tokens=READ, output_tokens=WRITTEN),
        ),
        timeout=20,
    )
    kind = decision.WhichOneof("decision")
    seen[decision.refused.reason if kind == "refused" else kind] += 1
    if kind != "proceed":
        return
    await asyncio.sleep(rng.random() * 0.01)
    finish = ledger_v1.FinishCall(call_id=decision.call_id)
    fate = rng.choice(["answered", "answered", "guessed", "unsent", "lost", "silent"])
    if fate in {"answered", "guessed"}:
        finish.reply.CopyFrom(ledger_v1.CallReply(status=200, body=b"x" * 1_000))
    if fate == "answered":
        read, written = rng.randint(1, READ), rng.randint(0, WRITTEN)
        finish.usage.CopyFrom(types_v1.Usage(input_tokens=read, output_tokens=written))
    if fate in {"unsent", "lost"}:
        finish.failure.reason = "SCRIPTED"
        finish.not_sent = fate == "unsent"
    if fate != "silent":
        await client.finish(finish)


SCOPE = "proposals/hammer"


@pytest.mark.parametrize("cap", ["tokens", "money"])
async def test_a_cap_holds_while_32_tasks_hammer_the_ledger_and_calls_fail(world, cap):
    budget = job_v1.Budget(max_tokens=6_050)
    if cap == "money":
        budget = job_v1.Budget(max_cost_usd=6.05)
    world.program.gate.clear()
    await world.create(small_job(budget=budget))
    await world.open_scope(SCOPE, job_id="job1")
    rng, seen = random.Random(3), Counter[str]()
    numbers = itertools.count()
    clients = [world.client(f"hammer-{n}") for n in range(4)]
    for client in clients:
        await client.start()

    async def hammer(client) -> None:
        while not seen["BUDGET_EXHAUSTED"]:
            await one_call(client, next(numbers), rng, seen)

    async with asyncio.TaskGroup() as group:
        for n in range(32):
            group.create_task(hammer(clients[n % 4]))
    for client in clients:
        await client.close(grace=5)
    tokens, usd = committed(world)
    assert seen["proceed"] > 60
    assert tokens <= 6_050
    assert usd <= 6.05 + 1e-9
    # The cap was reached, not merely kept: less than one more call was left.
    assert tokens > 6_050 - 33 * WORST


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("restart", [False, True])
async def test_a_job_keeps_its_rollout_cap_when_calls_fail_and_the_search_asks_for_more(
    world, concurrency, restart
):
    rng = random.Random(5)
    world.program.fate = lambda number: rng.choice([Fate.ANSWERED, Fate.ANSWERED, Fate.UNSENT])
    world.search.greedy, world.search.asks = True, 50
    cap = 23
    spec = small_job(budget=job_v1.Budget(max_rollouts=cap))
    spec.max_concurrency = concurrency
    await world.create(spec)
    if restart:
        await world.reached("trial_started")
        await world.stop()
        await world.start()
    await world.finished()
    assert (await world.job()).termination_reason == job_v1.TERMINATION_REASON_ROLLOUT_LIMIT
    result = await world.result()
    counted = {phase: n for phase, n in result.rollouts_by_phase.items() if phase != "test"}
    assert sum(counted.values()) == cap, counted
    assert result.rollouts_by_phase["test"] == 12


async def test_learning_the_baseline_counts_towards_the_rollout_cap(world):
    cap = 12
    spec = small_job(budget=job_v1.Budget(max_rollouts=cap))
    del spec.stages[:]
    world.search.greedy, world.search.asks = True, 50
    await world.create(spec)
    await world.finished()
    assert (await world.job()).state == job_v1.JOB_STATE_SUCCEEDED
    result = await world.result()
    counted = {phase: n for phase, n in result.rollouts_by_phase.items() if phase != "test"}
    assert sum(counted.values()) == cap, counted


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_a_token_cap_ends_the_search_and_leaves_enough_for_the_test(world, concurrency):
    # 6 baseline rollouts and 8 of the bootstrap take 50 tokens each; the test may take twice 12
    # times 100.
    cap = 14 * 50 + 2 * 12 * 100 + 260
    world.search.asks = 50
    spec = small_job(budget=job_v1.Budget(max_tokens=cap))
    spec.max_concurrency = concurrency
    await world.create(spec)
    await world.finished()
    job = await world.job()
    assert job.state == job_v1.JOB_STATE_SUCCEEDED
    assert job.termination_reason == job_v1.TERMINATION_REASON_BUDGET_EXHAUSTED
    result = await world.result()
    # The search ends early enough for the winner to be the baseline.
    assert result.rollouts_by_phase["test"] in {6, 12}
    assert result.baseline.test.row_count == result.best.test.row_count == 6
    tokens, _ = committed(world)
    assert tokens <= cap
    assert result.unscored_by_reason["BUDGET_EXHAUSTED"] >= 1


async def capped_job(state_dir, *, cap, concurrency, restart):
    """Runs a job whose calls differ in what they cost and in how long they take."""
    async with World(state_dir) as world:
        world.program.usage = lambda seed: (20 + seed * 7 % 40, seed * 11 % 40)
        world.program.delay = lambda seed: 0.002 * (seed * 5 % 7)
        world.search.greedy, world.search.asks = True, 50
        spec = small_job(budget=job_v1.Budget(max_tokens=cap))
        spec.max_concurrency = concurrency
        await world.create(spec)
        for kind in restart:
            await world.reached(kind)
            await world.stop()
            await world.start()
        await world.finished()
        assert (await world.job()).state == job_v1.JOB_STATE_SUCCEEDED
        result = await world.result()
        tokens, _ = committed(world)
        assert tokens <= cap
        assert result.unscored_by_reason["BUDGET_EXHAUSTED"] >= 1
        history = [(one.candidate_id, one.reward.mean, one.reward.row_count)
                   for one in result.history]  # fmt: skip
        return result.best.candidate.candidate_id, history, dict(result.rollouts_by_phase), tokens


async def test_where_a_cap_ends_a_job_depends_on_neither_concurrency_nor_restarts(tmp_path):
    # What is left besides the test's 2,400 ends in the search, after baseline and bootstrap.
    cap = 1_900 + 2_400
    alone = await capped_job(tmp_path / "alone", cap=cap, concurrency=1, restart=())
    assert alone[1]
    for concurrency, restart in ((8, ()), (8, ("baseline_evaluated", "trial_started"))):
        folder = tmp_path / f"{concurrency}-{len(restart)}"
        again = await capped_job(folder, cap=cap, concurrency=concurrency, restart=restart)
        assert again == alone


async def test_a_job_that_cannot_afford_its_test_is_refused_at_creation(world):
    spec = small_job(budget=job_v1.Budget(max_cost_usd=0.1))
    spec.policy_model.max_output_tokens = 100
    with pytest.raises(InvalidArgument, match="closing test can cost"):
        await world.create(spec)
