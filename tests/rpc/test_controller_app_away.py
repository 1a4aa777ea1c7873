"""An app that is away between its rollouts is waited for; one that refuses the key is not."""

import pytest

from burnish.api.job import v1 as job_v1
from burnish_controller.task_apps import TaskAppUnhealthy, ask
from burnish_controller.task_apps.base import KEY_REFUSED
from burnish_controller.testing import World, small_job


@pytest.mark.parametrize("phase", ["check", "examples", "program"])
async def test_an_app_that_dies_while_it_is_asked_costs_no_job(tmp_path, monkeypatch, phase):
    async with World(tmp_path) as world:
        real, asked = getattr(world.program, phase), []

        async def once_away(*arguments):
            asked.append(phase)
            # The first check is the one at creation, which a dead app is to fail.
            world.program.healthy = len(asked) != (2 if phase == "check" else 1)
            return await real(*arguments)

        monkeypatch.setattr(world.program, phase, once_away)
        await world.create(small_job())
        await world.finished()
        assert (await world.job()).state == job_v1.JOB_STATE_SUCCEEDED
        assert len(asked) >= (3 if phase == "check" else 2)


async def test_an_app_that_refuses_the_key_is_not_asked_again():
    asked = []

    async def refuse():
        asked.append(1)
        raise TaskAppUnhealthy("it refuses the key", reason=KEY_REFUSED)

    with pytest.raises(TaskAppUnhealthy):
        await ask(refuse)
    assert asked == [1]
