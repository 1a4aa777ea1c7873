"""A job's log warns of each cap at 50 and 80 percent, once, also when the controller goes down."""

from collections import Counter

import pytest

from burnish.api.job import v1 as job_v1
from burnish_controller.testing import World, small_job


async def warned(state_dir, *, restart=(), **budget):
    async with World(state_dir) as world:
        await world.create(small_job(budget=job_v1.Budget(**budget)))
        for kind in restart:
            await world.reached(kind)
            await world.stop()
            await world.start()
        events = await world.finished()
        assert (await world.job()).state == job_v1.JOB_STATE_SUCCEEDED
        usage = (await world.result()).usage_by_role["task"]
    told = [event.budget_warning for event in events if event.HasField("budget_warning")]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    return told, usage


def cap_for(used):
    """Just enough US dollars: what the job uses, and what is held back for its test.

    The test may take twice 12 times 100 tokens, of which 1,000 cost a US dollar.
    """
    return (used.input_tokens + used.output_tokens + 2 * 12 * 100 + 300) / 1_000


@pytest.mark.parametrize("restart", [(), ("baseline_evaluated", "trial_started")])
async def test_every_share_is_told_once_and_no_other_cap_is(tmp_path, restart):
    _, used = await warned(tmp_path / "free")
    told, usage = await warned(
        tmp_path / "capped", restart=restart, max_tokens=10**6, max_cost_usd=cap_for(used)
    )
    counts = Counter((one.cap, one.percent) for one in told)
    assert counts == {("max_cost_usd", 50): 1, ("max_cost_usd", 80): 1}
    assert told[0].spent < told[1].spent <= usage.cost_usd
    assert {one.limit for one in told} == {cap_for(used)}


async def test_the_suites_own_cap_is_told_in_the_jobs_log(tmp_path, monkeypatch):
    _, used = await warned(tmp_path / "free")
    monkeypatch.setenv("BURNISH_TENANT_MAX_USD", str(10 * cap_for(used)))
    told, _ = await warned(tmp_path / "one")
    assert told == []
    monkeypatch.setenv("BURNISH_TENANT_MAX_USD_PER_DAY", str(cap_for(used)))
    told, _ = await warned(tmp_path / "two")
    assert [(one.cap, one.percent) for one in told] == [
        ("tenant_per_day", 50), ("tenant_per_day", 80),
    ]  # fmt: skip
