"""Reads policies from the controller's PolicyService."""

from __future__ import annotations

from collections.abc import AsyncIterator

from grpc import aio

from burnish import rpc
from burnish.api.policy.v1.policy_service_pb2_grpc import PolicyServiceStub
from burnish_interceptor import convert
from burnish_interceptor.policies.policy import Change, Policy, Prompts

# Long enough for a controller that restarts, short enough for an app's own timeout.
_FETCH_SECONDS = 8.0


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
        """Yields changes of the online policies until the stream breaks."""
        request = convert.watch_request(self._node_id, after_revision)
        async with rpc.translated():
            async for response in self._stub.WatchPolicies(request):
                yield convert.change(response)
