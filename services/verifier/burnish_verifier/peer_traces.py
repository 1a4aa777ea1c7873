"""Gets traces of rollouts from the controller's `TraceService`."""

from __future__ import annotations

from grpc import aio

from burnish import rpc
from burnish.api.trace import v1 as trace_v1
from burnish.errors import NotFound
from burnish_verifier.traces import TraceUnusable

_SECONDS = 30.0


class ControllerTraces:
    """The traces that the controller keeps."""

    def __init__(self, channel: aio.Channel) -> None:
        self._stub = trace_v1.TraceServiceStub(channel)

    async def trace(self, rollout_id: str) -> bytes:
        """Returns the session trace of a rollout, in the app's view: nothing of a candidate.

        Raises:
            TraceUnusable: The rollout has none.
            Unavailable: The controller cannot be asked now.
        """
        request = trace_v1.GetSessionTraceRequest(
            rollout_id=rollout_id,
            form=trace_v1.TRACE_FORM_COMPACT,
            view=trace_v1.TRACE_VIEW_APP,
        )
        try:
            async with rpc.translated():
                response = await self._stub.GetSessionTrace(request, timeout=_SECONDS)
        except NotFound:
            raise TraceUnusable(
                f"rollout `{rollout_id}` has no trace, and a node reads it; send its calls through "
                "the interceptor, or give the trace",
                reason="TRACE_MISSING",
                metadata={"rollout": rollout_id},
            ) from None
        trace: bytes = response.session_trace
        return trace
