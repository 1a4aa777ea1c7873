"""What every call passes on its way to a handler: token, request id, deadline, limit, errors.

One interceptor does it all, because each one costs a frame per call. The token is checked before a
byte of the request is read; the rest wraps the handler, and wrapped handlers are kept by method.
"""

from __future__ import annotations

import asyncio
import hmac
import inspect
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from grpc import aio

from burnish import rpc
from burnish.errors import BurnishError, Code, Unauthenticated
from burnish.statuses import DETAILS_KEY, is_our_fault, status_from_error
from burnish_runtime.refusals import (
    DeadlineRefused,
    Overloaded,
    ShuttingDown,
    TokenMissing,
    TokenWrong,
)
from burnish_runtime.settings import Secret
from burnish_runtime.telemetry import MethodMetrics, RpcMetrics

_log = structlog.get_logger("burnish.rpc")
if TYPE_CHECKING:  # generic in the stubs only
    _Context = aio.ServicerContext[Any, Any]
    _Handler = grpc.RpcMethodHandler[Any, Any]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
_PUSHBACK_MILLISECONDS = 250
# gRPC rounds deadlines up to a few digits when it sends them: 3600 s arrive as 3610.
_DEADLINE_ROUNDING = 1.01
_OVERLOAD_LOG_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRules:
    """What the server asks of calls.

    Attributes:
        token: Bearer token that each call must carry; None lets every call in.
        max_concurrent_calls: Most calls served at once, for unary calls and streams each.
        max_deadline_seconds: Longest deadline of a call that needs one.
    """

    token: Secret | None
    max_concurrent_calls: int
    max_deadline_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Method:
    """One RPC as the chain sees it.

    Attributes:
        path: Full name, such as `/burnish.api.search.v1.SearchService/GetStudy`.
        streams: Whether answers are streamed. Such calls may come without a deadline.
        endless: Whether it is a stream that ends only when one side leaves.
        metrics: Where its calls are counted.
    """

    path: str
    streams: bool
    endless: bool
    metrics: MethodMetrics


