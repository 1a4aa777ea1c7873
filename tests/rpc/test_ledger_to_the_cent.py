"""The ledger of a real controller against the bill of a provider that fails as it likes.

A connection that closes before the first byte of an answer is left out: on one that was used
before, that is how an idle connection ends, and the call is made again without being counted twice.
"""

import asyncio
import random

import pytest

from burnish.api.job import v1 as job_v1
from burnish.testing.providers import FakeReply, at_random, fake_provider
from tests.rpc.interceptors import body_of, rollout_of

REPLY = FakeReply(
    text="arrival", input_tokens=50, output_tokens=9, cached_input_tokens=40, reasoning_tokens=3
)
# What one good answer costs: 10 tokens read anew, 40 from the cache, 9 written.
GOOD = (10 * 10.0 + 40 * 1.0 + 9 * 20.0) / 1e6
FAULTS = ("429", "500", "503", "reset", "cut")
CAP = 0.06
SLACK = 1e-9


def committed(calls):
    """What rows of one moment say is spent, possibly spent, or reserved."""
    return sum(
        row["lost_usd"] + (row["worst_usd"] if row["state"] == "open" else row["cost_usd"])
        for row in calls
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("concurrency", [1, 8, 64])
async def test_what_is_booked_is_what_was_billed_and_the_rest_is_marked(
    concurrency, stream, tmp_path
):
    answer = at_random(random.Random(concurrency), share=0.3, faults=FAULTS, reply=REPLY)
    budget = job_v1.Budget(max_cost_usd=CAP)
    gate = asyncio.Semaphore(concurrency)
    async with (
        fake_provider(answer=answer) as provider,
        rollout_of(tmp_path, provider, budget=budget) as scene,
    ):

        async def one(number: int) -> None:
            async with gate:
                await scene.call(number % 2, body_of(f"question {number:03}", stream=stream))
                assert committed(scene.calls()) <= CAP + SLACK

        await asyncio.gather(*(one(number) for number in range(96)))
        calls = scene.calls()
        bill = provider.bill
        answered = [row for row in calls if row["state"] == "done"]
        assert not [row for row in calls if row["state"] == "open"]
        assert len(answered) == len(bill.answered.charges) > 10
        booked = sum(row["cost_usd"] for row in answered)
        assert booked == pytest.approx(GOOD * len(answered), abs=1e-12)
        lost = sum(row["lost_calls"] for row in calls)
        unanswered = len(bill.charges) - len(answered)
        assert 0 < unanswered <= lost
        # The provider's dearest rates: it may not grant the cache's price without an answer.
        charged = booked + unanswered * (50 * 10.0 + 9 * 20.0) / 1e6
        possibly = sum(row["lost_usd"] for row in calls)
        assert charged <= booked + possibly + SLACK
        assert committed(calls) == pytest.approx(booked + possibly)
