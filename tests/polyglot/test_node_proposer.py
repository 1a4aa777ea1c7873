"""A proposer in another language, made from `protos/` alone, writes for a job on the real suite."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc import aio

from burnish import rpc
from burnish.api.job import v1 as job_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.types import v1 as types_v1
from burnish.suite import Suite, SuiteOptions
from burnish.testing.proposer_suite import ProposerSuite
from examples.harness import app_process
from tests.node import packages

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "examples" / "node_proposer"
FILES = ("package.json", "package-lock.json", "proposer.mjs", "server.mjs")
TOKEN = "token-of-the-proposer"
JOB_SECONDS = 180.0

pytestmark = [pytest.mark.node, pytest.mark.slow]


@asynccontextmanager
async def node_proposer() -> AsyncIterator[str]:
    """Runs the proposer and yields its address."""
    process = await asyncio.create_subprocess_exec(
        "node", "server.mjs", "--protos", str(ROOT / "protos"),
        cwd=packages(SOURCE, name="proposer", files=FILES),
        env={"PATH": os.environ["PATH"], "BURNISH_PROPOSERS_TOKEN": TOKEN},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        yield line.decode().strip()
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 30)


class TestNodeProposer(ProposerSuite):
    @asynccontextmanager
    async def serve(self) -> AsyncIterator[aio.Channel]:
        async with node_proposer() as target:
            channel = rpc.connect(target, token=TOKEN)
            try:
                yield channel
            finally:
                await channel.close()


async def test_a_call_without_its_token_is_refused():
    async with node_proposer() as target, aio.insecure_channel(target) as channel:
        stub = proposer_v1.ProposerServiceStub(channel)
        request = proposer_v1.ProposeInstructionsRequest(count=1)
        with pytest.raises(aio.AioRpcError) as caught:
            await anext(aiter(stub.ProposeInstructions(request, timeout=10)))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


@dataclass
class Ended:
    """A job that ended, and what it wrote down."""

    job: job_v1.Job
    events: list[job_v1.JobEvent]

    def of(self, kind):
        return [getattr(one, kind) for one in self.events if one.WhichOneof("kind") == kind]


async def run_job(suite: Suite, spec: job_v1.JobSpec) -> Ended:
    channel = rpc.connect(suite.target, token=suite.token)
    jobs = job_v1.JobServiceStub(channel)
    try:
        created = await jobs.CreateJob(job_v1.CreateJobRequest(spec=spec), timeout=30)
        name = created.job.name
        watch = jobs.WatchJob(job_v1.WatchJobRequest(name=name), timeout=JOB_SECONDS)
        events = [one.event async for one in watch if one.HasField("event")]
        job = (await jobs.GetJob(job_v1.GetJobRequest(name=name), timeout=30)).job
        return Ended(job, events)
    finally:
        await channel.close()


def spec_for(app: str, *, proposer: str) -> job_v1.JobSpec:
    spec = job_v1.JobSpec(
        task_app=job_v1.TaskAppRef(uri=app),
        algorithm="mipro",
        random_seed=3,
        policy_model=types_v1.ModelSpec(provider="local", model="local-reader"),
        proposer=job_v1.ProposerSpec(
            effort=proposer_v1.EFFORT_MEDIUM, instruction_count=3, proposer=proposer
        ),
        offline=job_v1.OfflineMode(
            bootstrap_pool=types_v1.SeedPool(seeds=range(40)),
            online_pool=types_v1.SeedPool(seeds=range(40, 80)),
            validation_pool=types_v1.SeedPool(seeds=range(80, 100)),
            test_pool=types_v1.SeedPool(seeds=range(200, 220)),
            bootstrap=job_v1.BootstrapSpec(max_demo_sets=1),
        ),
    )
    spec.algorithm_settings.update(
        {
            "num_iterations": 3,
            "num_evaluations_per_iteration": 2,
            "batch_size": 5,
            "generate_at_iterations": [0, 2],
            "instructions_per_batch": 2,
        }
    )
    return spec


async def test_a_job_is_written_for_by_the_proposer_that_it_names(tmp_path):
    async with node_proposer() as target:
        environment = {"BURNISH_PROPOSERS": f"words={target}", "BURNISH_PROPOSERS_TOKEN": TOKEN}
        options = SuiteOptions(environment=environment)
        async with (
            Suite(tmp_path / "state", options=options) as suite,
            app_process("examples.intents.app", folder=tmp_path) as url,
        ):
            ended = await run_job(suite, spec_for(url, proposer="words"))
            with pytest.raises(aio.AioRpcError, match="neither installed nor set up") as refused:
                await run_job(suite, spec_for(url, proposer="others"))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert ended.job.state == job_v1.JOB_STATE_SUCCEEDED
    written = [one for one in ended.of("component_added") if one.author]
    assert {one.author for one in written} == {"words (words)"}
    assert {one.iteration for one in written} == {0, 2}
    assert all("Words that point to each answer" in one.component.instruction.text
               for one in written)  # fmt: skip
    completed = ended.of("proposal_completed")
    assert [one.iteration for one in completed] == [0, 2]
    assert "`words`, outside the suite" in completed[0].description
