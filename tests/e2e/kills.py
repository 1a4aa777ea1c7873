"""Kills processes of a running job at moments told by its calls, and checks what it cost.

The moments are drawn by a seed from the calls that reach the provider, so that they fall within the
job however fast the machine is, and never depend on a clock.
"""

import asyncio
import random
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Kill:
    """A process that was killed, and in which phase of the job."""

    victim: str
    phase: int


@dataclass(frozen=True)
class Size:
    """How long the job is."""

    rollouts: int = 300
    iterations: int = 12


class Scene:
    """One run of the job that every such test runs."""

    def __init__(self, h: Any, suite: Any, provider: Any, app: Any, size: Size) -> None:
        self.h, self.suite, self.provider, self.app = h, suite, provider, app
        self.size = size
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
            num_iterations=self.size.iterations,
        )
        spec.budget.max_rollouts = self.size.rollouts
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
            killed = None
            while killed is None:
                await self.h.until(lambda process=process: process.ready)
                if job.state in self.h.FINAL:
                    return
                phase = self.h.rows(self.suite, "SELECT phase FROM jobs")[0]["phase"]
                killed = process.kill()
            self.kills.append(Kill(victim, phase))
            # The supervisor sees a death a moment after it.
            await self.h.until(lambda process=process: not process.ready)


MATRIX = Size()
PAYERS = {"interceptor", "proposer", "anything"}


@asynccontextmanager
async def scene(h: Any, folder: Path, size: Size = MATRIX) -> Any:
    """Runs a suite, an app and a provider that may all be killed."""
    async with (
        h.counting_provider() as provider,
        h.AppProcess(folder) as app,
        h.Suite(folder / "state") as suite,
    ):
        provider.delays = {h.READER: 0.025, h.PROPOSER: 0.3}
        yield Scene(h, suite, provider, app, size)


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


MANY = 20
WIDTH = 8
# Of about 540 calls of the long job; the last ones would be over before a kill lands.
LONG, REACH = Size(rollouts=500, iterations=22), 440


async def killed_many_times(h: Any, folder: Path, victim: str) -> tuple[int, int]:
    """Kills one process twenty times in the course of a job; nothing journaled is paid for again.

    Returns:
        How many calls were made again, and how many are counted as possibly paid.
    """
    rng = random.Random(f"{MANY} kills/{victim}")
    stretch = REACH / MANY
    # One kill in each of as many equal stretches.
    when = [(h.READER, int(5 + (n + rng.random() * 0.6) * stretch)) for n in range(MANY)]
    async with scene(h, folder, LONG) as disturbed:
        run = await disturbed.run([victim] * MANY, when)
        assert len(disturbed.kills) == MANY, "void: too few kills hit a living process"
        phases = {kill.phase for kill in disturbed.kills}
        assert len(phases) >= 3, "void: the kills all fell in one place"
        assert run.job.state == h.job_v1.JOB_STATE_SUCCEEDED
        assert not run.result.unscored_by_reason
        check_money(disturbed, run, payer=victim in PAYERS)
        check_events(h, run)
        calls = h.task_calls(disturbed.suite)
        made_again = disturbed.provider.models[h.READER] - len(calls)
        return made_again, sum(row["lost_calls"] for row in calls)
