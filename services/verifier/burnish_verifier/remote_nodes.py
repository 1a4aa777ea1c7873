"""Calls `VerifierNodeService` of nodes served elsewhere, over a channel for each target."""

from __future__ import annotations

from grpc import aio

from burnish import rpc
from burnish.api.verifier import v1 as verifier_v1
from burnish_verifier.convert import remote_request, remote_result
from burnish_verifier.fuse import Failed
from burnish_verifier.nodes.base import NodeResult, NodeTask
from burnish_verifier.steps import RemoteNode

_MOST_TRACE_BYTES = 4 * 1024 * 1024


class GrpcRemoteCaller:
    """Asks remote nodes over gRPC. They are never shown the token of the suite."""

    def __init__(self, *, token: str | None, max_message_bytes: int) -> None:
        """Opens nothing yet.

        Args:
            token: Bearer token that nodes are shown; None shows none.
            max_message_bytes: Largest message, in both directions.
        """
        self._token = token
        # Each try is one call, so that the graph's number of tries holds.
        self._options = rpc.ChannelOptions(max_message_bytes=max_message_bytes, max_attempts=1)
        self._stubs: dict[str, tuple[aio.Channel, verifier_v1.VerifierNodeServiceStub]] = {}

    async def call(self, task: NodeTask, step: RemoteNode, *, final: str) -> NodeResult | Failed:
        """Asks a node once, within the node's deadline.

        Raises:
            BurnishError: It did not answer.
        """
        stub = self._stub(step.target)
        request = remote_request(task, final_message=final, most_trace_bytes=_MOST_TRACE_BYTES)
        async with rpc.translated():
            response = await stub.EvaluateNode(request, timeout=step.timeout)
        return remote_result(response)

    async def close(self) -> None:
        """Closes every channel."""
        opened, self._stubs = list(self._stubs.values()), {}
        for channel, _ in opened:
            await channel.close()

    def _stub(self, target: str) -> verifier_v1.VerifierNodeServiceStub:
        if target not in self._stubs:
            channel = rpc.connect(target, token=self._token, options=self._options)
            stub = verifier_v1.VerifierNodeServiceStub(channel)
            self._stubs[target] = (channel, stub)
        return self._stubs[target][1]
