"""Kills every process of a running job, again and again, and compares with an undisturbed run.

The moments are drawn by a seed from the calls that reach the provider, so that they fall within the
job however fast the machine is, and never depend on a clock. A run whose kills missed is void.
"""

import random
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.kills import PAYERS, check_events, check_money, scene

pytestmark = pytest.mark.asyncio(loop_scope="session")
LEAST_KILLS = 5
SERVICES = ["controller", "search", "proposer", "verifier", "interceptor"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def undisturbed(tmp_path_factory: pytest.TempPathFactory, harness: Any) -> Any:
    """What the job finds when nobody disturbs it."""
    async with scene(harness, tmp_path_factory.mktemp("undisturbed")) as quiet:
        return await quiet.run([], [])


def moments(h: Any, quiet: Any, rng: random.Random) -> list[tuple[str, int]]:
    """Draws moments by number of calls: one in each phase that calls, three in the search."""
    rollouts = quiet.result.rollouts_by_phase
    # Learning the baseline takes the first calls, on rows of the bootstrap pool.
    learnt = quiet.of_kind("baseline_learned")[0].call_count
    phases = [
        (learnt + rollouts["baseline"], 1),
        (rollouts["bootstrap"] - learnt, 1),
        (rollouts["search"], 3),
        (rollouts["test"], 1),
    ]
    drawn, begin = [], 0
    for calls, kills in phases:
        stretch = calls // kills
        # Not near the end: the calls in flight would end before the kill lands.
        reach = range(min(4, stretch // 3), stretch * 2 // 3)
        drawn += [(h.READER, begin + n * stretch + rng.choice(reach)) for n in range(kills)]
        begin += calls
    return drawn


def draw(h: Any, victim: str, quiet: Any) -> tuple[list[str], list[tuple[str, int]]]:
    """Draws who is killed and when."""
    rng = random.Random(f"kill/{victim}")
    when = moments(h, quiet, rng)
    if victim == "proposer":
        # It works twice, shortly: some of the kills are aimed at its calls.
        when[2:3] = [(h.PROPOSER, 1 + 5 * n) for n in range(3)]
    if victim != "anything":
        return [victim] * len(when), when
    return [rng.choice([*SERVICES, "app"]) for _ in when], when


@pytest.mark.slow
@pytest.mark.parametrize("victim", [*SERVICES, "app", "anything"])
async def test_a_killed_process_changes_nothing_and_costs_nothing(
    victim, undisturbed, harness, tmp_path
):
    quiet = undisturbed
    assert sum(quiet.result.rollouts_by_phase.values()) >= 300
    async with scene(harness, tmp_path) as disturbed:
        victims, when = draw(harness, victim, quiet)
        run = await disturbed.run(victims, when)
        kills = disturbed.kills
        assert len(kills) >= LEAST_KILLS, "void: too few kills hit a living process"
        assert len({kill.phase for kill in kills}) >= 3, "void: the kills all fell in one place"
        if victim in SERVICES:
            assert disturbed.suite.processes[victim].restarts == len(kills)
        assert run.found() == quiet.found()
        assert not run.result.unscored_by_reason
        check_money(disturbed, run, payer=victim in PAYERS)
        check_events(harness, run)
