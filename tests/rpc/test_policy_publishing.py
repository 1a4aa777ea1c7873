"""Online policies over a real channel: published, watched, reported on, kept over a restart."""

import asyncio
import contextlib
import time

import pytest

from burnish import rpc
from burnish.api.policy import v1 as policy_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from burnish_controller import policy_servicer
from burnish_controller.testing import World, small_job


@pytest.fixture
async def world(tmp_path):
    async with World(tmp_path) as running:
        yield running


def stage(stage_id="main", *, pattern=False):
    return policy_v1.StagePolicy(
        template=types_v1.PromptTemplate(
            stage_id=stage_id,
            messages=[
                types_v1.MessagePattern(role="system", pattern="Sort it for {bank}."),
                types_v1.MessagePattern(role="user", pattern="{query}"),
            ],
            mode=types_v1.SUBSTITUTION_MODE_PATTERN
            if pattern
            else types_v1.SUBSTITUTION_MODE_SYSTEM,
        ),
        model=types_v1.ModelSpec(provider="openai", model="gpt-x"),
    )


def arm(name, text=None, weight=1.0, stage_id="main"):
    prompts = {} if text is None else {stage_id: policy_v1.StagePrompt(instruction=text)}
    return policy_v1.PolicyArm(arm=name, weight=weight, prompts=prompts)


def spec(*arms, stages=()):
    found = arms or (arm("a", "One."), arm("b", "Two.", 3.0))
    return policy_v1.PolicySpec(stages=list(stages) or [stage()], arms=list(found))


async def publish(world, name="live", **fields):
    fields = fields or {"spec": spec()}
    request = policy_v1.PublishPolicyRequest(name=f"policies/{name}", **fields)
    async with rpc.translated():
        return await world.policies.PublishPolicy(request, timeout=10)


async def set_weights(world, weights, name="live", **fields):
    request = policy_v1.SetPolicyWeightsRequest(name=f"policies/{name}", weights=weights, **fields)
    async with rpc.translated():
        return await world.policies.SetPolicyWeights(request, timeout=10)


async def listed(world, **fields):
    async with rpc.translated():
        request = policy_v1.ListPoliciesRequest(**fields)
        return await world.policies.ListPolicies(request, timeout=10)


async def delete(world, name="live"):
    async with rpc.translated():
        request = policy_v1.DeletePolicyRequest(name=f"policies/{name}")
        await world.policies.DeletePolicy(request, timeout=10)


async def get(world, name="live"):
    async with rpc.translated():
        request = policy_v1.GetPolicyRequest(name=f"policies/{name}")
        return await world.policies.GetPolicy(request, timeout=10)


async def candidate(world, candidate_id, policy="live"):
    async with rpc.translated():
        request = policy_v1.GetCandidateRequest(
            policy=f"policies/{policy}", candidate_id=candidate_id
        )
        return (await world.policies.GetCandidate(request, timeout=10)).prompts


@contextlib.asynccontextmanager
async def watching(world, node="node-1", after=0):
    """A watch whose responses are taken one by one."""
    request = policy_v1.WatchPoliciesRequest(node_id=node, after_revision=after)
    call = world.policies.WatchPolicies(request)

    async def take():
        return await asyncio.wait_for(call.read(), 5)

    try:
        yield take
    finally:
        call.cancel()


async def test_a_policy_written_by_hand_is_served_with_its_prompts(world):
    response = await publish(world)
    policy = response.policy
    assert (policy.name, policy.version) == ("policies/live", 1)
    assert not policy.synchronous_traces
    assert [(one.arm, one.weight) for one in policy.candidates] == [("a", 1.0), ("b", 3.0)]
    assert policy.stages[0].optimised
    assert response.status.base_url == "http://interceptor/p/live/v1"
    prompts = await candidate(world, policy.candidates[1].candidate_id)
    texts = [one.instruction.text for one in prompts.components if one.HasField("instruction")]
    assert texts == ["Two."]


async def test_an_arm_without_a_prompt_leaves_the_apps_own(world):
    policy = (await publish(world, spec=spec(arm("own"), arm("b", "Two.")))).policy
    own = await candidate(world, policy.candidates[0].candidate_id)
    assert not own.candidate.stages


