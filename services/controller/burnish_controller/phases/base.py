"""What every phase works with, and the small steps that they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import FailedPrecondition
from burnish.tradeoffs import TOKENS
from burnish.verdicts import Interval, mean_interval
from burnish_controller.context import JobContext
from burnish_controller.dispatch import Batch, Dispatcher
from burnish_controller.ledger.engine import CallLedger
from burnish_controller.ledger.store import CallStore
from burnish_controller.peers import Peers
from burnish_controller.progress import ProgressReporter
from burnish_controller.states import JobStates
from burnish_controller.store.events import EventLog
from burnish_controller.store.jobs import JobStore
from burnish_controller.store.rollouts import FinishedRollout, RolloutStore
from burnish_controller.store.space import SpaceStore
from burnish_controller.store.study_log import StudyLog
from burnish_controller.study import StudySession

CHUNK = 64


class NothingScored(FailedPrecondition):
    """Not one rollout of a batch got a reward; the job cannot go on."""

    default_reason = "NOTHING_SCORED"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseServices:
    """What the phases work with."""

    jobs: JobStore
    states: JobStates
    events: EventLog
    space: SpaceStore
    log: StudyLog
    rollouts: RolloutStore
    calls: CallStore
    ledger: CallLedger
    dispatcher: Dispatcher
    peers: Peers
    progress: ProgressReporter

    def session(self, job: JobContext) -> StudySession:
        """Returns the session of a job's study."""
        return StudySession(self.peers, self.log, job.job_id, job.study)


def cells(
    candidate_id: str, pool: types_v1.Pool.ValueType, seeds: Sequence[int]
) -> list[types_v1.Cell]:
    """Returns one cell per seed."""
    return [types_v1.Cell(candidate_id=candidate_id, pool=pool, seed=seed) for seed in seeds]


def chunks(batch: Batch) -> list[Batch]:
    """Cuts a batch into parts of a fixed size, which never depends on concurrency."""
    return [
        Batch(phase=batch.phase, cells=batch.cells[start : start + CHUNK], closing=batch.closing)
        for start in range(0, len(batch.cells), CHUNK)
    ]


def observation(rollout: FinishedRollout) -> types_v1.Observation:
    """Returns what a finished rollout measured; a failure is a missing measurement."""
    found = types_v1.Observation(cell=rollout.result.cell)
    if rollout.fused is None:
        found.failure.CopyFrom(rollout.result.failure)
    else:
        found.reward = rollout.fused
    if rollout.cost_usd is not None:
        found.cost_usd = rollout.cost_usd
    if rollout.tokens is not None:
        found.objectives[TOKENS] = rollout.tokens
    return found


def estimate(rollouts: Sequence[FinishedRollout]) -> types_v1.Estimate | None:
    """Returns the mean reward of the scored ones among some rollouts; None when there are none."""
    return message_of(mean_interval([one.fused for one in rollouts if one.fused is not None]))


def scores(rollouts: Sequence[FinishedRollout]) -> dict[int, float]:
    """Returns the reward of each scored row by seed."""
    return {one.result.cell.seed: one.fused for one in rollouts if one.fused is not None}


def message_of(interval: Interval | None) -> types_v1.Estimate | None:
    """Returns an interval as the contract has it."""
    if interval is None:
        return None
    return types_v1.Estimate(
        mean=interval.mean,
        row_count=interval.count,
        lower=interval.lower,
        upper=interval.upper,
        confidence=interval.confidence,
    )


def require_scored(rollouts: Sequence[FinishedRollout], *, what: str) -> None:
    """Fails the job when nothing was scored, with the reason met most often.

    Raises:
        NothingScored: Not one rollout has a reward.
    """
    if not rollouts or any(one.fused is not None for one in rollouts):
        return
    reasons = Counter(one.result.failure.reason for one in rollouts)
    reason, count = reasons.most_common(1)[0]
    message = next(
        one.result.failure.message for one in rollouts if one.result.failure.reason == reason
    )
    raise NothingScored(
        f"{what}: none of {len(rollouts)} rollouts got a reward;"
        f" {count} failed with {reason}: {message}",
        metadata={"reason": reason, "count": str(count)},
    )


async def report_unscored(
    services: PhaseServices, job: JobContext, key: str, rollouts: Sequence[FinishedRollout]
) -> None:
    """Logs rollouts without a reward, by reason; nothing is logged when there are none."""
    reasons = Counter(one.result.failure.reason for one in rollouts if one.fused is None)
    if not reasons:
        return
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    await services.events.append(
        job.job_id,
        f"unscored/{key}",
        job_v1.JobEvent(
            level=job_v1.EVENT_LEVEL_WARNING,
            message=f"{sum(reasons.values())} rollouts could not be scored: {listed}",
            rollouts_unscored=job_v1.RolloutsUnscored(
                count_by_reason=dict(reasons), phase=job.job.phase
            ),
        ),
    )
