"""What an interceptor remembers of policies, and when it asks again."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from burnish import rpc
from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish.api.types.v1 import candidate_pb2
from burnish.errors import FailedPrecondition, NotFound, Unavailable
from burnish_interceptor import convert, testing
from burnish_interceptor.policies import cache as policy_cache
from burnish_interceptor.policies import client
from burnish_interceptor.policies.cache import PolicyCache
from burnish_interceptor.policies.policy import (
    Arm,
    Change,
    Mode,
    Model,
    Policy,
    Prompts,
    Rejection,
    Stage,
)

POLICY = Policy(policy_id="p", version=1, job="jobs/1", stages=())
STAGE = Stage(
    stage_id="main",
    messages=(),
    optional=frozenset(),
    mode=Mode.SYSTEM,
    model=Model(provider="openai", name="m"),
    optimised=True,
)
LIVE = Policy(
    policy_id="live",
    version=7,
    job="",
    stages=(STAGE,),
    arms=(Arm(name="a", candidate_id="c", weight=1.0), Arm(name="b", candidate_id="d", weight=0)),
    synchronous=False,
)


class Source:
    """Policies that a test sets, with a count of what was asked."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.served = policy
        self.asked = 0
        self.error: Exception | None = None
        self.streams: list[list[Change]] = []
        self.candidate_error: Exception | None = None
        self.candidates: list[str] = []
        self.reports: list[tuple[int, dict[str, str]]] = []

    async def policy(self, policy_id: str) -> Policy:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.served

    async def candidate(self, policy_id: str, candidate_id: str) -> Prompts:
        self.asked += 1
        self.candidates.append(candidate_id)
        await asyncio.sleep(0)
        if (error := self.candidate_error or self.error) is not None:
            raise error
        return Prompts(candidate_id=candidate_id)

    async def watch(self, after_revision: int) -> AsyncIterator[Change]:
        self.asked += 1
        for change in self.streams.pop(0) if self.streams else []:
            yield change
        raise Unavailable("the stream broke")

    async def report(self, revision: int, rejected: Any) -> None:
        self.reports.append((revision, {name: one.reason for name, one in rejected.items()}))


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
    source.streams = [
        [Change(revision=1, snapshot=True, policies=(LIVE,))],
        [Change(revision=2, snapshot=False, policies=(replace(LIVE, version=8),))],
        [Change(revision=3, snapshot=True)],
    ]
    policies = cache(source)
    policies.start()
    await testing.until(lambda: policies.revision >= 2)
    assert (await policies.policy("live")).version == 8
    await testing.until(lambda: source.reports[-1:] == [(3, {})])
    await policies.stop()
    assert (await policies.policy("live")) is POLICY


async def test_a_change_goes_live_with_its_prompts_so_that_no_call_waits_for_them():
    source = Source()
    policies = cache(source)
    await policies.take(Change(revision=1, snapshot=True, policies=(LIVE,)))
    assert policies.known("live") is LIVE
    assert source.candidates == ["c"]
    assert policies.known_prompts("live", "c") == Prompts(candidate_id="c")
    assert policies.known_prompts("live", "d") is None


async def test_prompts_of_online_arms_stay_however_many_candidates_of_jobs_come_by(monkeypatch):
    monkeypatch.setattr("burnish_interceptor.policies.cache._MAX_CANDIDATES", 3)
    source = Source()
    policies = cache(source)
    await policies.take(Change(revision=1, snapshot=True, policies=(LIVE,)))
    for number in range(10):
        await policies.candidate("job", f"cand-{number}")
    source.error = Unavailable("gone")
    assert policies.known_prompts("live", "c") is not None
    assert (await policies.candidate("live", "c")).candidate_id == "c"
    assert policies.known_prompts("job", "cand-0") is None
    await policies.take(Change(revision=2, snapshot=False, removed=frozenset({"live"})))
    assert policies.known_prompts("live", "c") is None


async def test_a_watch_that_falls_silent_is_given_up(monkeypatch):
    monkeypatch.setattr(client, "_SILENCE_SECONDS", 0.05)
    async with testing.controller() as controller, rpc.connect(controller.target) as channel:
        source = client.PolicyClient(channel, node_id="n")
        with pytest.raises(Unavailable) as error:
            async for _ in source.watch(0):
                pass
        assert error.value.reason == "WATCH_SILENT"