async def test_publishing_the_same_again_keeps_the_version_and_a_change_raises_it(world):
    await publish(world)
    assert (await publish(world)).policy.version == 1
    assert (await publish(world, spec=spec(arm("a", "Three.")))).policy.version == 2
    assert (await listed(world)).revision == 2


async def test_every_fault_of_a_policy_is_told_at_once(world):
    broken = policy_v1.PolicySpec(
        stages=[stage(), stage(), policy_v1.StagePolicy()],
        arms=[
            arm("Not good", "x"),
            arm("b", "y", -1.0),
            arm("c", "z", float("nan"), stage_id="elsewhere"),
            arm("d", "y", 0.0),
        ],
    )
    with pytest.raises(InvalidArgument) as error:
        await publish(world, spec=broken)
    for part in (
        "stage `main` is given twice", "`stages[2].template.stage_id` is empty", "no model",
        "arm `Not good`", "weight -1", "weight nan", "stage `elsewhere`", "say the same",
    ):  # fmt: skip
        assert part in error.value.message
    assert error.value.reason == "POLICY_INVALID"
    assert not (await listed(world)).policies


async def test_an_instruction_may_not_lose_a_wildcard_that_it_has_to_render(world):
    with pytest.raises(InvalidArgument, match="lost `bank`"):
        await publish(world, spec=spec(arm("a", "Sort."), stages=[stage(pattern=True)]))
    await publish(world, spec=spec(arm("a", "Sort at {bank}."), stages=[stage(pattern=True)]))


async def test_weights_change_alone_and_only_of_known_arms(world):
    await publish(world)
    changed = (await set_weights(world, {"a": 0.0})).policy
    assert [(one.arm, one.weight) for one in changed.candidates] == [("a", 0.0), ("b", 3.0)]
    assert changed.version == 2
    for weights, reason in (
        ({"z": 1.0}, "no arm `z`"), ({"b": 0.0}, "no arm is left"), ({"b": -2.0}, "weight -2"),
        ({}, "empty"),
    ):  # fmt: skip
        with pytest.raises(InvalidArgument, match=reason):
            await set_weights(world, weights)
    with pytest.raises(NotFound):
        await set_weights(world, {"a": 1.0}, name="other")
    assert (await get(world)).policy.version == 2


async def test_a_change_of_a_version_that_is_gone_is_refused(world):
    await publish(world, spec=spec(), expected_version=0)
    with pytest.raises(FailedPrecondition) as error:
        await publish(world, spec=spec(arm("a", "Other.")), expected_version=0)
    assert error.value.reason == "POLICY_CHANGED"
    await set_weights(world, {"a": 2.0}, expected_version=1)
    with pytest.raises(FailedPrecondition):
        await set_weights(world, {"a": 3.0}, expected_version=1)


async def test_policies_prompts_and_revisions_survive_a_restart(world):
    await publish(world)
    await publish(world, "gone")
    await delete(world, "gone")
    before = await listed(world)
    await world.stop()
    await world.start()
    after = await listed(world)
    assert [one.policy for one in after.policies] == [one.policy for one in before.policies]
    assert after.revision == before.revision == 3
    assert await candidate(world, after.policies[0].policy.candidates[0].candidate_id)


async def test_a_deleted_policy_is_gone_and_comes_back_with_a_higher_version(world):
    first = (await publish(world)).policy
    await delete(world)
    await delete(world)
    with pytest.raises(NotFound):
        await get(world)
    with pytest.raises(NotFound):
        await candidate(world, first.candidates[0].candidate_id)
    assert (await publish(world)).policy.version == 2


async def test_policies_are_listed_in_pages(world):
    for name in ("c", "a", "b"):
        await publish(world, name)
    first = await listed(world, page_size=2)
    assert [one.policy.name for one in first.policies] == ["policies/a", "policies/b"]
    rest = await listed(world, page_size=2, page_token=first.next_page_token)
    assert [one.policy.name for one in rest.policies] == ["policies/c"]
    assert not rest.next_page_token


async def test_a_watch_gives_a_snapshot_then_each_change_at_once(world):
    await publish(world)
    async with watching(world) as take:
        first = await take()
        assert (first.snapshot, first.revision) == (True, 1)
        assert [one.name for one in first.policies] == ["policies/live"]
        started = time.monotonic()
        await publish(world, "other")
        change = await take()
        assert time.monotonic() - started < policy_servicer.HEARTBEAT_SECONDS / 2
        assert (change.snapshot, change.revision) == (False, 2)
        assert [one.name for one in change.policies] == ["policies/other"]
        await delete(world, "live")
        assert list((await take()).removed) == ["policies/live"]


