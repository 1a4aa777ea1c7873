"""A key of the app's finds the paid call from any interceptor process, on the real ledger."""

import asyncio

import pytest

from burnish.testing.providers import FakeReply, fake_provider
from tests.rpc.interceptors import SECONDS, rollout_of

REPLY = FakeReply(
    text="arrival", input_tokens=50, output_tokens=9, cached_input_tokens=40, reasoning_tokens=3
)


@pytest.fixture
def replies():
    """The last of them is the provider's answer."""
    return [REPLY]


@pytest.fixture
async def scene(tmp_path, replies):
    async with (
        fake_provider(answer=lambda _: replies[-1]) as provider,
        rollout_of(tmp_path, provider) as made,
    ):
        yield made


async def test_a_key_that_lands_on_another_process_finds_the_first_paid_call(scene):
    first = await scene.call(0, **{"idempotency-key": "one"})
    assert first[0] == 200
    assert await scene.call(1, **{"idempotency-key": "one"}) == first
    assert len(scene.provider.heard) == 1
    other = await scene.call(1, **{"idempotency-key": "two"})
    assert other[0] == 200
    assert len(scene.provider.heard) == 2
    assert await scene.call(0, **{"idempotency-key": "two"}) == other
    assert len(scene.provider.heard) == 2
    assert [row["state"] for row in scene.calls()] == ["done", "done"]


async def test_equal_samples_with_keys_are_retried_each_for_itself(scene):
    keys = [f"sample-{number}" for number in range(6)]
    made = await asyncio.gather(
        *(scene.call(number % 2, **{"idempotency-key": key}) for number, key in enumerate(keys))
    )
    assert {status for status, _ in made} == {200}
    again = await asyncio.gather(
        *(
            scene.call((number + 1) % 2, **{"idempotency-key": key, "x-stainless-retry-count": "1"})
            for number, key in enumerate(keys)
        )
    )
    assert again == made
    assert len(scene.provider.heard) == len(scene.calls()) == 6


async def test_a_retry_after_its_process_was_killed_is_a_second_try_and_no_second_call(
    scene, replies
):
    replies.append(FakeReply(text="late", delay=60))
    leaving = asyncio.ensure_future(scene.call(0, **{"idempotency-key": "one"}))
    async with asyncio.timeout(SECONDS):
        while not scene.provider.heard:  # noqa: ASYNC110 - the provider has no event
            await asyncio.sleep(0.01)
    await scene.processes[0].kill()
    await asyncio.gather(leaving, return_exceptions=True)
    replies.append(REPLY)
    status, _ = await scene.call(1, **{"idempotency-key": "one"})
    assert status == 200
    (row,) = scene.calls()
    assert (row["state"], row["lost_calls"]) == ("done", 1)
    assert len(scene.provider.heard) == 2


async def test_neither_the_key_nor_its_ledger_tells_what_the_app_wrote(scene):
    await scene.call(0, **{"idempotency-key": "a-secret-of-the-app"})
    database = (scene.world.state_dir / "controller.db").read_bytes()
    log = scene.world.state_dir / "controller.db-wal"
    stored = database + (log.read_bytes() if log.exists() else b"")
    assert b"a-secret-of-the-app" not in stored


async def test_cached_and_reasoning_tokens_are_booked_at_their_own_price(scene):
    await scene.call(0)
    (row,) = scene.calls()
    assert (row["input_tokens"], row["output_tokens"]) == (50, 9)
    assert (row["cached_tokens"], row["reasoning_tokens"]) == (40, 3)
    assert row["cost_usd"] == pytest.approx((10 * 10.0 + 40 * 1.0 + 9 * 20.0) / 1e6)
