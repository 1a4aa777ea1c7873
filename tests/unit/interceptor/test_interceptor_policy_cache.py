"""What an interceptor remembers of policies, and when it asks again."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from burnish.api.types.v1 import candidate_pb2
from burnish.errors import NotFound, Unavailable
from burnish_interceptor import convert, testing
from burnish_interceptor.policies.cache import PolicyCache
from burnish_interceptor.policies.policy import Change, Mode, Policy, Prompts

POLICY = Policy(policy_id="p", version=1, job="jobs/1", stages=())


class Source:
    """Policies that a test sets, with a count of what was asked."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.served = policy
        self.asked = 0
        self.error: Exception | None = None
        self.streams: list[list[Change]] = []

    async def policy(self, policy_id: str) -> Policy:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.served

    async def candidate(self, policy_id: str, candidate_id: str) -> Prompts:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return Prompts(candidate_id=candidate_id)

    async def watch(self, after_revision: int) -> AsyncIterator[Change]:
        self.asked += 1
        for change in self.streams.pop(0) if self.streams else []:
            yield change
        raise Unavailable("the stream broke")


def cache(source: Source, now: Any = lambda: 0.0) -> PolicyCache:
    return PolicyCache(source, clock=now)


async def test_those_who_ask_at_once_share_one_fetch():
    source = Source()
    policies = cache(source)
    await asyncio.gather(*(policies.policy("p") for _ in range(50)))
    await asyncio.gather(*(policies.candidate("p", "c") for _ in range(50)))
    assert source.asked == 2


async def test_a_failed_fetch_fails_for_all_who_wait_and_is_not_remembered():
    source = Source()
    source.error = NotFound("no such policy")
    policies = cache(source)
    results = await asyncio.gather(
        *(policies.policy("p") for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [NotFound] * 3
    source.error = None
    assert await policies.policy("p") is POLICY


async def test_one_who_gives_up_does_not_end_the_fetch_of_the_others():
    policies = cache(Source())
    first = asyncio.ensure_future(policies.policy("p"))
    second = asyncio.ensure_future(policies.policy("p"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is POLICY


async def test_a_learning_policy_is_asked_for_again_after_a_second():
    now = 100.0
    source = Source(replace(POLICY, learning_baseline=True))
    policies = cache(source, lambda: now)
    for moment, asked in ((100.0, 1), (100.9, 1), (101.1, 2)):
        now = moment
        await policies.policy("p")
        assert source.asked == asked
    source.served = POLICY
    assert await policies.policy("p", learnt=True) is POLICY
    now = 1000.0
    await policies.policy("p")
    assert source.asked == 3


async def test_online_policies_follow_the_watch_across_broken_streams():
    source = Source()
    online = replace(POLICY, policy_id="live", version=7)
    source.streams = [
        [Change(revision=1, snapshot=True, policies=(online,))],
        [Change(revision=2, snapshot=False, policies=(replace(online, version=8),))],
        [Change(revision=3, snapshot=True)],
    ]
    policies = cache(source)
    policies.start()
    await testing.until(lambda: policies.revision >= 2)
    assert (await policies.policy("live")).version == 8
    await testing.until(lambda: policies.revision == 3)
    await policies.stop()
    assert (await policies.policy("live")) is POLICY


def test_a_policy_is_read_with_its_patterns():
    message = testing.offline_policy(testing.stage_policy(by_pattern=True))
    message.stages[0].template.wildcards["query"] = candidate_pb2.WILDCARD_KIND_OPTIONAL
    policy = convert.policy(message)
    assert (policy.policy_id, policy.job, policy.synchronous) == ("job-1", "jobs/1", True)
    stage = policy.stages[0]
    assert (stage.stage_id, stage.mode, stage.optional) == (
        "classify", Mode.PATTERN, frozenset({"query"}),
    )  # fmt: skip
    assert (stage.model.name, stage.model.temperature) == ("gpt-x", 0.0)


def test_a_candidate_without_one_of_its_components_is_refused():
    message = testing.prompts("text")
    del message.components[1]
    with pytest.raises(convert.CandidateIncomplete, match="dem"):
        convert.prompts(message)
