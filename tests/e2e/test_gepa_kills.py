"""A job of GEPA ends the same whoever dies in the middle of a generation, and at any width."""

from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from google.protobuf import json_format

from burnish.api.job import v1 as job_v1
from tests.e2e.kills import Scene, Size, check_events, check_money, scene

pytestmark = pytest.mark.asyncio(loop_scope="session")
SIZE = Size(rollouts=330)
# What a generation tells, in the order in which it happens.
TOLD = ("generation_started", "generation_completed", "transformation_proposed",
        "frontier_updated", "candidate_evaluated", "proposal_settled", "new_incumbent")  # fmt: skip


class Generations(Scene):
    """A job of a few small generations."""

    concurrency = 8

    def spec(self):
        spec = super().spec()
        spec.algorithm = "gepa"
        spec.algorithm_settings.Clear()
        sizes = {
            "initial_size": 3, "num_generations": 4, "children_per_generation": 3,
            "pareto_set_size": 24, "minibatch_size": 6, "patience_generations": 0,
        }  # fmt: skip
        json_format.ParseDict(sizes, spec.algorithm_settings)
        spec.offline.ClearField("bootstrap_pool")
        spec.offline.ClearField("bootstrap")
        spec.proposer.instruction_count = 2
        spec.max_concurrency = self.concurrency
        return spec


@asynccontextmanager
async def generations(harness, folder):
    async with scene(harness, folder, SIZE) as one:
        yield Generations(one.h, one.suite, one.provider, one.app, one.size)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def quiet(tmp_path_factory, harness):
    """The job when nobody disturbs it, and how many calls the proposer made."""
    async with generations(harness, tmp_path_factory.mktemp("quiet")) as one:
        run = await one.run([], [])
        return run, one.provider.models[harness.PROPOSER]


def told(run):
    return {kind: run.of_kind(kind) for kind in TOLD}


async def test_the_undisturbed_job_has_generations_to_be_disturbed(quiet):
    run, calls = quiet
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    assert len(run.of_kind("generation_completed")) >= 3
    assert calls >= 6


@pytest.mark.parametrize(
    "victim",
    ["controller", *(pytest.param(one, marks=pytest.mark.slow) for one in ("search", "proposer"))],
)
async def test_a_process_that_dies_in_a_generation_changes_nothing(
    victim, quiet, harness, tmp_path
):
    undisturbed, calls = quiet
    # While the initial population is written, and twice while briefs are answered.
    moments = [(harness.PROPOSER, at) for at in (1, calls // 2, calls - 1)]
    async with generations(harness, tmp_path) as disturbed:
        run = await disturbed.run([victim] * len(moments), moments)
        assert disturbed.kills, "void: no kill hit a living process"
        assert run.found() == undisturbed.found()
        assert told(run) == told(undisturbed)
        check_money(disturbed, run, payer=victim == "proposer")
        check_events(harness, run)


@pytest.mark.slow
async def test_a_controller_that_dies_at_the_gate_changes_nothing(quiet, harness, tmp_path):
    undisturbed, _ = quiet
    moments = [(harness.READER, at) for at in (70, 120, 170)]
    async with generations(harness, tmp_path) as disturbed:
        run = await disturbed.run(["controller"] * len(moments), moments)
        assert len(disturbed.kills) >= 2, "void: too few kills hit a living process"
        assert run.found() == undisturbed.found()
        assert told(run) == told(undisturbed)
        check_money(disturbed, run, payer=False)
        check_events(harness, run)


@pytest.mark.slow
async def test_one_rollout_in_flight_gives_the_same_generations_as_eight(quiet, harness, tmp_path):
    together, calls = quiet
    async with generations(harness, tmp_path) as one:
        one.concurrency = 1
        one.provider.delays = {}
        alone = await one.run([], [])
        assert one.provider.models[harness.PROPOSER] == calls
    assert alone.found() == together.found()
    assert told(alone) == told(together)
