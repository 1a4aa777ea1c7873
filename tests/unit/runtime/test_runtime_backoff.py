"""Back-off doubles up to its limit and spreads its waits."""

import random

from hypothesis import given
from hypothesis import strategies as st

from burnish_runtime.backoff import Backoff


@given(failures=st.integers(1, 10_000), seed=st.integers())
def test_a_wait_is_between_half_and_all_of_a_doubling_limit(failures, seed):
    backoff = Backoff(initial_seconds=0.1, max_seconds=3.0, rng=random.Random(seed))
    longest = 3.0 if failures > 5 else 0.1 * 2 ** (failures - 1)
    assert longest / 2 <= backoff.wait(failures) <= longest


def test_the_same_seed_gives_the_same_waits():
    one, other = (Backoff(rng=random.Random(7)) for _ in range(2))
    waits = [one.wait(number) for number in range(1, 9)]
    assert waits == [other.wait(number) for number in range(1, 9)]
    assert len(set(waits)) == len(waits)
