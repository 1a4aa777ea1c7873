"""Requests of one stream, served side by side and answered by number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import structlog
from google.protobuf.message import Message
from grpc import aio

from burnish import rpc
from burnish.api.search import v1 as search_v1
from burnish.errors import BurnishError, Code, InvalidArgument
from burnish.statuses import is_our_fault, status_from_error

_log = structlog.get_logger("burnish.search")
_MOST_AT_ONCE = 256

Context: TypeAlias = "aio.ServicerContext[Any, Any]"  # generic in the stubs only
Handler: TypeAlias = Callable[[Any, Context], Awaitable[Message]]


class RequestStream:
    """One stream of one caller."""

    def __init__(self, handlers: Mapping[str, Handler], context: Context) -> None:
        """Starts with nothing in flight.

        Args:
            handlers: What serves a request, by the name of its field; the answer's is the same.
            context: Context of the stream.
        """
        self._handlers = handlers
        self._context = context
        self._writing = asyncio.Lock()
        self._room = asyncio.Semaphore(_MOST_AT_ONCE)
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self, requests: AsyncIterator[search_v1.StreamStudiesRequest]) -> None:
        """Serves requests until the caller sends no more, and every answer was written."""
        try:
            async for request in requests:
                await self._room.acquire()
                # Tasks start in this order, and a study's lock is fair: so do its changes.
                task = asyncio.create_task(self._answer(request))
                self._open.add(task)
                task.add_done_callback(self._ended)
            while self._open:
                await asyncio.wait(self._open)
        finally:
            for task in self._open:
                task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._room.release()
        self._open.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # The caller is gone: whatever it missed, it asks for again.
            _log.info("answer_undelivered", error=type(task.exception()).__name__)

    async def _answer(self, request: search_v1.StreamStudiesRequest) -> None:
        response = search_v1.StreamStudiesResponse(sequence=request.sequence)
        name = request.WhichOneof("request") or ""
        try:
            if name not in self._handlers:
                raise InvalidArgument(
                    f"request {request.sequence} is none that this stream takes; use its call",
                    reason="ARGUMENT_INVALID",
                )
            answer = await self._handlers[name](getattr(request, name), self._context)
            getattr(response, name).MergeFrom(answer)
        except BurnishError as error:
            response.refused.CopyFrom(_refused(name, error))
        except Exception:
            _log.exception("request_failed", request=name)
            response.refused.CopyFrom(_refused(name, BurnishError("unexpected")))
        async with self._writing:
            await self._context.write(response)


def _refused(name: str, error: BurnishError) -> search_v1.RequestRefused:
    log = _log.error if is_our_fault(error) else _log.info
    log("request_refused", request=name, code=Code(error.code).name, reason=error.reason)
    status = status_from_error(error, request_id=rpc.request_id.get())
    refused = search_v1.RequestRefused(code=status.code)
    refused.failure.reason = error.reason
    refused.failure.message = status.message
    refused.failure.retryable = error.retryable
    refused.failure.metadata.update({key: str(value) for key, value in error.metadata.items()})
    return refused
