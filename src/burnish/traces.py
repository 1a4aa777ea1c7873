"""Traces over a channel: what the calls of a rollout said, in trace format 3."""

from __future__ import annotations

import json

from burnish import rpc
from burnish.api.trace.v1 import trace_service_pb2 as trace_v1
from burnish.api.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from burnish.namespace import Namespace


class AsyncTraces(Namespace):
    """The traces that a controller keeps, of offline rollouts and of online traffic."""

    async def session(
        self, rollout_id: str, *, compact: bool = False, provider_view: bool = False
    ) -> dict[str, object]:
        """Gets the calls of a rollout as one document.

        Args:
            rollout_id: The rollout; for online traffic the id that the app gave.
            compact: The compact wire form, as verifiers read it, in place of the whole session.
            provider_view: What the provider was sent, with the candidate's text, in place of the
                app's own messages.

        Raises:
            NotFound: No call of such a rollout is known.
        """
        request = trace_v1.GetSessionTraceRequest(
            rollout_id=rollout_id,
            form=trace_v1.TRACE_FORM_COMPACT if compact else trace_v1.TRACE_FORM_SESSION,
            view=trace_v1.TRACE_VIEW_PROVIDER if provider_view else trace_v1.TRACE_VIEW_APP,
        )
        stub = TraceServiceStub(self._channel())
        async with rpc.translated():
            response = await stub.GetSessionTrace(request, timeout=self._timeout)
        document: dict[str, object] = json.loads(response.session_trace)
        return document
