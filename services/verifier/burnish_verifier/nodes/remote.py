"""Nodes served elsewhere: asked within a deadline, again when that may help, unscored else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

from burnish.errors import BurnishError
from burnish_verifier.evaluate import failed_by
from burnish_verifier.fuse import Failed
from burnish_verifier.nodes.base import NodeResult, NodeTask
from burnish_verifier.steps import RemoteNode
from burnish_verifier.traces import final_message

_FIRST_WAIT = 0.2
_LONGEST_WAIT = 5.0


class RemoteCaller(Protocol):
    """Asks a remote node once."""

    async def call(self, task: NodeTask, step: RemoteNode, *, final: str) -> NodeResult | Failed:
        """Returns what the node answered.

        Raises:
            BurnishError: It did not answer; `retryable` says whether it may later.
        """

    async def close(self) -> None:
        """Closes connections."""


class RemoteEvaluator:
    """Evaluates nodes that are served elsewhere."""

    def __init__(
        self,
        caller: RemoteCaller,
        *,
        refusal: Callable[[str], str],
        random: random.Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Takes how nodes are asked.

        Args:
            caller: Asks once.
            refusal: Why a target is not asked; empty for one that is.
            random: Spreads the waits between tries.
            sleep: Waits some seconds.
        """
        self._caller = caller
        self._refusal = refusal
        self._random = random
        self._sleep = sleep

    async def evaluate(self, task: NodeTask) -> NodeResult | Failed:
        """Asks the node about one rollout, again when the failure may pass."""
        step = task.node.step
        if not isinstance(step, RemoteNode):
            raise TypeError(f"node {task.node.node_id} is not served elsewhere")
        refusal = self._refusal(step.target)
        if refusal:
            return Failed(
                reason="REMOTE_NODE_REFUSED",
                message=f"node `{task.node.node_id}`: {refusal}",
                metadata={"node": task.node.node_id},
            )
        final = ""
        if task.node.scope == "final":
            try:
                final = final_message(task.evidence.session_trace) or ""
            except BurnishError as error:
                return failed_by(error)
        found = await self._once(task, step, final)
        wait = _FIRST_WAIT
        for _ in range(step.attempts - 1):
            if not (isinstance(found, Failed) and found.retryable):
                break
            await self._sleep(wait * self._random.uniform(0.5, 1.5))
            wait = min(2 * wait, _LONGEST_WAIT)
            found = await self._once(task, step, final)
        return found

    async def close(self) -> None:
        """Closes connections."""
        await self._caller.close()

    async def _once(self, task: NodeTask, step: RemoteNode, final: str) -> NodeResult | Failed:
        try:
            return await self._caller.call(task, step, final=final)
        except BurnishError as error:
            node = task.node.node_id
            return Failed(
                reason="REMOTE_NODE_FAILED",
                message=f"node `{node}`: {step.target} answered {error.reason}: {error.message}",
                retryable=error.retryable or error.reason == "DEADLINE_EXCEEDED",
                metadata={"node": node, "target": step.target, "reason": error.reason},
            )
