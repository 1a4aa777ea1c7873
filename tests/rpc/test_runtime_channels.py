"""Channels retry what may be retried, and balance over the servers of their target."""

import asyncio
import contextlib
import sys
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
async def bare_server(
    behaviour: Behaviour, *, listen: str = "127.0.0.1:0"
) -> AsyncIterator[tuple[aio.Server, int]]:
    """A server with no chain of ours, so that the status is the handler's own."""
    server = aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(behaviour)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("burnish.testing.v1.HandlerService", {"Do": handler})]
    )
    port = server.add_insecure_port(listen)
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


HANGING_SERVER = """
import asyncio, sys
import grpc
from grpc import aio

async def hang(request, context):
    if request == b"who":
        return b"hanging"
    print("hangs", flush=True)
    await asyncio.Event().wait()

async def serve():
    server = aio.server()
    handlers = {"Do": grpc.unary_unary_rpc_method_handler(hang)}
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("burnish.testing.v1.HandlerService", handlers)]
    )
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()

asyncio.run(serve())
"""


@contextlib.asynccontextmanager
async def hanging_server() -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A process that takes calls and does not answer them, so that a kill finds them in flight."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGING_SERVER, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process, int(await printed_by(process))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def printed_by(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return await process.stdout.readline()


@pytest.mark.parametrize(("attempts", "lost"), [(1, 10), (5, 0)])
async def test_no_call_is_lost_with_one_of_two_servers_only_thanks_to_retries(attempts, lost):
    async def answer(request: bytes, context: Any) -> bytes:
        return b"alive"

    options = rpc.ChannelOptions(max_attempts=attempts, initial_backoff_seconds=0.01)
    async with (
        hanging_server() as (dying, first),
        bare_server(answer) as (_, second),
        rpc.connect(f"ipv4:127.0.0.1:{first},127.0.0.1:{second}", options=options) as channel,
    ):
        await both_answer(channel)
        calls = [asyncio.create_task(do(channel)) for _ in range(20)]
        for _ in range(10):
            assert await printed_by(dying) == b"hangs\n"
        dying.kill()
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert results.count(b"alive") == 20 - lost
    assert sum(isinstance(result, errors.Unavailable) for result in results) == lost


async def both_answer(channel: aio.Channel) -> None:
    """Calls until both servers have answered, since connections come up one by one."""
    ask: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PATH)
    seen: set[bytes] = set()
    async with asyncio.timeout(60):
        while len(seen) < 2:
            seen.add(await ask(b"who", timeout=30))


async def test_a_server_that_is_not_there_is_unavailable():
    async with rpc.connect("127.0.0.1:1", options=QUICK) as channel:
        with pytest.raises(errors.Unavailable) as caught:
            await do(channel)
    assert caught.value.retryable


async def test_calls_can_wait_for_a_server_that_is_away(tmp_path):
    async def answer(request: bytes, context: Any) -> bytes:
        return request

    target = f"unix:{tmp_path / 'socket'}"
    patient = rpc.connect(target, options=rpc.ChannelOptions(wait_for_ready=True))
    hasty = rpc.connect(target, options=QUICK)
    async with patient, hasty:
        waiting = asyncio.create_task(do(patient))
        with pytest.raises(errors.Unavailable):
            await do(hasty)
        assert not waiting.done()
        async with bare_server(answer, listen=target):
            assert await waiting == b"hello"


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
