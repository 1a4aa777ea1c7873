"""Has rollouts scored by the verifier, in batches of whatever finished meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish_controller.peers import CALL_SECONDS, Peers, patiently

_MAX_BATCH = 256


@dataclass(frozen=True, slots=True)
class _Pending:
    result: types_v1.RolloutResult
    done: asyncio.Future[verifier_v1.ScoredRollout]


class Scorer:
    """Scores the rollouts of one batch of cells under one graph and one set of weights."""

    def __init__(
        self, peers: Peers, *, job: str, graph: str, weights: types_v1.RewardWeights
    ) -> None:
        self._peers = peers
        self._job = job
        self._graph = graph
        self._weights = weights
        self._pending: list[_Pending] = []
        self._task: asyncio.Task[None] | None = None

    async def score(self, result: types_v1.RolloutResult) -> verifier_v1.ScoredRollout:
        """Returns the reward of one rollout, or why there is none.

        While one request is under way, what finishes waits for the next and shares it.
        """
        done: asyncio.Future[verifier_v1.ScoredRollout] = asyncio.get_running_loop().create_future()
        self._pending.append(_Pending(result, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await done

    async def _drain(self) -> None:
        while self._pending:
            batch, self._pending = self._pending[:_MAX_BATCH], self._pending[_MAX_BATCH:]
            request = verifier_v1.ScoreRolloutsRequest(
                job=self._job,
                verifier_graph=self._graph,
                rollouts=[pending.result for pending in batch],
                weights=self._weights,
            )
            try:
                response = await patiently(
                    lambda request=request: self._peers.verifier.ScoreRollouts(  # type: ignore[misc]
                        request, timeout=CALL_SECONDS
                    )
                )
            except Exception as error:  # a boundary: each waiter gets the error
                for pending in batch:
                    pending.done.set_exception(error)
                continue
            for pending, scored in zip(batch, response.scored_rollouts, strict=True):
                pending.done.set_result(scored)
