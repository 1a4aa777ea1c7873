"""Policies and prompts as the data plane needs them: fetched on a miss, once for all who wait.

A candidate never changes and is kept; so is an offline policy, but for one that is still learning
its baseline, which is fetched again after a second. Online policies are watched.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Generic, Protocol, TypeVar

import structlog

from burnish.errors import BurnishError
from burnish_interceptor.policies.policy import Change, Policy, Prompts

_log = structlog.get_logger("burnish.interceptor.policies")
_LEARNING_SECONDS = 1.0
_MAX_POLICIES = 10_000
_MAX_CANDIDATES = 20_000
_RECONNECT_SECONDS = (0.2, 5.0)

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class PolicySource(Protocol):
    """Where policies come from."""

    async def policy(self, policy_id: str) -> Policy:
        """Fetches a policy.

        Raises:
            BurnishError: `NotFound`, `Unavailable` and others.
        """

    async def candidate(self, policy_id: str, candidate_id: str) -> Prompts:
        """Fetches a candidate's prompts.

        Raises:
            BurnishError: `NotFound`, `Unavailable` and others.
        """

    def watch(self, after_revision: int) -> AsyncIterator[Change]:
        """Yields changes of the online policies until the stream breaks.

        Raises:
            BurnishError: It broke.
        """


class PolicyCache:
    """Everything an interceptor knows of policies."""

    def __init__(self, source: PolicySource, *, clock: Callable[[], float]) -> None:
        """Starts empty.

        Args:
            source: Where policies come from.
            clock: Monotonic seconds.
        """
        self._source = source
        self._clock = clock
        self._policies: _Coalesced[str, Policy] = _Coalesced(_MAX_POLICIES)
        self._candidates: _Coalesced[tuple[str, str], Prompts] = _Coalesced(_MAX_CANDIDATES)
        self._online: dict[str, Policy] = {}
        self._fetched: OrderedDict[str, float] = OrderedDict()
        self._watch: asyncio.Task[None] | None = None
        self.revision = 0

    async def policy(self, policy_id: str, *, learnt: bool = False) -> Policy:
        """Returns a policy.

        Args:
            policy_id: Last segment of its name.
            learnt: Whether the caller knows that its baseline has been learnt by now.

        Raises:
            BurnishError: It is unknown, or unknown here while the controller is away.
        """
        online = self._online.get(policy_id)
        if online is not None:
            return online
        known = self._policies.known(policy_id)
        if known is not None and known.learning_baseline:
            age = self._clock() - self._fetched.get(policy_id, 0.0)
            if learnt or age > _LEARNING_SECONDS:
                self._policies.forget(policy_id)
                known = None
        return known if known is not None else await self._fetch(policy_id)

    async def candidate(self, policy_id: str, candidate_id: str) -> Prompts:
        """Returns a candidate's prompts.

        Raises:
            BurnishError: It is unknown, or unknown here while the controller is away.
        """
        return await self._candidates.get(
            (policy_id, candidate_id), lambda: self._source.candidate(policy_id, candidate_id)
        )

    def start(self) -> None:
        """Starts to watch the online policies."""
        self._watch = asyncio.create_task(self._follow(), name="watch-policies")

    async def stop(self) -> None:
        """Ends the watch."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])

    def apply(self, change: Change) -> None:
        """Applies a change of the online policies."""
        if change.snapshot:
            self._online.clear()
        self._online.update({policy.policy_id: policy for policy in change.policies})
        for policy_id in change.removed:
            self._online.pop(policy_id, None)
        self.revision = change.revision

    async def _fetch(self, policy_id: str) -> Policy:
        policy = await self._policies.get(policy_id, lambda: self._source.policy(policy_id))
        if policy.learning_baseline:
            self._fetched[policy_id] = self._clock()
            if len(self._fetched) > _MAX_POLICIES:
                self._fetched.popitem(last=False)
        return policy

    async def _follow(self) -> None:
        wait, longest = _RECONNECT_SECONDS
        while True:
            try:
                async for change in self._source.watch(self.revision):
                    self.apply(change)
                    wait = _RECONNECT_SECONDS[0]
                _log.info("watch_ended")
            except BurnishError as error:
                _log.info("watch_broken", reason=error.reason)
            await asyncio.sleep(wait)
            wait = min(wait * 2, longest)


class _Coalesced(Generic[_K, _V]):
    """A bounded cache in which one fetch serves all who ask for the same key meanwhile."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[_K, _V] = OrderedDict()
        self._fetches: dict[_K, asyncio.Task[_V]] = {}

    def known(self, key: _K) -> _V | None:
        return self._values.get(key)

    def forget(self, key: _K) -> None:
        self._values.pop(key, None)

    async def get(self, key: _K, fetch: Callable[[], Awaitable[_V]]) -> _V:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
            return value
        task = self._fetches.get(key)
        if task is None:
            task = asyncio.ensure_future(self._load(key, fetch))
            self._fetches[key] = task
            task.add_done_callback(lambda done: self._fetched(key, done))
        return await asyncio.shield(task)

    async def _load(self, key: _K, fetch: Callable[[], Awaitable[_V]]) -> _V:
        value = await fetch()
        self._values[key] = value
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return value

    def _fetched(self, key: _K, task: asyncio.Task[_V]) -> None:
        self._fetches.pop(key, None)
        if not task.cancelled():
            task.exception()  # Seen here too, so that one nobody waited for is not reported.
