"""Calls that are made again while their failure may pass."""

import pytest

from burnish_runtime.retries import RetryPolicy, retried

AT_ONCE = RetryPolicy(attempts=3, first_wait=0.0, longest_wait=0.0, jitter=0.0)


class Passing(Exception):
    """A failure that may pass."""


class Lasting(Exception):
    """A failure that does not."""


def passes(error):
    return isinstance(error, Passing)


def failing(*failures):
    """A call that meets these failures first, and notes that it was made."""
    made: list[None] = []

    async def call():
        made.append(None)
        if len(made) <= len(failures):
            raise failures[len(made) - 1]
        return len(made)

    return call, made


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_a_call_is_made_until_it_succeeds(count):
    call, _ = failing(*[Passing()] * count)
    assert await retried(call, AT_ONCE, on=passes) == count + 1


async def test_the_last_failure_is_told_once_the_tries_are_used_up():
    failures = [Passing(place) for place in range(5)]
    call, made = failing(*failures)
    with pytest.raises(Passing) as caught:
        await retried(call, AT_ONCE, on=passes)
    assert caught.value is failures[2]
    assert len(made) == 3


@pytest.mark.parametrize("before", [0, 1])
async def test_a_failure_that_does_not_pass_ends_the_tries(before):
    call, made = failing(*[Passing()] * before, Lasting())
    with pytest.raises(Lasting):
        await retried(call, AT_ONCE, on=passes)
    assert len(made) == before + 1


async def test_a_failure_may_say_how_long_to_wait():
    call, made = failing(Passing())
    patient = RetryPolicy(first_wait=1000.0, longest_wait=1000.0)
    assert await retried(call, patient, on=lambda error: passes(error) and 0.001) == 2
    assert len(made) == 2


async def test_no_try_is_made_when_the_time_is_up():
    call, made = failing(*[Passing()] * 5)
    hasty = RetryPolicy(attempts=None, seconds=1e-9, first_wait=0.0, longest_wait=0.0, jitter=0.0)
    with pytest.raises(Passing):
        await retried(call, hasty, on=passes)
    assert len(made) == 1
