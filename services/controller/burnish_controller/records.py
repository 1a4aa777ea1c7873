"""Finished rollouts as clients see them: what was measured, out of which parts, by which graph."""

from __future__ import annotations

from burnish.api.job import v1 as job_v1
from burnish.resources import JobName
from burnish_controller.store.jobs import JobStore
from burnish_controller.store.rollouts import FinishedRollout, RolloutPage, RolloutStore

_PAGE = 50
_MAX_PAGE = 500


async def list_rollouts(
    jobs: JobStore, rollouts: RolloutStore, request: job_v1.ListRolloutsRequest
) -> job_v1.ListRolloutsResponse:
    """Returns a page of a job's rollouts.

    Raises:
        JobNotFound: There is no such job.
    """
    job_id = JobName.parse(request.job).id
    await jobs.get(job_id)
    size = min(request.page_size if request.page_size > 0 else _PAGE, _MAX_PAGE)
    wanted = RolloutPage(
        count=size + 1,
        after=request.page_token,
        phase=request.phase,
        candidate_id=request.candidate_id,
    )
    found = await rollouts.page(job_id, wanted)
    response = job_v1.ListRolloutsResponse(rollouts=[record(one) for one in found[:size]])
    if len(found) > size:
        response.next_page_token = found[size - 1].result.rollout_id
    return response


def record(rollout: FinishedRollout) -> job_v1.RolloutRecord:
    """Returns a finished rollout as the contract has it."""
    result = rollout.result
    found = job_v1.RolloutRecord(
        rollout_id=result.rollout_id,
        cell=result.cell,
        phase=rollout.phase,
        attempt=rollout.attempt,
        reward=rollout.reward,
        weights=rollout.weights if rollout.reward is not None else None,
        verifier_graph=rollout.graph,
        failure=result.failure if result.HasField("failure") else None,
        output=result.output,
        reference=result.reference,
        cost_usd=rollout.cost_usd,
        simulated=rollout.simulated,
    )
    if result.HasField("environment_reward"):
        found.environment_reward = result.environment_reward
    found.end_time.FromNanoseconds(int(rollout.end_time * 1e9))
    return found
