"""Writes traces of online calls to the controller's TraceService."""

from __future__ import annotations

from grpc import aio

from burnish import rpc
from burnish.api.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from burnish_interceptor import convert_trace
from burnish_interceptor.trace_batch import TraceBatch

_WRITE_SECONDS = 10.0


class TraceClient:
    """The trace sink over gRPC; its errors are those of `burnish.errors`."""

    def __init__(self, channel: aio.Channel, *, node_id: str) -> None:
        """Takes a channel to the controller, which stays the caller's to close.

        Args:
            channel: Channel to the controller.
            node_id: Stable id of the replica.
        """
        self._stub = TraceServiceStub(channel)
        self._node_id = node_id

    async def write(self, batch: TraceBatch, *, dropped: int) -> int:
        """Stores a batch; durable on return. Returns how many calls were refused for good."""
        request = convert_trace.traces_request(self._node_id, batch, dropped=dropped)
        async with rpc.translated():
            response = await self._stub.WriteTraces(
                request, timeout=_WRITE_SECONDS, wait_for_ready=True
            )
        return len(response.rejected)
