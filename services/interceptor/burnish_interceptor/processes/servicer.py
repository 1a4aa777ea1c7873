"""InterceptorService of several replicas: asks each of them, and adds up."""

from __future__ import annotations

import asyncio
from typing import Any

from grpc import aio

from burnish import rpc
from burnish.api.interceptor.v1 import interceptor_service_pb2 as interceptor_v1
from burnish.api.interceptor.v1.interceptor_service_pb2_grpc import (
    InterceptorServiceServicer,
    InterceptorServiceStub,
)
from burnish_runtime.settings import Secret

Context = aio.ServicerContext[Any, Any]
_SECONDS = 5.0


class Replicas:
    """The RPC lines to the replicas."""

    def __init__(self, *, token: Secret | None) -> None:
        """Opens nothing yet; the token goes with every call."""
        self._token = token
        self._channels: dict[int, aio.Channel] = {}
        self._replaced: set[asyncio.Task[None]] = set()

    def put(self, index: int, target: str) -> None:
        """Takes the address of a replica, or its new one."""
        old = self._channels.get(index)
        self._channels[index] = rpc.connect(target, token=self._token)
        if old is not None:
            task = asyncio.ensure_future(old.close())
            self._replaced.add(task)
            task.add_done_callback(self._replaced.discard)

    @property
    def stubs(self) -> list[InterceptorServiceStub]:
        """One stub per replica."""
        return [InterceptorServiceStub(channel) for channel in self._channels.values()]

    async def close(self) -> None:
        """Closes every line."""
        for channel in self._channels.values():
            await channel.close()


class SupervisorServicer(InterceptorServiceServicer):
    """Answers for all replicas."""

    def __init__(self, replicas: Replicas, *, node_id: str, public_url: str) -> None:
        """Takes the replicas, and what they are called together."""
        self._replicas = replicas
        self._node_id = node_id
        self._public_url = public_url

    async def GetInterceptor(
        self, request: interceptor_v1.GetInterceptorRequest, context: Context
    ) -> interceptor_v1.GetInterceptorResponse:
        """Adds up what the replicas say; the revision is that of the one furthest behind."""
        async with rpc.translated():
            calls = [
                stub.GetInterceptor(request, timeout=_SECONDS) for stub in self._replicas.stubs
            ]
            found = [await call for call in calls]
        return interceptor_v1.GetInterceptorResponse(
            node_id=self._node_id,
            applied_revision=min(one.applied_revision for one in found),
            inflight_call_count=sum(one.inflight_call_count for one in found),
            buffered_trace_count=sum(one.buffered_trace_count for one in found),
            public_url=self._public_url,
        )

    async def DrainInterceptor(
        self, request: interceptor_v1.DrainInterceptorRequest, context: Context
    ) -> interceptor_v1.DrainInterceptorResponse:
        """Stops taking new calls in every replica; returns when those in flight have finished."""
        async with rpc.translated():
            timeout = rpc.remaining(context, 3600.0)
            calls = [
                stub.DrainInterceptor(request, timeout=timeout) for stub in self._replicas.stubs
            ]
            for call in calls:
                await call
        return interceptor_v1.DrainInterceptorResponse()
