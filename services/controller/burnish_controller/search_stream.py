"""The search service's studies over one open stream: to open a call takes longer than an answer.

The stream is opened by the first request, and again by the next one after it broke. What was
unanswered then fails as unavailable and is repeated by whoever asked, for every request may be. A
service without such a stream is asked by calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar, cast

from google.protobuf.message import Message
from grpc import aio

from burnish import rpc
from burnish.api.search import v1 as search_v1
from burnish.errors import (
    BurnishError,
    DeadlineExceeded,
    Unavailable,
    Unimplemented,
    error_from_code,
)
from burnish.statuses import error_from_rpc

_Response = TypeVar("_Response", bound=Message)

# Requests by their type: the field of the stream that carries them, and the call that does.
_FIELDS: Mapping[type[Message], tuple[str, str]] = {
    search_v1.SuggestWorkRequest: ("suggest_work", "SuggestWork"),
    search_v1.TellObservationsRequest: ("tell_observations", "TellObservations"),
    search_v1.CloseWorkRequest: ("close_work", "CloseWork"),
    search_v1.AddComponentsRequest: ("add_components", "AddComponents"),
    search_v1.RetireComponentsRequest: ("retire_components", "RetireComponents"),
    search_v1.RankCandidatesRequest: ("rank_candidates", "RankCandidates"),
}


class SearchStream:
    """Requests to the search service, answered by number."""

    def __init__(self, stub: search_v1.SearchServiceStub) -> None:
        """Opens nothing yet.

        Args:
            stub: Of the service; its channel stays the caller's to close.
        """
        self._stub = stub
        self._open: _Open | None = None
        self._offered = True

    async def send(
        self, request: Message, response: type[_Response], *, seconds: float
    ) -> _Response:
        """Sends a request and returns its answer.

        Args:
            request: One of the requests that a stream takes.
            response: What it is answered by.
            seconds: Most seconds to wait.

        Raises:
            BurnishError: What the service answered, or Unavailable when the stream broke.
        """
        field, method = _FIELDS[type(request)]
        if self._offered:
            try:
                answer = await self._over_stream(field, request, seconds)
                return cast(_Response, getattr(answer, field))
            except Unimplemented:
                self._offered = False
        async with rpc.translated():
            return cast(_Response, await getattr(self._stub, method)(request, timeout=seconds))

    async def close(self) -> None:
        """Ends the stream; what is unanswered fails as unavailable."""
        if self._open is not None:
            await self._open.close()

    async def _over_stream(
        self, field: str, request: Message, seconds: float
    ) -> search_v1.StreamStudiesResponse:
        opened = self._open
        if opened is None or opened.ended:
            opened = self._open = _Open(self._stub)
        try:
            async with asyncio.timeout(seconds):
                answer = await opened.ask(field, request)
        except TimeoutError:
            raise DeadlineExceeded(
                f"the search service did not answer within {seconds:g} s",
                metadata={"seconds": f"{seconds:g}"},
            ) from None
        if answer.HasField("refused"):
            failure = answer.refused.failure
            raise error_from_code(
                answer.refused.code,
                failure.message,
                reason=failure.reason,
                metadata=dict(failure.metadata),
            )
        return answer


class _Open:
    """One stream, from its opening to its end.

    Attributes:
        ended: Whether it takes no more requests.
    """

    def __init__(self, stub: search_v1.SearchServiceStub) -> None:
        self.ended = False
        self._sequence = 0
        self._outgoing: asyncio.Queue[search_v1.StreamStudiesRequest | None] = asyncio.Queue()
        self._waiting: dict[int, asyncio.Future[search_v1.StreamStudiesResponse]] = {}
        self._call: aio.StreamStreamCall[Any, Any] = stub.StreamStudies(self._requests())
        self._reading = asyncio.create_task(self._read(), name="search-stream")

    async def ask(self, field: str, request: Message) -> search_v1.StreamStudiesResponse:
        self._sequence += 1
        sequence = self._sequence
        message = search_v1.StreamStudiesRequest(sequence=sequence)
        getattr(message, field).CopyFrom(request)
        answer: asyncio.Future[search_v1.StreamStudiesResponse]
        answer = asyncio.get_running_loop().create_future()
        self._waiting[sequence] = answer
        self._outgoing.put_nowait(message)
        try:
            return await answer
        finally:
            self._waiting.pop(sequence, None)

    async def close(self) -> None:
        self._outgoing.put_nowait(None)
        self._call.cancel()
        await asyncio.wait([self._reading])

    async def _requests(self) -> AsyncIterator[search_v1.StreamStudiesRequest]:
        while (message := await self._outgoing.get()) is not None:
            yield message

    async def _read(self) -> None:
        error: BurnishError = Unavailable("the search service ended the stream")
        try:
            async for response in self._call:
                answer = self._waiting.get(response.sequence)
                if answer is not None and not answer.done():
                    answer.set_result(response)
        except aio.AioRpcError as failed:
            error = error_from_rpc(failed)
        except asyncio.CancelledError:
            # The call was cancelled: the stream is being closed.
            error = Unavailable("the stream to the search service was closed")
        finally:
            self.ended = True
            self._outgoing.put_nowait(None)
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(error)
