"""Policies and prompts as the data plane needs them: fetched on a miss, once for all who wait.

A candidate never changes and is kept; so is an offline policy, but for one that is still learning
its baseline, which is fetched again after a second. Online policies are watched: a change goes live
once its prompts are here, so that a call never waits for it, and one that cannot be served leaves
the last good version in force. Without the controller everything known goes on being served.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from typing import Generic, Protocol, TypeVar

import structlog

from burnish.errors import BurnishError, Internal, InvalidArgument, NotFound
from burnish_interceptor.policies.acceptance import ModelCheck, rejection_of
from burnish_interceptor.policies.policy import Change, Policy, Prompts, Rejection

_log = structlog.get_logger("burnish.interceptor.policies")
# How long a policy is taken for current that may change and is not watched.
_FRESH_SECONDS = 1.0
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

    async def report(self, revision: int, rejected: Mapping[str, Rejection]) -> None:
        """Tells what is served.

        Raises:
            BurnishError: Nobody heard it.
        """


class PolicyCache:
    """Everything an interceptor knows of policies.

    Attributes:
        rejected: Online policies whose last change cannot be served, by id.
        revision: Revision of the online policies that are served.
        watching: Whether their changes arrive.
    """

    def __init__(
        self,
        source: PolicySource,
        *,
        clock: Callable[[], float],
        check: ModelCheck | None = None,
    ) -> None:
        """Starts empty.

        Args:
            source: Where policies come from.
            clock: Monotonic seconds.
            check: Says whether a model of an online policy can be called from here.
        """
        self._source = source
        self._clock = clock
        self._check = check
        self._policies: _Coalesced[str, Policy] = _Coalesced(_MAX_POLICIES)
        self._candidates: _Coalesced[tuple[str, str], Prompts] = _Coalesced(_MAX_CANDIDATES)
        self._online: dict[str, Policy] = {}
        # Prompts of online arms stay, however many candidates of jobs come and go.
        self._served: dict[tuple[str, str], Prompts] = {}
        self._fetched: OrderedDict[str, float] = OrderedDict()
        self._tasks: list[asyncio.Task[None]] = []
        self._to_report = asyncio.Event()
        self.rejected: dict[str, Rejection] = {}
        self.revision = 0
        self.watching = False

    def known(self, policy_id: str) -> Policy | None:
        """Returns a policy that is here and cannot have changed, without waiting."""
        online = self._online.get(policy_id)
        if online is not None:
            return online
        known = self._policies.known(policy_id)
        return known if known is not None and not _may_change(known) else None

    def known_prompts(self, policy_id: str, candidate_id: str) -> Prompts | None:
        """Returns a candidate's prompts when they are here, without waiting."""
        key = (policy_id, candidate_id)
        served = self._served.get(key)
        return served if served is not None else self._candidates.known(key)

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
        if known is None:
            return await self._fetch(policy_id)
        if not _may_change(known):
            return known
        age = self._clock() - self._fetched.get(policy_id, 0.0)
        if age <= _FRESH_SECONDS and not (learnt and known.learning_baseline):
            return known
        try:
            return await self._fetch(policy_id)
        except NotFound:
            self._policies.forget(policy_id)
            raise
        except BurnishError:
            if known.learning_baseline:
                raise
            # What is known goes on being served, and is not asked for again before a while.
            self._fetched[policy_id] = self._clock()
            return known

    async def candidate(self, policy_id: str, candidate_id: str) -> Prompts:
        """Returns a candidate's prompts.

        Raises:
            BurnishError: It is unknown, or unknown here while the controller is away.
        """
        key = (policy_id, candidate_id)
        served = self._served.get(key)
        if served is not None:
            return served
        return await self._candidates.get(
            key, lambda: self._source.candidate(policy_id, candidate_id)
        )

    def start(self) -> None:
        """Starts to watch the online policies, and to report what is served."""
        self._tasks = [
            asyncio.create_task(self._follow(), name="watch-policies"),
            asyncio.create_task(self._report(), name="report-policies"),
        ]

    async def stop(self) -> None:
        """Ends the watch."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def take(self, change: Change) -> None:
        """Takes a change of the online policies over: what can be served goes live at once.

        Raises:
            BurnishError: The controller went away before the prompts were here; nothing changed.
        """
        rejected = dict(change.unread)
        accepted = {}
        for policy in change.policies:
            rejection = await self._rejection(policy)
            if rejection is None:
                accepted[policy.policy_id] = policy
            else:
                rejected[policy.policy_id] = rejection
        if change.snapshot:
            # A refused change leaves the last good version.
            kept = {name: self._online[name] for name in rejected if name in self._online}
            self._online = {**kept, **accepted}
            self.rejected = rejected
        else:
            self._online.update(accepted)
            for policy_id in (*change.removed, *accepted):
                self.rejected.pop(policy_id, None)
            self.rejected.update(rejected)
        for policy_id in change.removed:
            self._online.pop(policy_id, None)
            self._policies.forget(policy_id)
        self._served = {
            key: prompts
            for policy in self._online.values()
            for arm in policy.arms
            if (prompts := self.known_prompts(*(key := (policy.policy_id, arm.candidate_id))))
            is not None
        }
        for policy_id, rejection in rejected.items():
            _log.error("policy_refused", policy=policy_id, reason=rejection.reason)
        self.revision = change.revision

    async def _rejection(self, policy: Policy) -> Rejection | None:
        rejection = rejection_of(policy, check=self._check)
        if rejection is not None:
            return rejection
        fetches = [
            self.candidate(policy.policy_id, arm.candidate_id)
            for arm in policy.arms
            if arm.weight > 0
        ]
        for found in await asyncio.gather(*fetches, return_exceptions=True):
            if isinstance(found, NotFound | Internal | InvalidArgument):
                return Rejection(reason=found.reason, message=found.message)
            if isinstance(found, BurnishError | asyncio.CancelledError):
                raise found
            if isinstance(found, BaseException):
                # A fault of ours, but of this policy alone: the others are taken over.
                _log.error("candidate_unread", policy=policy.policy_id, exc_info=found)
                return Rejection(reason="CANDIDATE_UNREAD", message="a candidate cannot be read")
        return None

    async def _fetch(self, policy_id: str) -> Policy:
        policy = await self._policies.anew(policy_id, lambda: self._source.policy(policy_id))
        if _may_change(policy):
            self._fetched[policy_id] = self._clock()
            if len(self._fetched) > _MAX_POLICIES:
                self._fetched.popitem(last=False)
        return policy

    async def _follow(self) -> None:
        wait, longest = _RECONNECT_SECONDS
        while True:
            try:
                async for change in self._source.watch(self.revision):
                    await self.take(change)
                    self.watching = True
                    self._to_report.set()
                    wait = _RECONNECT_SECONDS[0]
                _log.info("watch_ended")
            except BurnishError as error:
                _log.info("watch_broken", reason=error.reason)
            except Exception:
                # Without a watch all that is served grows old, so that nothing may end it.
                _log.exception("watch_broken")
            self.watching = False
            await asyncio.sleep(wait)
            wait = min(wait * 2, longest)

    async def _report(self) -> None:
        """Reports the last state; what was not heard is told again after the next heartbeat."""
        while True:
            await self._to_report.wait()
            self._to_report.clear()
            try:
                await self._source.report(self.revision, dict(self.rejected))
            except BurnishError as error:
                _log.info("report_unheard", reason=error.reason)
            except Exception:
                _log.exception("report_unheard")


def _may_change(policy: Policy) -> bool:
    return policy.learning_baseline or not policy.synchronous


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
        return await self.anew(key, fetch)

    async def anew(self, key: _K, fetch: Callable[[], Awaitable[_V]]) -> _V:
        """Fetches a value whether one is known or not; the known one stays until then."""
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
