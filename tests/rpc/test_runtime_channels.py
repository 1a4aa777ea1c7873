"""Channels retry what may be retried, and balance over the servers of their target."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc
import pytest
from grpc import aio

from burnish import errors, rpc

PATH = "/burnish.testing.v1.HandlerService/Do"
QUICK = rpc.ChannelOptions(initial_backoff_seconds=0.01, max_backoff_seconds=0.05)
Behaviour = Callable[[bytes, Any], Coroutine[Any, Any, bytes]]


@contextlib.asynccontextmanager
async def bare_server(behaviour: Behaviour) -> AsyncIterator[tuple[aio.Server, int]]:
    """A server with no chain of ours, so that the status is the handler's own."""
    server = aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(behaviour)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("burnish.testing.v1.HandlerService", {"Do": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield server, port
    finally:
        await server.stop(grace=None)


async def do(channel: aio.Channel) -> bytes:
    send: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PATH)
    async with rpc.translated():
        return await send(b"hello", timeout=30)


class Failing:
    """A handler that answers with a status for its first calls."""

    def __init__(self, *, times: int, code: grpc.StatusCode) -> None:
        self.calls = 0
        self._times = times
        self._code = code

    async def __call__(self, request: bytes, context: Any) -> bytes:
        self.calls += 1
        if self.calls <= self._times:
            await context.abort(self._code, "scripted")
        return request


async def test_a_call_is_retried_while_the_server_is_unavailable():
    handler = Failing(times=2, code=grpc.StatusCode.UNAVAILABLE)
    async with (
        bare_server(handler.__call__) as (_, port),
        rpc.connect(f"127.0.0.1:{port}", options=QUICK) as channel,
    ):
        assert await do(channel) == b"hello"
    assert handler.calls == 3


async def test_attempts_end():
    handler = Failing(times=100, code=grpc.StatusCode.UNAVAILABLE)
    async with (
        bare_server(handler.__call__) as (_, port),
        rpc.connect(f"127.0.0.1:{port}", options=QUICK) as channel,
    ):
        with pytest.raises(errors.Unavailable):
            await do(channel)
    assert handler.calls == QUICK.max_attempts


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.ResourceExhausted),
        (grpc.StatusCode.ABORTED, errors.Aborted),
        (grpc.StatusCode.INTERNAL, errors.Internal),
        (grpc.StatusCode.UNKNOWN, errors.Internal),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.DeadlineExceeded),
        (grpc.StatusCode.CANCELLED, errors.Unavailable),
    ],
)
async def test_other_failures_are_not_retried(code, kind):
    handler = Failing(times=1, code=code)
    async with (
        bare_server(handler.__call__) as (_, port),
        rpc.connect(f"127.0.0.1:{port}", options=QUICK) as channel,
    ):
        with pytest.raises(kind) as caught:
            await do(channel)
    assert handler.calls == 1
    assert caught.value.message == "scripted"
    assert caught.value.reason == kind.default_reason


async def test_retries_can_be_turned_off():
    handler = Failing(times=1, code=grpc.StatusCode.UNAVAILABLE)
    options = rpc.ChannelOptions(max_attempts=1)
    async with (
        bare_server(handler.__call__) as (_, port),
        rpc.connect(f"127.0.0.1:{port}", options=options) as channel,
    ):
        with pytest.raises(errors.Unavailable):
            await do(channel)


async def test_calls_go_to_all_servers_and_none_is_lost_with_one_of_them():
    served = {"one": 0, "two": 0}

    def counting(name: str) -> Behaviour:
        async def handle(request: bytes, context: Any) -> bytes:
            served[name] += 1
            await asyncio.sleep(0)
            return name.encode()

        return handle

    async with (
        bare_server(counting("one")) as (dying, first),
        bare_server(counting("two")) as (_, second),
        rpc.connect(f"ipv4:127.0.0.1:{first},127.0.0.1:{second}") as channel,
    ):
        await balanced(channel)
        stopping = None
        for batch in range(40):
            if batch == 10:
                stopping = asyncio.create_task(dying.stop(grace=None))
            answers = await asyncio.gather(*(do(channel) for _ in range(50)))
            assert set(answers) <= {b"one", b"two"}
        assert stopping is not None
        await stopping
        assert {await do(channel) for _ in range(10)} == {b"two"}
    assert served["one"] > 100
    assert served["two"] > 1000


async def balanced(channel: aio.Channel) -> None:
    """Calls until both servers have answered, since connections come up one by one."""
    seen: set[bytes] = set()
    async with asyncio.timeout(20):
        while len(seen) < 2:
            seen.add(await do(channel))


async def test_a_server_that_is_not_there_is_unavailable():
    async with rpc.connect("127.0.0.1:1", options=QUICK) as channel:
        with pytest.raises(errors.Unavailable) as caught:
            await do(channel)
    assert caught.value.retryable


def test_an_empty_target_is_refused():
    with pytest.raises(errors.InvalidArgument) as caught:
        rpc.connect("")
    assert caught.value.reason == "TARGET_EMPTY"


async def test_a_given_request_id_is_not_replaced():
    async def tell(request: bytes, context: Any) -> bytes:
        pairs = [value for key, value in context.invocation_metadata() if key == rpc.REQUEST_ID_KEY]
        return b",".join(value.encode() for value in pairs)

    async with (
        bare_server(tell) as (_, port),
        rpc.connect(f"127.0.0.1:{port}", token="a") as channel,
    ):
        send: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PATH)
        assert await send(b"", timeout=10, metadata=((rpc.REQUEST_ID_KEY, "mine"),)) == b"mine"
        assert len(await send(b"", timeout=10)) == 32
