"""Client side of every call: channels, deadlines, and errors translated back into the error tree.

A channel balances over all addresses of its target and retries UNAVAILABLE under the service
config; that is safe because every RPC of Burnish is idempotent by its names and request ids. One
channel per target lives as long as its event loop.
"""

from __future__ import annotations

import contextvars
import json
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

import grpc
from grpc import aio

from burnish.errors import DeadlineExceeded, InvalidArgument
from burnish.statuses import error_from_rpc

REQUEST_ID_KEY = "x-request-id"
MAX_METADATA_BYTES = 64 * 1024
DIRECT = ("grpc.enable_http_proxy", 0)
"""Channel argument that keeps gRPC from calling through the proxy of the environment."""
_MARGIN_SECONDS = 0.05

_Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("burnish_request_id", default="")
"""Id of the request being served; calls made meanwhile carry it on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """How a channel behaves.

    Attributes:
        max_message_bytes: Largest message, in both directions.
        max_attempts: Attempts of a call that meets UNAVAILABLE, the first included; gRPC caps it
            at 5, and 1 turns retries off.
        initial_backoff_seconds: Longest wait before the second attempt; it doubles each time.
        max_backoff_seconds: Longest wait between two attempts.
        keepalive_seconds: Silence during a call after which the connection is probed.
        max_reconnect_seconds: Longest wait between two tries to reach a server that is away.
        wait_for_ready: Whether calls wait, up to their deadlines, for a server that is away, as one
            that is being restarted; else they fail once the attempts are used up.
    """

    max_message_bytes: int = 16 * 1024 * 1024
    max_attempts: int = 5
    initial_backoff_seconds: float = 0.1
    max_backoff_seconds: float = 2.0
    keepalive_seconds: float = 60.0
    max_reconnect_seconds: float = 1.0
    wait_for_ready: bool = False


_DEFAULT_OPTIONS = ChannelOptions()


def connect(
    target: str, *, token: str | None = None, options: ChannelOptions = _DEFAULT_OPTIONS
) -> aio.Channel:
    """Opens a channel; the connection itself is made by the first call.

    Args:
        target: gRPC target such as `127.0.0.1:50051` or `dns:///search:50051`; all addresses that
            it resolves to are used in turn. One on this machine is never asked through a proxy,
            whatever the environment says.
        token: Bearer token that each call carries.
        options: How the channel behaves.

    Raises:
        InvalidArgument: The target is empty.
    """
    if not target:
        raise InvalidArgument(
            "the gRPC target is empty; give one like `127.0.0.1:50051`", reason="TARGET_EMPTY"
        )
    arguments = _channel_arguments(options)
    if on_this_machine(target):
        arguments.append(DIRECT)
    return _AttachingChannel(aio.insecure_channel(target, options=arguments), _Attacher(token))


def on_this_machine(target: str) -> bool:
    """Says whether a gRPC target is a loopback address or a Unix socket."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    address = target.rpartition("/")[2].removeprefix("ipv4:").removeprefix("ipv6:")
    host = address.rpartition(":")[0] if not address.endswith("]") else address
    return host.startswith("127.") or host in {"localhost", "[::1]", "::1"}


