"""The processes around the interceptor in its benchmark: a provider, a controller, a bare relay.

python -m benchmarks.interceptor_parts provider|controller|relay PORT [UPSTREAM_PORT]
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import uvloop
from grpc import aio

from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish.api.trace.v1 import trace_service_pb2 as trace_v1
from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, CANDIDATE, FakeController, completion, events
from burnish_interceptor.transport.client import Client, request_head
from burnish_interceptor.transport.exchange import Exchange, Request
from burnish_interceptor.transport.origin import Origin, UpstreamFailure
from burnish_interceptor.transport.server import Server

MODELS = ("mock-0-0", "mock-20-0", "mock-20-5")
INSTRUCTION = f"BENCHMARK-CANDIDATE {BASELINE} Answer with the name of the intent and nothing else."
_MODEL = re.compile(rb'"model": ?"mock-(\d+)-(\d+)"')
Context = aio.ServicerContext[Any, Any]
_EVENTS = "text/event-stream"
_JSON = {"content-type": "application/json"}


class Provider:
    """Answers after the milliseconds that the model's name says, events with gaps between them."""

    def __init__(self) -> None:
        self._whole = completion("sentence " * 80)
        *self._chunks, self._last = [
            b"%b\n\n" % one for one in events(["word "] * 50).rstrip().split(b"\n\n")
        ]

    def serve(self, request: Request, exchange: Exchange) -> None:
        """Answers one call."""
        found = _MODEL.search(request.body)
        delay, gap = (int(found[1]), int(found[2])) if found is not None else (0, 0)
        loop = asyncio.get_running_loop()
        exchange.on_gone = exchange.abort
        if b'"stream":true' in request.body.replace(b" ", b""):
            loop.call_later(delay / 1000, self._start, exchange, gap / 1000)
        elif delay:
            loop.call_later(delay / 1000, exchange.send, 200, _JSON, self._whole)
        else:
            exchange.send(200, _JSON, self._whole)

    def _start(self, exchange: Exchange, gap: float) -> None:
        exchange.start(200, {"content-type": _EVENTS})
        self._go_on(exchange, gap, 0)

    def _go_on(self, exchange: Exchange, gap: float, place: int) -> None:
        if place == len(self._chunks):
            exchange.end(self._last)
            return
        exchange.write(self._chunks[place])
        asyncio.get_running_loop().call_later(gap, self._go_on, exchange, gap, place + 1)


class Controller(FakeController):
    """Publishes a policy per model, and takes traces without keeping them."""

    async def WatchPolicies(
        self, request: policy_v1.WatchPoliciesRequest, context: Context
    ) -> AsyncIterator[policy_v1.WatchPoliciesResponse]:
        """Gives all policies at once."""
        weighted = policy_v1.WeightedCandidate(candidate_id=CANDIDATE, weight=1.0)
        policies = []
        for model in MODELS:
            stage = testing.stage_policy(user="{query}")
            stage.model.model = model
            policies.append(
                policy_v1.Policy(
                    name=f"policies/{model}",
                    version=1,
                    job="jobs/1",
                    stages=[stage],
                    candidates=[weighted],
                )
            )
        yield policy_v1.WatchPoliciesResponse(revision=1, snapshot=True, policies=policies)
        while True:
            await asyncio.sleep(5)
            yield policy_v1.WatchPoliciesResponse(revision=1)

    async def WriteTraces(
        self, request: trace_v1.WriteTracesRequest, context: Context
    ) -> trace_v1.WriteTracesResponse:
        """Takes a batch."""
        return trace_v1.WriteTracesResponse()


class _Passed:
    """An answer passed on as it comes."""

    __slots__ = ("_exchange", "_pieces", "_status", "_stream")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._pieces: list[bytes] = []
        self._status = 0
        self._stream = False

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status
        self._stream = headers.get("content-type") == _EVENTS
        if self._stream:
            self._exchange.start(status, {"content-type": _EVENTS})

    def data(self, data: bytes) -> None:
        if self._stream:
            self._exchange.write(data)
        else:
            self._pieces.append(data)

    def end(self) -> None:
        if self._stream:
            self._exchange.end()
        else:
            self._exchange.send(self._status, _JSON, b"".join(self._pieces))

    def failure(self, failure: UpstreamFailure) -> None:
        self._exchange.abort()


def relay(upstream: Origin) -> Server:
    """Returns a server that passes everything on unread: what the transport alone costs."""
    client = Client()
    head = request_head(upstream, "/v1/chat/completions", {**_JSON, "authorization": "Bearer x"})

    def serve(request: Request, exchange: Exchange) -> None:
        data = b"%b%d\r\n\r\n%b" % (head, len(request.body), request.body)
        call = client.send(upstream, data, _Passed(exchange))

        def gone() -> None:
            call.abort()
            exchange.abort()

        exchange.on_gone = gone
        exchange.on_pause, exchange.on_resume = call.pause, call.resume

    return Server(serve)


async def _serve(part: str, port: int, upstream_port: int) -> None:
    if part == "controller":
        controller = Controller()
        controller.candidates[CANDIDATE] = testing.prompts(INSTRUCTION)
        await controller.start(f"127.0.0.1:{port}")
    else:
        upstream = Origin(host="127.0.0.1", port=upstream_port, tls=False)
        server = Server(Provider().serve) if part == "provider" else relay(upstream)
        await server.listen("127.0.0.1", port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    part, *ports = sys.argv[1:]
    uvloop.run(_serve(part, int(ports[0]), int(ports[-1])))