async def test_a_watch_resumes_behind_a_revision_with_what_was_missed(world):
    for name in ("a", "b", "c"):
        await publish(world, name)
    await delete(world, "b")
    async with watching(world, after=2) as take:
        missed = await take()
    assert not missed.snapshot
    assert [one.name for one in missed.policies] == ["policies/c"]
    assert list(missed.removed) == ["policies/b"]
    async with watching(world, after=99) as take:
        assert (await take()).snapshot


async def test_a_silent_watch_carries_heartbeats(world, monkeypatch):
    monkeypatch.setattr(policy_servicer, "HEARTBEAT_SECONDS", 0.05)
    await publish(world)
    async with watching(world) as take:
        await take()
        beat = await take()
    assert beat == policy_v1.WatchPoliciesResponse(revision=1)


async def test_the_controller_shows_what_each_replica_serves_and_refused(world):
    await publish(world)
    await publish(world, "bad")

    async def report(node, revision, **rejected):
        request = policy_v1.ReportPolicyStatusRequest(
            node_id=node,
            applied_revision=revision,
            rejected={
                f"policies/{name}": types_v1.Failure(reason=reason)
                for name, reason in rejected.items()
            },
        )
        await world.policies.ReportPolicyStatus(request, timeout=10)

    async with watching(world, "node-1") as take:
        await take()
        await report("node-1", 2, bad="PROVIDER_UNKNOWN")
        await report("node-2", 1)
        by_name = {one.policy.name: one.status.replicas for one in (await listed(world)).policies}
        live = by_name["policies/live"]
        assert [(one.node_id, one.connected, one.applied) for one in live] == [
            ("node-1", True, True),
            ("node-2", False, True),
        ]
        bad = by_name["policies/bad"]
        assert [one.applied for one in bad] == [False, False]
        assert bad[0].rejection.reason == "PROVIDER_UNKNOWN"
        assert not bad[1].HasField("rejection")
        assert (await get(world, "bad")).status.replicas == bad


async def test_a_jobs_winner_is_served_as_a_canary_beside_its_baseline(world):
    await world.create(small_job())
    await world.finished()
    result = await world.result()
    arms = policy_v1.JobArms(job="jobs/job1", share=0.25)
    policy = (await publish(world, job_arms=arms)).policy
    assert [(one.arm, one.weight, one.candidate_id) for one in policy.candidates] == [
        ("baseline", 0.75, result.baseline.candidate.candidate_id),
        ("winner", 0.25, result.best.candidate.candidate_id),
    ]
    assert policy.job == "jobs/job1"
    assert [one.model.model for one in policy.stages] == ["fake"]
    prompts = await candidate(world, policy.candidates[1].candidate_id)
    assert prompts.candidate == result.best.candidate
    assert {one.component_id for one in prompts.components} == {
        one_id
        for choice in prompts.candidate.stages.values()
        for one_id in (choice.instruction_id, choice.demo_set_id)
    }


async def test_a_job_without_a_winner_has_nothing_to_serve(world):
    world.program.gate.clear()
    await world.create(small_job())
    with pytest.raises(FailedPrecondition) as error:
        await publish(world, job_arms=policy_v1.JobArms(job="jobs/job1"))
    assert error.value.reason == "JOB_HAS_NO_WINNER"
    with pytest.raises(NotFound):
        await publish(world, job_arms=policy_v1.JobArms(job="jobs/none"))
    with pytest.raises(InvalidArgument):
        await publish(world, job_arms=policy_v1.JobArms(job="jobs/job1", share=1.5))
    world.program.gate.set()


async def test_the_name_of_a_jobs_own_policy_is_taken(world):
    world.program.gate.clear()
    await world.create(small_job())
    with pytest.raises(AlreadyExists):
        await publish(world, "job1")
    world.program.gate.set()


async def test_a_job_cannot_take_the_name_of_an_online_policy(world):
    await publish(world, name="live")
    with pytest.raises(InvalidArgument, match="name of an online policy"):
        await world.create(small_job(), job_id="live")
