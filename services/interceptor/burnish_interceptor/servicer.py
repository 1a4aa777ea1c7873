"""InterceptorService: what operators ask of one replica."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from grpc import aio

from burnish.api.interceptor.v1 import interceptor_service_pb2 as interceptor_v1
from burnish.api.interceptor.v1.interceptor_service_pb2_grpc import InterceptorServiceServicer
from burnish_interceptor import convert
from burnish_interceptor.policies.policy import Status

Context = aio.ServicerContext[Any, Any]


class InterceptorServicer(InterceptorServiceServicer):
    """Answers from the running data plane."""

    def __init__(
        self, *, status: Callable[[], Status], drain: Callable[[], Awaitable[None]]
    ) -> None:
        """Takes the two things that the data plane offers."""
        self._status = status
        self._drain = drain

    async def GetInterceptor(
        self, request: interceptor_v1.GetInterceptorRequest, context: Context
    ) -> interceptor_v1.GetInterceptorResponse:
        """Says what the replica serves."""
        return convert.status_response(self._status())

    async def DrainInterceptor(
        self, request: interceptor_v1.DrainInterceptorRequest, context: Context
    ) -> interceptor_v1.DrainInterceptorResponse:
        """Stops taking new calls; returns when those in flight have finished."""
        await asyncio.shield(asyncio.ensure_future(self._drain()))
        return interceptor_v1.DrainInterceptorResponse()
