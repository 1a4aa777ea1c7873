"""Twenty deaths of the interceptor: only calls in flight may be made again, and each is counted.

No provider can be asked what became of a call whose caller died.
"""

import pytest

from tests.e2e.kills import MANY, WIDTH, killed_many_times

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.slow
async def test_an_interceptor_that_dies_repeats_only_calls_that_were_in_flight(harness, tmp_path):
    made_again, possibly_paid = await killed_many_times(harness, tmp_path, "interceptor")
    assert 0 < made_again <= possibly_paid <= MANY * WIDTH
