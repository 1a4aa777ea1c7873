"""Pausing, resuming, cancelling, watching and restarting a job through the whole suite."""

import asyncio
import itertools
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.errors import BurnishError

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def spec(harness: Any, intents_app: Any, provider: Any) -> Any:
    """A job that takes a while, because its model does."""
    provider.delays[harness.READER] = 0.02
    return harness.job_spec(intents_app.url, provider.model(), seed=5)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def untouched(harness: Any, suite: Any, intents_app: Any) -> Any:
    """What the job finds when it is left alone."""
    async with harness.counting_provider() as provider:
        spec = harness.job_spec(intents_app.url, provider.model(), seed=5)
        return await harness.run_job(suite, spec)


async def call(job: Any, verb: str) -> Any:
    request = getattr(job_v1, f"{verb}JobRequest")(name=job.name)
    with rpc.translated():
        return (await getattr(job.jobs, f"{verb}Job")(request, timeout=60)).job


async def in_state(harness: Any, job: Any, state: Any) -> None:
    name = job_v1.JobState.Name(state)
    await harness.until(lambda: job.state == state, what=f"the job never was {name}")


async def searching(harness: Any, job: Any, trials: int = 1) -> None:
    await harness.until(
        lambda: sum(event.HasField("trial_completed") for event in job.events) >= trials,
        what="the search did not begin",
    )


async def test_a_paused_job_makes_no_call_until_it_is_resumed(
    harness, suite, provider, spec, untouched
):
    async with harness.Submitted(suite, spec) as job:
        await searching(harness, job)
        await call(job, "Pause")
        await in_state(harness, job, job_v1.JOB_STATE_PAUSED)
        assert provider.in_flight == 0
        calls, last = provider.total, job.events[-1].sequence
        assert (await call(job, "Pause")).state == job_v1.JOB_STATE_PAUSED
        # A window in which a job that is not paused would make tens of calls.
        await asyncio.sleep(0.8)
        assert provider.total == calls
        assert job.events[-1].sequence == last
        await call(job, "Resume")
        run = await job.finished()
    assert run.found() == untouched.found()
    assert harness.gaps(run.events) == []
    times = {
        event.state_changed.to_state: event.event_time.ToNanoseconds() / 1e9
        for event in run.events
        if event.HasField("state_changed") and event.state_changed.from_state
    }
    began = run.job.start_time.ToNanoseconds() / 1e9
    paused = (
        next(
            event.event_time.ToNanoseconds() / 1e9
            for event in run.events
            if event.state_changed.from_state == job_v1.JOB_STATE_PAUSED
        )
        - times[job_v1.JOB_STATE_PAUSED]
    )
    whole = run.job.end_time.ToNanoseconds() / 1e9 - began
    told = run.job.progress.elapsed.ToNanoseconds() / 1e9
    assert paused >= 0.8
    assert told <= whole - paused + 0.1


async def test_a_job_can_be_paused_again_and_again(harness, suite, spec, untouched):
    async with harness.Submitted(suite, spec) as job:
        for trials in (1, 3, 5):
            await searching(harness, job, trials)
            await call(job, "Pause")
            await in_state(harness, job, job_v1.JOB_STATE_PAUSED)
            await call(job, "Resume")
            await in_state(harness, job, job_v1.JOB_STATE_RUNNING)
        run = await job.finished()
    assert run.found() == untouched.found()
    assert harness.gaps(run.events) == []
    changes = [event.state_changed for event in run.events if event.HasField("state_changed")]
    assert all(one.to_state == other.from_state for one, other in itertools.pairwise(changes))
    assert sum(one.to_state == job_v1.JOB_STATE_PAUSED for one in changes) == 3