class CallChain(aio.ServerInterceptor):
    """The interceptor of every server."""

    def __init__(
        self,
        *,
        rules: CallRules,
        metrics: RpcMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts with nothing in flight.

        Args:
            rules: What is asked of calls.
            metrics: Where calls are counted.
            clock: Monotonic seconds.
        """
        self._rules = rules
        self._authorization = None if rules.token is None else f"Bearer {rules.token}".encode()
        self._metrics = metrics
        self._clock = clock
        self._wrapped: dict[str, _Handler] = {}
        self._in_flight = {False: 0, True: 0}  # by whether answers are streamed
        self._endless: set[asyncio.Task[Any]] = set()
        self._ending = False
        self._overload_count = 0
        self._next_overload_log = clock()
        self._denials: dict[type[Unauthenticated], _Handler] = {
            kind: _denial(kind, metrics) for kind in (TokenMissing, TokenWrong)
        }

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Returns the wrapped handler of a call, or one that refuses it."""
        denial = self._denied(handler_call_details.invocation_metadata)
        if denial is not None:
            return self._denials[denial]
        path = handler_call_details.method
        handler = self._wrapped.get(path)
        if handler is None:
            plain = await continuation(handler_call_details)
            if plain is None:
                return None
            handler = self._wrapped[path] = self._wrap(path, plain)
        return handler

    def end_streams(self) -> None:
        """Ends the endless streams with UNAVAILABLE, and lets no new ones in."""
        self._ending = True
        for task in list(self._endless):
            task.cancel()

    def _denied(self, metadata: Iterable[tuple[str, str | bytes]]) -> type[Unauthenticated] | None:
        if self._authorization is None:
            return None
        given = next((value for key, value in metadata if key == "authorization"), None)
        if given is None:
            return TokenMissing
        if isinstance(given, str):
            given = given.encode()
        return None if hmac.compare_digest(given, self._authorization) else TokenWrong

    def _wrap(self, path: str, plain: _Handler) -> _Handler:
        method = _Method(
            path=path,
            streams=plain.response_streaming,
            endless=plain.response_streaming
            and (plain.request_streaming or path.rpartition("/")[2].startswith("Watch")),
            metrics=MethodMetrics(self._metrics, path),
        )
        serializers = (plain.request_deserializer, plain.response_serializer)
        if plain.request_streaming and plain.response_streaming:
            behaviour = self._streaming(method, plain.stream_stream)
            return grpc.stream_stream_rpc_method_handler(behaviour, *serializers)
        if plain.response_streaming:
            behaviour = self._streaming(method, plain.unary_stream)
            return grpc.unary_stream_rpc_method_handler(behaviour, *serializers)
        if plain.request_streaming:
            behaviour = self._single(method, plain.stream_unary)
            return grpc.stream_unary_rpc_method_handler(behaviour, *serializers)
        behaviour = self._single(method, plain.unary_unary)
        return grpc.unary_unary_rpc_method_handler(behaviour, *serializers)

    def _single(self, method: _Method, inner: Any) -> Any:  # noqa: ANN401 - grpc's handlers
        async def serve(request: object, context: _Context) -> object:
            async with self._guarded(method, context):
                return await inner(request, context)

        return serve

    def _streaming(self, method: _Method, inner: Any) -> Any:  # noqa: ANN401 - grpc's handlers
        writes_itself = inspect.iscoroutinefunction(inner)

        # Written as a coroutine, not a generator, so that cancellation passes through here even
        # while gRPC waits for the client to take an answer.
        async def serve(request: object, context: _Context) -> None:
            async with self._guarded(method, context):
                if writes_itself:
                    await inner(request, context)
                    return
                async with aclosing(inner(request, context)) as answers:
                    async for answer in answers:
                        await context.write(answer)

        return serve

    @asynccontextmanager
    async def _guarded(self, method: _Method, context: _Context) -> AsyncIterator[None]:
        """Everything around a handler's own work."""
        started = self._clock()
        request_id = _request_id(context)
        rpc.request_id.set(request_id)
        self._enter(method)
        code = "OK"
        try:
            self._check(method, context)
            yield
            code = _code_set(context)
        except aio.AbortError:
            code = _code_set(context)
            raise
        except asyncio.CancelledError:
            code = "CANCELLED"
            if self._ended_by_us(method, context):
                code = "UNAVAILABLE"
                await _abort(context, ShuttingDown("the server is stopping; reconnect"), request_id)
            raise
        except Overloaded as error:
            code = error.code.name
            self._log_overload(method.path, error)
            await _abort(context, error, request_id)
        except BurnishError as error:
            code = error.code.name
            _log_error(method.path, error)
            await _abort(context, error, request_id)
        except Exception:
            code = "INTERNAL"
            _log.exception("call_failed", method=method.path)
            await _abort(context, BurnishError("unexpected"), request_id)
        finally:
            self._leave(method)
            seconds = self._clock() - started
            method.metrics.ended(code=code, seconds=seconds)
            _log.debug("call_ended", method=method.path, code=code, seconds=seconds)

    def _enter(self, method: _Method) -> None:
        self._in_flight[method.streams] += 1
        method.metrics.began()
        task = asyncio.current_task()
        if method.endless and task is not None:
            self._endless.add(task)

    def _leave(self, method: _Method) -> None:
        self._in_flight[method.streams] -= 1
        task = asyncio.current_task()
        if task is not None:
            self._endless.discard(task)

    def _check(self, method: _Method, context: _Context) -> None:
        limit = self._rules.max_concurrent_calls
        if self._in_flight[method.streams] > limit:
            raise Overloaded(
                f"the server is busy with {limit} calls, as many as it takes; try again later",
                metadata={"limit": str(limit)},
            )
        if method.endless and self._ending:
            raise ShuttingDown("the server is stopping; connect to another or wait")
        if not method.streams:
            _check_deadline(context.time_remaining(), self._rules.max_deadline_seconds)

    def _log_overload(self, path: str, error: Overloaded) -> None:
        """Logs at most one refusal a second, so that the log does not add to the load."""
        now = self._clock()
        self._overload_count += 1
        if now < self._next_overload_log:
            return
        _log.warning("overloaded", method=path, refused=self._overload_count, error=error.message)
        self._next_overload_log = now + _OVERLOAD_LOG_SECONDS
        self._overload_count = 0

    def _ended_by_us(self, method: _Method, context: _Context) -> bool:
        task = asyncio.current_task()
        if not (self._ending and method.endless) or task is None or context.cancelled():
            return False
        task.uncancel()
        return True


def _check_deadline(left: float | None, longest: float) -> None:
    if left is None:
        raise DeadlineRefused(
            f"the call has no deadline; set one of at most {longest:g} s",
            reason="DEADLINE_REQUIRED",
            metadata={"max_seconds": f"{longest:g}"},
        )
    if left > longest * _DEADLINE_ROUNDING:
        raise DeadlineRefused(
            f"the deadline is {left:.0f} s off; set one of at most {longest:g} s",
            reason="DEADLINE_TOO_LONG",
            metadata={"seconds": f"{left:.0f}", "max_seconds": f"{longest:g}"},
        )


def _denial(kind: type[Unauthenticated], metrics: RpcMetrics) -> _Handler:
    """Returns a handler that refuses a call without reading it, whatever its kind."""

    async def deny(_requests: object, context: _Context) -> None:
        # One label for all methods: a stranger chooses the names.
        metrics.calls.labels("denied", "UNAUTHENTICATED").inc()
        error = kind(
            "the call carries no valid token; send `authorization: Bearer ...` with the value of "
            "the server's BURNISH_AUTH_TOKEN"
        )
        await _abort(context, error, _request_id(context))

    return grpc.stream_stream_rpc_method_handler(deny)


async def _abort(context: _Context, error: BurnishError, request_id: str) -> None:
    status = status_from_error(error, request_id=request_id)
    trailers: tuple[tuple[str, str | bytes], ...] = ((DETAILS_KEY, status.SerializeToString()),)
    if isinstance(error, Overloaded):
        trailers += (("grpc-retry-pushback-ms", str(_PUSHBACK_MILLISECONDS)),)
    await context.abort(_STATUS_CODES[error.code], status.message, trailers)


def _request_id(context: _Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == rpc.REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return uuid.uuid4().hex


def _code_set(context: _Context) -> str:
    """Returns the name of the status that the handler set, if it set one."""
    # The stubs promise a StatusCode; grpc.aio keeps whatever was set, and 0 when nothing was.
    code: object = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    return Code(code).name if isinstance(code, int) and code else "OK"


def _log_error(path: str, error: BurnishError) -> None:
    fields = {
        "method": path,
        "code": error.code.name,
        "reason": error.reason,
    }
    if is_our_fault(error):
        _log.error("call_failed", error=error.message, exc_info=error, **fields)
    elif error.retryable:
        _log.warning("call_refused", error=error.message, **fields)
    else:
        _log.info("call_refused", error=error.message, **fields)
