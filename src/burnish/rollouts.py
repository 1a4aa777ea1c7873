"""A job's finished rollouts, each with the parts of its reward, as typed values."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from burnish import rpc
from burnish.api.job.v1 import job_service_pb2, rollout_record_pb2
from burnish.api.job.v1.job_service_pb2_grpc import JobServiceStub
from burnish.api.types.v1 import rollout_pb2
from burnish.jobs import job_name
from burnish.namespace import Namespace
from burnish.plain import Plain, enum_name, to_plain
from burnish.results import weights

_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutScore:
    """A finished rollout and what it was worth.

    Attributes:
        rollout_id: Unique id.
        phase: `baseline`, `bootstrap`, `search` or `test`.
        candidate_id: Candidate that it ran.
        pool: Pool of its seed.
        seed: Index into the app's data.
        reward: The fused reward, in [0, 1]; None when it was not scored.
        parts: The parts that it was fused of, by `environment`, `event` and `outcome`.
        weights: Weight of each part; empty when it was not scored.
        criteria: Named sub-scores, such as checks or the criteria of a rubric.
        feedback: Why, in prose.
        verifier_graph: Version of the graph that scored; empty without one.
        simulated: Whether a simulated judge had a part in it.
        failure: Why there is no reward, as (reason, message); None when there is one.
        environment_reward: The app's own reward, also when the rollout was not scored.
        cost_usd: Cost of the program's calls; None when a price is unknown.
        plain: Everything, as plain JSON values.
    """

    rollout_id: str
    phase: str
    candidate_id: str
    pool: str
    seed: int
    reward: float | None
    parts: Mapping[str, float]
    weights: Mapping[str, float]
    criteria: Mapping[str, float]
    feedback: str
    verifier_graph: str
    simulated: bool
    failure: tuple[str, str] | None
    environment_reward: float | None
    cost_usd: float | None
    plain: Plain


class AsyncRollouts(Namespace):
    """The finished rollouts of a controller's jobs."""

    async def of_job(
        self, job: str, *, phase: str = "", candidate_id: str = ""
    ) -> AsyncGenerator[RolloutScore, None]:
        """Yields a job's finished rollouts in order of id.

        Args:
            job: Name or id of the job.
            phase: Only of `baseline`, `bootstrap`, `search` or `test`; empty for every one.
            candidate_id: Only of this candidate; empty for every one.

        Raises:
            NotFound: There is no such job.
        """
        request = job_service_pb2.ListRolloutsRequest(
            job=job_name(job), page_size=_PAGE, phase=phase, candidate_id=candidate_id
        )
        stub = JobServiceStub(self._channel())
        while True:
            async with rpc.translated():
                response = await stub.ListRollouts(request, timeout=self._timeout)
            for record in response.rollouts:
                yield rollout_score(record)
            request.page_token = response.next_page_token
            if not request.page_token:
                return


def rollout_score(record: rollout_record_pb2.RolloutRecord) -> RolloutScore:
    """Returns a rollout as a typed value."""
    scored = record.HasField("reward")
    failure = record.failure
    own = record.environment_reward if record.HasField("environment_reward") else None
    return RolloutScore(
        rollout_id=record.rollout_id,
        phase=record.phase,
        candidate_id=record.cell.candidate_id,
        pool=enum_name(rollout_pb2.Pool.DESCRIPTOR, record.cell.pool),
        seed=record.cell.seed,
        reward=record.reward.fused if scored else None,
        parts=reward_parts(record.reward),
        weights=weights(record.weights),
        criteria=dict(sorted(record.reward.criteria.items())),
        feedback=record.reward.feedback,
        verifier_graph=record.verifier_graph,
        simulated=record.simulated,
        failure=(failure.reason, failure.message) if record.HasField("failure") else None,
        environment_reward=own,
        cost_usd=record.cost_usd if record.HasField("cost_usd") else None,
        plain=to_plain(record),
    )


def reward_parts(reward: rollout_pb2.Reward) -> dict[str, float]:
    """Returns the parts of a reward that are there, by name."""
    given = {
        "environment": reward.environment if reward.HasField("environment") else None,
        "event": reward.event if reward.HasField("event") else None,
        "outcome": reward.outcome if reward.HasField("outcome") else None,
    }
    return {name: value for name, value in given.items() if value is not None}
