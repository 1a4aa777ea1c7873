"""Reads policies from the controller's PolicyService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from grpc import aio

from burnish import rpc
from burnish.api.policy.v1.policy_service_pb2_grpc import PolicyServiceStub
from burnish.errors import Unavailable
from burnish_interceptor import convert
from burnish_interceptor.policies.policy import Change, Policy, Prompts, Rejection

# Long enough for a controller that restarts, short enough for an app's own timeout.
_FETCH_SECONDS = 8.0
_REPORT_SECONDS = 5.0
# The controller says something every 10 s; after three that are missing it is gone.
_SILENCE_SECONDS = 35.0


class WatchSilent(Unavailable):
    """The stream of changes is open, and nothing comes."""

    default_reason = "WATCH_SILENT"


class PolicyClient:
    """The policy source over gRPC; its errors are those of `burnish.errors`."""

    def __init__(self, channel: aio.Channel, *, node_id: str) -> None:
        """Takes a channel to the controller, which stays the caller's to close."""
        self._stub = PolicyServiceStub(channel)
        self._node_id = node_id

    async def policy(self, policy_id: str) -> Policy:
        """Fetches a policy."""
        request = convert.policy_request(policy_id)
        async with rpc.translated():
            response = await self._stub.GetPolicy(
                request, timeout=_FETCH_SECONDS, wait_for_ready=True
            )
        return convert.policy(response.policy)

    async def candidate(self, policy_id: str, candidate_id: str) -> Prompts:
        """Fetches a candidate's prompts."""
        request = convert.candidate_request(policy_id, candidate_id)
        async with rpc.translated():
            response = await self._stub.GetCandidate(
                request, timeout=_FETCH_SECONDS, wait_for_ready=True
            )
        return convert.prompts(response.prompts)

    async def watch(self, after_revision: int) -> AsyncIterator[Change]:
        """Yields changes of the online policies, heartbeats too, until the stream breaks.

        Raises:
            BurnishError: It broke, or was silent for too long.
        """
        request = convert.watch_request(self._node_id, after_revision)
        call = self._stub.WatchPolicies(request)
        try:
            async with rpc.translated():
                responses = aiter(call)
                while True:
                    try:
                        async with asyncio.timeout(_SILENCE_SECONDS):
                            response = await anext(responses)
                    except StopAsyncIteration:
                        return
                    except TimeoutError:
                        raise WatchSilent(
                            f"the controller said nothing for {_SILENCE_SECONDS:g} s"
                        ) from None
                    yield convert.change(response)
        finally:
            call.cancel()

    async def report(self, revision: int, rejected: Mapping[str, Rejection]) -> None:
        """Tells which revision is served, and which policies are not and why."""
        request = convert.report_request(self._node_id, revision, rejected)
        async with rpc.translated():
            await self._stub.ReportPolicyStatus(request, timeout=_REPORT_SECONDS)
