"""Twenty deaths of the controller: the interceptor holds replies until they are journaled."""

import pytest

from tests.e2e.kills import killed_many_times

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.slow
async def test_a_controller_that_dies_repeats_no_call(harness, tmp_path):
    assert await killed_many_times(harness, tmp_path, "controller") == (0, 0)