def _channel_arguments(options: ChannelOptions) -> list[tuple[str, int | str]]:
    return [
        ("grpc.service_config", _service_config(options)),
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.max_send_message_length", options.max_message_bytes),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", 2 * MAX_METADATA_BYTES),
        ("grpc.keepalive_time_ms", int(options.keepalive_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", int(options.max_reconnect_seconds * 1000)),
    ]


def _service_config(options: ChannelOptions) -> str:
    method: dict[str, object] = {"name": [{}]}
    config: dict[str, object] = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [method],
    }
    if options.wait_for_ready:
        method["waitForReady"] = True
    if options.max_attempts > 1:
        method["retryPolicy"] = {
            "maxAttempts": options.max_attempts,
            "initialBackoff": f"{options.initial_backoff_seconds:.3f}s",
            "maxBackoff": f"{options.max_backoff_seconds:.3f}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        config["retryThrottling"] = {"maxTokens": 100, "tokenRatio": 0.1}
    return json.dumps(config)


class _Translated:
    """Context manager, plain and asynchronous, that raises our errors for those of gRPC."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, aio.AioRpcError):
            raise error_from_rpc(error) from error

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)


def translated() -> _Translated:
    """Turns a failed call inside `with` or `async with` into a `BurnishError`.

    Cancellation passes through untouched.
    """
    return _Translated()


class HasTimeRemaining(Protocol):
    """The part of a servicer context that knows the caller's deadline."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller gives up; None when it waits for ever."""


def remaining(context: HasTimeRemaining, own: float) -> float:
    """Returns the timeout for a call made while serving another.

    Args:
        context: Context of the call being served.
        own: Most seconds that this step may take.

    Raises:
        DeadlineExceeded: So little is left that an answer could not be passed on in time.
    """
    left = context.time_remaining()
    if left is None:
        return own
    return _not_past(min(own, left - _MARGIN_SECONDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A point in time by which a sequence of calls must be done.

    Attributes:
        at: The point, in seconds of `clock`.
        clock: Monotonic clock.
    """

    at: float
    clock: Callable[[], float]

    def left(self) -> float:
        """Returns the seconds left, to be given as `timeout=`.

        Raises:
            DeadlineExceeded: Nothing is left.
        """
        return _not_past(self.at - self.clock())


def deadline(seconds: float, *, clock: Callable[[], float] = time.monotonic) -> Deadline:
    """Starts a deadline that several calls share."""
    return Deadline(at=clock() + seconds, clock=clock)


def _not_past(seconds: float) -> float:
    if seconds <= 0:
        raise DeadlineExceeded(
            "no time is left for the next call; allow a longer deadline",
            metadata={"seconds_left": f"{seconds:.3f}"},
        )
    return seconds


class _Attacher:
    """Adds the bearer token and a request id to the metadata of calls."""

    def __init__(self, token: str | None) -> None:
        self._authorization = () if token is None else (("authorization", f"Bearer {token}"),)

    def attached(self, given: _Metadata | None) -> _Metadata:
        """Returns metadata with the token, and with a request id unless it has one."""
        metadata = (*(given or ()), *self._authorization)
        if any(key == REQUEST_ID_KEY for key, _ in metadata):
            return metadata
        return (*metadata, (REQUEST_ID_KEY, request_id.get() or uuid.uuid4().hex))


class _Method:
    """One method of a channel; its calls carry what is attached."""

    def __init__(self, method: Callable[..., Any], attacher: _Attacher) -> None:
        self._method = method
        self._attacher = attacher

    def __call__(
        self,
        request: object = None,
        *,
        metadata: _Metadata | None = None,
        **given: Any,  # noqa: ANN401 - whatever gRPC's own takes
    ) -> Any:  # noqa: ANN401 - one of gRPC's four kinds of call
        return self._method(request, metadata=self._attacher.attached(metadata), **given)


class _AttachingChannel(aio.Channel):
    """A channel whose calls carry a token and a request id.

    gRPC's interceptors would do the same, at the cost of a task per call and of a queue per stream.
    """

    def __init__(self, channel: aio.Channel, attacher: _Attacher) -> None:
        self._channel = channel
        self._attacher = attacher

    async def __aenter__(self) -> Self:
        await self._channel.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._channel.__aexit__(kind, error, trace)

    async def close(self, grace: float | None = None) -> None:
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    def unary_unary(self, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - gRPC's own
        return _Method(self._channel.unary_unary(*given, **named), self._attacher)

    def unary_stream(self, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - gRPC's own
        return _Method(self._channel.unary_stream(*given, **named), self._attacher)

    def stream_unary(self, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - gRPC's own
        return _Method(self._channel.stream_unary(*given, **named), self._attacher)

    def stream_stream(self, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - gRPC's own
        return _Method(self._channel.stream_stream(*given, **named), self._attacher)
