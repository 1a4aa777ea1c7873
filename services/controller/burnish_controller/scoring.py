"""Has rollouts scored by the verifier, in batches of whatever finished meanwhile.

What judges cost goes on the job's ledger, in a scope per rollout of its own: a rollout that is
scored again replays the judgements that were paid for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish_controller.context import JobContext
from burnish_controller.ledger.calls import Call, Scope
from burnish_controller.ledger.engine import CallLedger
from burnish_controller.ledger.store import CallStore
from burnish_controller.peers import Peers, patiently
from burnish_controller.store.rollouts import FinishedRollout

MAX_TRIES = 8
SCORE_SECONDS = 900.0
_MAX_BATCH = 256
_REQUESTS_IN_FLIGHT = 16
_FIRST_DELAY = 0.25
_MAX_DELAY = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringOrder:
    """How the rollouts of one job are scored.

    Attributes:
        job_id: Last segment of the job's name.
        graph: Version of the graph; empty when the app's own reward is taken alone.
        weights: How the parts are fused.
        judge_options: What judges are told beyond the graph.
    """

    job_id: str
    graph: str
    weights: types_v1.RewardWeights
    judge_options: verifier_v1.JudgeOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """What became of one rollout.

    Attributes:
        scored: Its reward, or why there is none.
        calls: Calls of judges that it took, those paid for before among them.
    """

    scored: verifier_v1.ScoredRollout
    calls: Sequence[Call]


@dataclass(frozen=True, slots=True)
class _Pending:
    result: types_v1.RolloutResult
    done: asyncio.Future[verifier_v1.ScoredRollout]


def judgement_scope(job_id: str, rollout_id: str) -> str:
    """Returns the scope that the calls of judges on a rollout belong to."""
    return f"judgements/{job_id}/{rollout_id}"


def with_score(rollout: FinishedRollout, scored: verifier_v1.ScoredRollout) -> FinishedRollout:
    """Returns a rollout with its reward; without one, with the reason."""
    if not scored.HasField("failure"):
        return replace(rollout, reward=scored.reward, simulated=scored.simulated)
    result = types_v1.RolloutResult()
    result.CopyFrom(rollout.result)
    result.failure.CopyFrom(scored.failure)
    return replace(rollout, result=result)


async def calls_of(store: CallStore, job: JobContext, ids: Sequence[str]) -> dict[str, list[Call]]:
    """Returns the calls of rollouts that have any, those of their judges among them, by rollout."""
    owners = {rollout_id: rollout_id for rollout_id in ids}
    if job.graph:
        owners |= {judgement_scope(job.job_id, one): one for one in ids}
    found: dict[str, list[Call]] = {}
    for scope_id, calls in (await store.of_scopes(list(owners))).items():
        found.setdefault(owners[scope_id], []).extend(calls)
    return found


class Scorer:
    """Scores the rollouts of one batch of cells as one order says."""

    def __init__(self, peers: Peers, ledger: CallLedger, order: ScoringOrder) -> None:
        self._peers = peers
        self._ledger = ledger
        self._order = order
        self._pending: list[_Pending] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking = 0

    async def score(
        self, result: types_v1.RolloutResult, *, closing: bool, before: bool
    ) -> Scoring:
        """Has one rollout scored, again when the verifier says that a failure may pass.

        Args:
            result: The rollout.
            closing: Whether it belongs to the closing test.
            before: Whether judges may have been paid for it before.
        """
        order = self._order
        if not order.graph:
            return Scoring(scored=await self._patient(result), calls=())
        scope = Scope(
            scope_id=judgement_scope(order.job_id, result.rollout_id),
            job_id=order.job_id,
            closing=closing,
        )
        await self._ledger.open_scope(scope, before=before)
        try:
            scored = await self._patient(result)
        finally:
            self._ledger.close_scope(scope.scope_id)
        return Scoring(scored=scored, calls=tuple(scope.calls.values()))

    async def _patient(self, result: types_v1.RolloutResult) -> verifier_v1.ScoredRollout:
        delay = _FIRST_DELAY
        scored = await self._once(result)
        for _ in range(MAX_TRIES - 1):
            if not (scored.HasField("failure") and scored.failure.retryable):
                break
            await asyncio.sleep(delay)
            delay = min(2 * delay, _MAX_DELAY)
            scored = await self._once(result)
        return scored

    async def _once(self, result: types_v1.RolloutResult) -> verifier_v1.ScoredRollout:
        """Scores a rollout; when many requests are under way, it waits and shares the next."""
        done: asyncio.Future[verifier_v1.ScoredRollout] = asyncio.get_running_loop().create_future()
        self._pending.append(_Pending(result, done))
        # A judge is waited for by whom it judges alone; what takes no time is asked for together.
        if self._asking < (_REQUESTS_IN_FLIGHT if self._order.graph else 1):
            self._asking += 1
            task = asyncio.create_task(self._drain())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await done

    async def _drain(self) -> None:
        try:
            while self._pending:
                batch, self._pending = self._pending[:_MAX_BATCH], self._pending[_MAX_BATCH:]
                await self._settle(batch)
        finally:
            # At once, not when the task is cleared away: what comes between would never be asked.
            self._asking -= 1

    async def _settle(self, batch: Sequence[_Pending]) -> None:
        try:
            scored = await self._ask([pending.result for pending in batch])
        except Exception as error:  # a boundary: each waiter gets the error
            for pending in batch:
                _tell(pending.done, error)
            return
        for pending, one in zip(batch, scored, strict=True):
            _tell(pending.done, one)

    async def _ask(
        self, results: Sequence[types_v1.RolloutResult]
    ) -> Sequence[verifier_v1.ScoredRollout]:
        order = self._order
        request = verifier_v1.ScoreRolloutsRequest(
            job=f"jobs/{order.job_id}",
            verifier_graph=order.graph,
            rollouts=results,
            weights=order.weights,
            judge_options=order.judge_options,
        )
        response = await patiently(
            lambda: self._peers.verifier.ScoreRollouts(request, timeout=SCORE_SECONDS)
        )
        return response.scored_rollouts


def _tell(
    done: asyncio.Future[verifier_v1.ScoredRollout], found: verifier_v1.ScoredRollout | Exception
) -> None:
    """Gives a waiter what it waits for, unless it has gone away meanwhile."""
    if done.done():
        return
    if isinstance(found, Exception):
        done.set_exception(found)
    else:
        done.set_result(found)