@pytest.mark.parametrize("phase", ["BASELINE", "BOOTSTRAP", "PROPOSE", "SEARCH", "TEST"])
async def test_a_job_can_be_cancelled_in_every_phase(phase, harness, suite, provider, spec):
    wanted = job_v1.JobPhase.Value(f"JOB_PHASE_{phase}")
    provider.delays = {harness.READER: 0.08, harness.PROPOSER: 0.3}
    spec.proposer.meta_model.CopyFrom(provider.model(harness.PROPOSER, max_output_tokens=1200))
    async with harness.Submitted(suite, spec) as job:
        await harness.until(lambda: job.phase == wanted, what="the phase was never entered")
        await call(job, "Cancel")
        run = await job.finished()
        calls = provider.total
        assert (await call(job, "Cancel")).state == job_v1.JOB_STATE_CANCELLED
        for verb in ("Pause", "Resume"):
            with pytest.raises(BurnishError, match="cancelled"):
                await call(job, verb)
    assert run.job.state == job_v1.JOB_STATE_CANCELLED
    assert run.job.phase == wanted
    assert run.job.termination_reason == job_v1.TERMINATION_REASON_CANCELLED
    assert run.events[-1].state_changed.to_state == job_v1.JOB_STATE_CANCELLED
    assert harness.gaps(run.events) == []
    assert provider.in_flight == 0
    assert provider.total == calls


async def test_a_paused_job_can_be_cancelled(harness, suite, spec):
    async with harness.Submitted(suite, spec) as job:
        await searching(harness, job)
        await call(job, "Pause")
        await in_state(harness, job, job_v1.JOB_STATE_PAUSED)
        await call(job, "Cancel")
        run = await job.finished()
    assert run.job.state == job_v1.JOB_STATE_CANCELLED
    assert harness.gaps(run.events) == []


async def test_a_watch_resumes_from_any_event_without_gap_or_repeat(harness, suite, spec):
    async def sequences(job: Any, after: int) -> list[int]:
        return [event.sequence async for event in job.watch(after)]

    async with harness.Submitted(suite, spec) as job:
        await searching(harness, job)
        live = asyncio.create_task(sequences(job, 3))
        run = await job.finished()
        last = len(run.events)
        assert await asyncio.wait_for(live, 60) == list(range(4, last + 1))
        for after in range(0, last + 1, 7):
            got = await asyncio.wait_for(sequences(job, after), 60)
            assert got == list(range(after + 1, last + 1))


async def test_a_job_goes_on_after_the_controller_was_told_to_stop(
    harness, provider, spec, untouched, tmp_path
):
    async with harness.Suite(tmp_path / "state") as suite:
        controller = suite.processes["controller"]
        async with harness.Submitted(suite, spec) as job:
            for trials in (0, 2):
                await searching(harness, job, trials)
                await harness.until(lambda: controller.ready)
                assert controller.kill(signal.SIGTERM) is not None
                await harness.until(lambda: not controller.ready)
            run = await job.finished()
        assert controller.restarts == 2
        assert run.found() == untouched.found()
        assert harness.gaps(run.events) == []
        calls = harness.task_calls(suite)
        assert provider.models[harness.READER] == len(calls)
        assert not sum(row["lost_calls"] for row in calls)


async def test_a_pause_outlives_the_controller(harness, provider, spec, untouched, tmp_path):
    async with harness.Suite(tmp_path / "state") as suite:
        controller = suite.processes["controller"]
        async with harness.Submitted(suite, spec) as job:
            await searching(harness, job)
            await call(job, "Pause")
            await in_state(harness, job, job_v1.JOB_STATE_PAUSED)
            assert controller.kill() is not None
            await harness.until(lambda: not controller.ready)
            await harness.until(lambda: controller.ready)
            calls = provider.total
            assert (await job.get()).state == job_v1.JOB_STATE_PAUSED
            await asyncio.sleep(0.5)
            assert provider.total == calls
            await call(job, "Resume")
            run = await job.finished()
        assert run.found() == untouched.found()
        assert harness.gaps(run.events) == []


async def test_a_second_controller_on_the_same_data_is_refused(harness, suite, tmp_path):
    own = suite.processes["controller"]
    environ = {
        **own.spec.environment,
        "BURNISH_LISTEN": "127.0.0.1:0",
        "BURNISH_HEALTH_LISTEN": "127.0.0.1:0",
        "BURNISH_READY_FILE": str(tmp_path / "second.json"),
    }
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "burnish_controller", env=environ,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(second.communicate(), 60)
    assert second.returncode not in {0, None}
    assert b"another controller" in said.lower() or b"lock" in said.lower()
    assert str(Path(environ["BURNISH_STATE_DIR"])).encode() in said
    assert not (tmp_path / "second.json").exists()
    assert own.ready
    assert own.restarts == 0