BAD = {
    "without stages": replace(LIVE, version=9, stages=()),
    "with a stage twice": replace(LIVE, version=9, stages=(STAGE, STAGE)),
    "without a model": replace(
        LIVE, version=9, stages=(replace(STAGE, model=Model(provider="", name="")),)
    ),
    "with a strange weight": replace(
        LIVE, version=9, arms=(Arm(name="a", candidate_id="c", weight=float("nan")),)
    ),
    "of a job": replace(LIVE, version=9, synchronous=True),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("snapshot", [True, False])
async def test_a_bad_version_is_refused_and_the_last_good_one_stays(bad, snapshot):
    policies = cache(Source())
    await policies.take(Change(revision=1, snapshot=True, policies=(LIVE,)))
    other = replace(LIVE, policy_id="other")
    await policies.take(Change(revision=2, snapshot=snapshot, policies=(bad, other)))
    assert policies.known("live") is LIVE
    assert policies.known("other") is other
    assert policies.rejected["live"].reason == "POLICY_INVALID"
    assert policies.revision == 2
    better = replace(LIVE, version=10)
    await policies.take(Change(revision=3, snapshot=False, policies=(better,)))
    assert policies.known("live") is better
    assert policies.rejected == {}


async def test_a_policy_whose_model_cannot_be_called_from_here_is_refused():
    def check(model: Model) -> None:
        raise FailedPrecondition("no key", reason="PROVIDER_KEY_MISSING")

    policies = PolicyCache(Source(), clock=lambda: 0.0, check=check)
    await policies.take(Change(revision=1, snapshot=True, policies=(LIVE,)))
    assert policies.known("live") is None
    assert policies.rejected["live"] == Rejection(reason="PROVIDER_KEY_MISSING", message="no key")


async def test_a_policy_with_a_candidate_that_is_not_there_is_refused():
    source = Source()
    source.candidate_error = NotFound("no such candidate", reason="CANDIDATE_NOT_FOUND")
    policies = cache(source)
    await policies.take(Change(revision=1, snapshot=True, policies=(LIVE,)))
    assert policies.rejected["live"].reason == "CANDIDATE_NOT_FOUND"


async def test_a_change_whose_prompts_do_not_arrive_is_taken_again_later():
    source = Source()
    source.candidate_error = Unavailable("gone")
    source.streams = [[Change(revision=4, snapshot=True, policies=(LIVE,))] for _ in range(2)]
    policies = cache(source)
    policies.start()
    await testing.until(lambda: len(source.streams) == 1 and source.candidates != [])
    assert (policies.revision, policies.known("live")) == (0, None)
    source.candidate_error = None
    await testing.until(lambda: policies.known("live") is LIVE)
    await policies.stop()


async def test_a_removed_policy_is_gone_though_it_was_refused_or_fetched():
    policies = cache(Source(LIVE))
    await policies.policy("live")
    await policies.take(Change(revision=1, snapshot=True, policies=(BAD["of a job"],)))
    await policies.take(Change(revision=2, snapshot=False, removed=frozenset({"live"})))
    assert policies.rejected == {}
    assert policies.known("live") is None


async def test_an_online_policy_found_on_a_miss_is_asked_for_again_and_kept_without_a_controller():
    now = 100.0
    source = Source(LIVE)
    policies = cache(source, lambda: now)
    await policies.policy("live")
    assert policies.known("live") is None
    now = 102.0
    source.error = Unavailable("gone")
    found = await asyncio.gather(*(policies.policy("live") for _ in range(3)))
    assert found == [LIVE] * 3
    asked = source.asked
    now = 102.9
    assert await policies.policy("live") is LIVE
    assert source.asked == asked
    now = 104.0
    source.error = NotFound("deleted")
    for _ in range(2):
        with pytest.raises(NotFound):
            await policies.policy("live")


@pytest.mark.parametrize("broken", ["candidate", "report", "watch"])
async def test_a_fault_of_ours_does_not_end_the_watch(broken, monkeypatch):
    monkeypatch.setattr(policy_cache, "_RECONNECT_SECONDS", (0.0, 0.0))
    source = Source()
    fault = ValueError("odd")

    async def fails(*_: Any) -> None:
        raise fault

    async def broken_watch(after_revision: int) -> AsyncIterator[Change]:
        if after_revision >= 0:
            raise fault
        yield Change(revision=1, snapshot=True, policies=())

    whole = source.watch
    if broken == "candidate":
        source.candidate_error = fault
    elif broken == "report":
        monkeypatch.setattr(source, "report", fails)
    else:
        monkeypatch.setattr(source, "watch", broken_watch)
    source.streams = [[Change(revision=1, snapshot=True, policies=(LIVE,))]] * 2
    policies = cache(source)
    policies.start()
    await asyncio.sleep(0.05)
    if broken == "candidate":
        assert policies.rejected["live"].reason == "CANDIDATE_UNREAD"
    source.candidate_error = None
    monkeypatch.setattr(source, "watch", whole)
    source.streams = [[Change(revision=9, snapshot=True, policies=(LIVE,))]]
    for _ in range(100):
        await asyncio.sleep(0.01)
        if policies.revision == 9:
            break
    await policies.stop()
    assert policies.revision == 9
    assert policies.known("live") is LIVE


def test_one_unreadable_policy_of_a_change_does_not_hide_the_others():
    message = policy_v1.WatchPoliciesResponse(
        revision=3,
        policies=[policy_v1.Policy(name="policies/a b"), policy_v1.Policy(name="policies/live")],
    )
    change = convert.change(message)
    assert [one.policy_id for one in change.policies] == ["live"]
    assert change.unread["a b"].reason == "POLICY_UNREADABLE"


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
