"""Later rounds of proposals on the real suite: screened, retired, and the same whoever dies."""

from collections import Counter
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from burnish.api.job import v1 as job_v1
from tests.e2e.kills import Scene, Size, check_events, check_money, scene

pytestmark = pytest.mark.asyncio(loop_scope="session")
SIZE = Size(rollouts=320, iterations=8)


class Rounds(Scene):
    """A job with two later rounds, a screen, and a limit on its instructions."""

    concurrency = 8

    def spec(self):
        spec = super().spec()
        spec.algorithm_settings.update({"generate_at_iterations": [0, 2, 4]})
        spec.algorithm_settings.update({"instructions_per_batch": 3})
        spec.proposer.meta_update.CopyFrom(
            job_v1.MetaUpdate(
                success_count=3,
                failure_count=5,
                screen_row_count=8,
                max_kept_count=6,
                temperature_decay=0.9,
            )
        )
        spec.max_concurrency = self.concurrency
        return spec


@asynccontextmanager
async def rounds(harness, folder):
    async with scene(harness, folder, SIZE) as one:
        yield Rounds(one.h, one.suite, one.provider, one.app, one.size)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def quiet(tmp_path_factory, harness):
    """The job when nobody disturbs it, and how many calls the proposer made."""
    async with rounds(harness, tmp_path_factory.mktemp("quiet")) as one:
        run = await one.run([], [])
        return run, one.provider.models[harness.PROPOSER]


def written(run):
    return Counter(
        one.iteration for one in run.of_kind("component_added") if one.author and one.proposal_id
    )


async def test_later_rounds_add_instructions_that_the_search_then_tries(quiet):
    run, _ = quiet
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED
    found = written(run)
    assert set(found) == {0, 2, 4}
    assert found[2] == found[4] == 3
    completed = run.of_kind("proposal_completed")
    assert [one.iteration for one in completed] == [0, 2, 4]
    late = {
        one.component.component_id
        for one in run.of_kind("component_added")
        if one.iteration and one.component.HasField("instruction")
    }
    tried = {
        choice.instruction_id
        for one in run.result.candidates
        for choice in one.candidate.stages.values()
    }
    assert late & tried
    settled = run.of_kind("proposal_settled")
    assert [(one.iteration, one.screen_row_count) for one in settled] == [(2, 8), (4, 8)]
    assert any(one.retired_component_ids for one in settled)


@pytest.mark.slow
async def test_one_rollout_in_flight_gives_the_same_rounds_as_eight(quiet, harness, tmp_path):
    together, calls = quiet
    async with rounds(harness, tmp_path) as one:
        one.concurrency = 1
        alone = await one.run([], [])
        assert one.provider.models[harness.PROPOSER] == calls
    assert alone.found() == together.found()
    assert written(alone) == written(together)
    assert alone.of_kind("proposal_settled") == together.of_kind("proposal_settled")


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["controller", "proposer", "search"])
async def test_a_process_that_dies_in_a_later_round_changes_nothing(
    victim, quiet, harness, tmp_path
):
    undisturbed, calls = quiet
    later = [(harness.PROPOSER, calls - 5), (harness.PROPOSER, calls - 1)]
    async with rounds(harness, tmp_path) as disturbed:
        run = await disturbed.run([victim] * 2, later)
        assert disturbed.kills, "void: no kill hit a living process"
        assert run.found() == undisturbed.found()
        assert written(run) == written(undisturbed)
        check_money(disturbed, run, payer=victim == "proposer")
        check_events(harness, run)
