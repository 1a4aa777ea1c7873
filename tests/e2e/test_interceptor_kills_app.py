"""Twenty deaths of the task app: what its rollouts had paid for is replayed to the next attempt."""

import pytest

from tests.e2e.kills import killed_many_times

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.slow
async def test_an_app_that_dies_repeats_no_call(harness, tmp_path):
    assert await killed_many_times(harness, tmp_path, "app") == (0, 0)
