"""Kills every process of a running job, again and again, and compares with an undisturbed run.

The moments are drawn by a seed from the calls that reach the provider, so that they fall within the
job however fast the machine is, and never depend on a clock. A run whose kills missed is void.
"""

import asyncio
import random
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="session")
LEAST_KILLS = 5
SERVICES = ["controller", "search", "proposer", "verifier", "interceptor"]
PAYERS = {"interceptor", "proposer", "anything"}


class Kill:
    def __init__(self, victim: str, phase: int) -> None:
        self.victim = victim
        self.phase = phase


class Scene:
    """One run of the job that every test of the matrix runs."""

    def __init__(self, h: Any, suite: Any, provider: Any, app: Any) -> None:
        self.h, self.suite, self.provider, self.app = h, suite, provider, app
        self.kills: list[Kill] = []

    def spec(self) -> Any:
        h = self.h
        pools = h.Pools(
            range(48), range(60, 160), range(300, 336), range(420, 445), range(160, 260)
        )
        spec = h.job_spec(
            self.app.url,
            self.provider.model(),
            pools,
            seed=7,
            generate_at_iterations=[0, 2],
            num_iterations=12,
        )
        spec.budget.max_rollouts = 300
        spec.proposer.meta_model.CopyFrom(
            self.provider.model(h.PROPOSER, max_output_tokens=1500, temperature=0.7)
        )
        return spec

    async def run(self, victims: list[str], moments: list[tuple[str, int]]) -> Any:
        async with self.h.Submitted(self.suite, self.spec()) as job:
            killer = asyncio.create_task(self._kill(job, victims, moments))
            try:
                run = await asyncio.wait_for(job.finished(), 200)
            finally:
                killer.cancel()
            await asyncio.gather(killer, return_exceptions=True)
            assert killer.cancelled() or killer.exception() is None, killer.exception()
            return run

    async def _kill(self, job: Any, victims: list[str], moments: list[tuple[str, int]]) -> None:
        for victim, (model, count) in zip(victims, moments, strict=True):
            await self.h.until(
                lambda model=model, count=count: self.provider.models[model] >= count, seconds=200
            )
            process = self.app if victim == "app" else self.suite.processes[victim]
            await self.h.until(lambda process=process: process.ready)
            if job.state in self.h.FINAL:
                return
            phase = self.h.rows(self.suite, "SELECT phase FROM jobs")[0]["phase"]
            if process.kill() is not None:
                self.kills.append(Kill(victim, phase))
                # The supervisor sees a death a moment after it.
                await self.h.until(lambda process=process: not process.ready)


@asynccontextmanager
async def scene(h: Any, folder: Path) -> Any:
    async with (
        h.counting_provider() as provider,
        h.AppProcess(folder) as app,
        h.Suite(folder / "state") as suite,
    ):
        provider.delays = {h.READER: 0.025, h.PROPOSER: 0.3}
        yield Scene(h, suite, provider, app)


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


def check_money(one: Scene, run: Any, *, payer: bool) -> None:
    """Compares the ledger with what the provider counted."""
    h, provider = one.h, one.provider
    calls = h.task_calls(one.suite)
    done = Counter(row["request_hash"] for row in calls if row["state"] == "done")
    lost = Counter[str]()
    for row in calls:
        lost[row["request_hash"]] += row["lost_calls"]
    assert all(row["state"] == "done" for row in calls)
    sent = {key: provider.requests[key] for key in done}
    if payer:
        repeated = {key: n for key, n in sent.items() if n > done[key] + lost[key]}
        assert not repeated, "a journaled call was made again"
    else:
        assert not sum(lost.values())
        assert sent == done
        assert provider.models[h.READER] == sum(done.values())
    booked = sum(row["input_tokens"] + row["output_tokens"] for row in calls)
    possibly = sum(row["lost_tokens"] for row in calls)
    assert booked <= provider.tokens() <= booked + possibly
    usage = run.result.usage_by_role["task"]
    assert usage.input_tokens + usage.output_tokens == booked
    assert usage.call_count == sum(done.values())
    assert usage.possibly_paid_call_count == sum(lost.values())
    proposals = run.result.usage_by_role["proposer"]
    tried = proposals.call_count + proposals.possibly_paid_call_count
    assert proposals.call_count <= provider.models[h.PROPOSER] <= tried


def check_events(h: Any, run: Any) -> None:
    """No gap, no repeat, and each thing that happens once is told once."""
    assert h.gaps(run.events) == []
    assert run.job.last_sequence == len(run.events)
    told = Counter[object]()
    for event in run.events:
        kind = event.WhichOneof("kind")
        what = getattr(event, kind)
        if kind == "phase_changed":
            told[kind, what.to_phase] += 1
        elif kind in {"trial_started", "trial_completed", "full_evaluation_completed"}:
            told[kind, what.trial_index] += 1
        elif kind in {"winner_chosen", "bootstrap_completed", "baseline_evaluated", "search_ended"}:
            told[kind] += 1
        elif kind == "component_added":
            told[kind, what.component.component_id] += 1
    assert [key for key, count in told.items() if count > 1] == []


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
