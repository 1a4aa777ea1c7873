"""What every call to a service passes, seen through a real channel."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
import structlog.testing
from google.protobuf.message import DecodeError
from grpc import aio
from grpc_reflection.v1alpha import reflection_pb2

from burnish import errors, rpc
from burnish.statuses import DETAILS_KEY
from burnish_runtime.settings import ServiceSettings
from burnish_runtime.testing import HandlerService, running

PREFIX = "/burnish.testing.v1.HandlerService/"
Handlers = dict[str, Any]
SETTINGS = ServiceSettings(service="handlers", drain_seconds=1.0)


class Shut(errors.FailedPrecondition):
    """An error as a room would define one."""

    default_reason = "STUDY_SHUT"


def shut() -> Shut:
    return Shut("study `studies/a` is shut; open it", metadata={"study": "studies/a"})


async def echo(request, context):
    return request


async def tell_request_id(request, context):
    return rpc.request_id.get().encode()


async def refuse(request, context):
    raise shut()


async def break_down(request, context):
    raise RuntimeError("the prompt was canary")


async def find_a_bug(request, context):
    raise errors.Internal("the prompt was canary", metadata={"study": "studies/a"})


async def join(requests, context):
    return b"".join([request async for request in requests])


async def count_then_refuse(request, context):
    yield b"1"
    yield b"2"
    raise shut()


async def write_then_refuse(request, context):
    await context.write(b"1")
    raise shut()


async def echo_all(requests, context):
    async for request in requests:
        if request == b"refuse":
            raise shut()
        yield request


def service() -> HandlerService:
    return HandlerService(
        {
            "Echo": grpc.unary_unary_rpc_method_handler(echo),
            "TellRequestId": grpc.unary_unary_rpc_method_handler(tell_request_id),
            "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
            "BreakDown": grpc.unary_unary_rpc_method_handler(break_down),
            "FindABug": grpc.unary_unary_rpc_method_handler(find_a_bug),
            "Join": grpc.stream_unary_rpc_method_handler(join),
            "Count": grpc.unary_stream_rpc_method_handler(count_then_refuse),
            "Write": grpc.unary_stream_rpc_method_handler(write_then_refuse),
            "EchoAll": grpc.stream_stream_rpc_method_handler(echo_all),
        }
    )


async def call(
    channel: aio.Channel, method: str, *, body: bytes = b"hello", seconds: float | None = 10.0
) -> bytes:
    send: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREFIX + method)
    async with rpc.translated():
        return await send(body, timeout=seconds)


async def read_all(
    channel: aio.Channel,
    method: str,
    *,
    into: list[bytes],
    requests: AsyncIterator[bytes] | None = None,
) -> None:
    """Reads a stream to its end; sends a stream of requests when one is given."""
    one: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(PREFIX + method)
    many: aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(PREFIX + method)
    async with rpc.translated():
        async for answer in one(b"") if requests is None else many(requests):
            into.append(answer)


async def join_all(
    channel: aio.Channel, parts: AsyncIterator[bytes], *, seconds: float | None = 10.0
) -> bytes:
    send: aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(PREFIX + "Join")
    async with rpc.translated():
        return await send(parts, timeout=seconds)


async def silence() -> AsyncIterator[bytes]:
    """A request stream that stays open; nothing is sent that could cross the server's answer."""
    await asyncio.Event().wait()
    yield b""


async def several(*bodies: bytes) -> AsyncIterator[bytes]:
    for body in bodies:
        yield body


@contextlib.asynccontextmanager
async def channel_with(token: str | None) -> AsyncIterator[aio.Channel]:
    """A channel with a token of its own, to a server whose token is `test-token`."""
    socket_of = ServerAddress()
    async with running(socket_of.wrap(service())) as channel:
        assert await call(channel, "Echo") == b"hello"
        async with rpc.connect(socket_of.address, token=token) as other:
            yield other


class ServerAddress:
    """Learns where a service is served, by asking the server for one more port."""

    address = ""

    def wrap(self, inner: HandlerService) -> HandlerService:
        start = inner.start

        async def starting(server: aio.Server):
            self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            return await start(server)

        inner.start = starting  # type: ignore[method-assign]
        return inner


async def test_a_call_with_token_and_deadline_is_answered():
    async with running(service()) as channel:
        assert await call(channel, "Echo") == b"hello"


@pytest.mark.parametrize(
    ("token", "reason"),
    [(None, "TOKEN_MISSING"), ("other-token", "TOKEN_WRONG"), ("", "TOKEN_WRONG")],
)
async def test_every_method_refuses_a_stranger(token, reason):
    async with channel_with(token) as channel:
        for method in ("Echo", "NoSuchMethod"):
            with pytest.raises(errors.Unauthenticated) as caught:
                await call(channel, method)
            assert caught.value.reason == reason
        with pytest.raises(errors.Unauthenticated):
            await join_all(channel, silence())
        for method, requests in (("Count", None), ("Write", None), ("EchoAll", silence())):
            with pytest.raises(errors.Unauthenticated):
                await read_all(channel, method, into=[], requests=requests)


async def test_reflection_lists_services_to_those_with_a_token_only():
    request = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()

    async def listed(channel: aio.Channel, requests: AsyncIterator[bytes]) -> set[str]:
        ask: aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        )
        async with rpc.translated():
            async for answer in ask(requests):
                response = reflection_pb2.ServerReflectionResponse.FromString(answer)
                return {one.name for one in response.list_services_response.service}
        return set()

    async with channel_with("test-token") as channel:
        assert "burnish.testing.v1.HandlerService" in await listed(channel, several(request))
    async with channel_with(None) as channel:
        with pytest.raises(errors.Unauthenticated):
            await listed(channel, silence())


async def test_an_unknown_method_is_unimplemented_to_those_with_a_token():
    async with running(service()) as channel:
        with pytest.raises(errors.Unimplemented):
            await call(channel, "NoSuchMethod")


async def test_a_refusal_arrives_with_its_class_reason_message_and_metadata():
    async with running(service()) as channel:
        with pytest.raises(errors.FailedPrecondition) as caught:
            await call(channel, "Refuse")
    assert caught.value.reason == "STUDY_SHUT"
    assert caught.value.metadata == {"study": "studies/a"}
    assert caught.value.message == "study `studies/a` is shut; open it"


@pytest.mark.parametrize(("method", "answers"), [("Count", [b"1", b"2"]), ("Write", [b"1"])])
async def test_a_stream_delivers_what_came_before_its_refusal(method, answers):
    seen: list[bytes] = []
    async with running(service()) as channel:
        with pytest.raises(errors.FailedPrecondition) as caught:
            await read_all(channel, method, into=seen)
    assert seen == answers
    assert caught.value.reason == "STUDY_SHUT"


async def test_both_kinds_of_request_stream_pass_the_same_chain():
    seen: list[bytes] = []

    async def words() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"refuse"
        await asyncio.Event().wait()

    async with running(service()) as channel:
        assert await join_all(channel, several(b"a", b"b")) == b"ab"
        with pytest.raises(errors.FailedPrecondition):
            await read_all(channel, "EchoAll", into=seen, requests=words())
    assert seen == [b"a"]


async def test_a_request_stream_without_a_deadline_is_refused():
    async with running(service()) as channel:
        with pytest.raises(errors.InvalidArgument) as caught:
            await join_all(channel, silence(), seconds=None)
    assert caught.value.reason == "DEADLINE_REQUIRED"


@pytest.mark.parametrize("method", ["BreakDown", "FindABug"])
async def test_the_text_of_a_bug_stays_in_the_log(method):
    with structlog.testing.capture_logs() as lines:
        async with running(service()) as channel:
            with pytest.raises(errors.Internal) as caught:
                await call(channel, method)
    cause = caught.value.__cause__
    assert isinstance(cause, aio.AioRpcError)
    sent = repr(cause) + repr(list(cause.trailing_metadata()))
    assert "canary" not in sent
    assert "request id" in caught.value.message
    assert [line["log_level"] for line in lines if line["event"] == "call_failed"] == ["error"]


async def test_a_refused_deadline_names_what_is_allowed():
    async with running(service()) as channel:
        with pytest.raises(errors.InvalidArgument) as missing:
            await call(channel, "Echo", seconds=None)
        with pytest.raises(errors.InvalidArgument) as too_long:
            await call(channel, "Echo", seconds=7200)
        assert await call(channel, "Echo", seconds=3600) == b"hello"
    assert missing.value.reason == "DEADLINE_REQUIRED"
    assert too_long.value.reason == "DEADLINE_TOO_LONG"
    assert too_long.value.metadata["max_seconds"] == "3600"


async def test_the_request_id_is_carried_on_or_made():
    async with running(service()) as channel:
        send: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            PREFIX + "TellRequestId"
        )
        given = await send(b"", timeout=10, metadata=((rpc.REQUEST_ID_KEY, "abc-1"),))
        odd = await send(b"", timeout=10, metadata=((rpc.REQUEST_ID_KEY, "a b{}"),))
        made = await send(b"", timeout=10)
        token = rpc.request_id.set("outer-request")
        inherited = await send(b"", timeout=10)
        rpc.request_id.reset(token)
    assert given == b"abc-1"
    assert inherited == b"outer-request"
    assert odd not in {b"", b"a b{}"}
    assert made not in {b"", given}


async def test_a_long_error_still_arrives():
    async def complain(request, context):
        raise errors.InvalidArgument(
            "é" * 100_000, metadata={f"key{n}": "ü" * 10_000 for n in range(40)}
        )

    handlers: Handlers = {"Complain": grpc.unary_unary_rpc_method_handler(complain)}
    async with running(HandlerService(handlers)) as channel:
        with pytest.raises(errors.InvalidArgument) as caught:
            await call(channel, "Complain")
    assert caught.value.message.startswith("ééé")
    assert caught.value.metadata["key0"].startswith("üüü")


async def test_messages_above_four_mebibytes_pass_and_above_the_limit_do_not():
    async with running(service()) as channel:
        assert len(await call(channel, "Echo", body=bytes(15 * 2**20))) == 15 * 2**20
        with pytest.raises(errors.ResourceExhausted):
            await call(channel, "Echo", body=bytes(17 * 2**20))


async def test_foreign_status_details_do_not_hide_the_error():
    async def garble(request, context):
        await context.abort(
            grpc.StatusCode.NOT_FOUND, "no such thing", ((DETAILS_KEY, b"\xff\xff\xff"),)
        )

    handlers: Handlers = {"Garble": grpc.unary_unary_rpc_method_handler(garble)}
    async with running(HandlerService(handlers)) as channel:
        with pytest.raises(errors.NotFound) as caught:
            await call(channel, "Garble")
    assert not isinstance(caught.value.__cause__, DecodeError)
    assert (caught.value.reason, caught.value.message) == ("NOT_FOUND", "no such thing")


async def test_three_thousand_calls_at_once_are_all_answered():
    together = asyncio.Event()
    arrived = 0

    async def wait_for_all(request, context):
        nonlocal arrived
        arrived += 1
        if arrived == 3000:
            together.set()
        await together.wait()
        return request

    handlers: Handlers = {"Wait": grpc.unary_unary_rpc_method_handler(wait_for_all)}
    settings = replace(SETTINGS, max_concurrent_calls=3000)
    async with running(HandlerService(handlers), settings=settings) as channel:
        answers = await asyncio.gather(*(call(channel, "Wait", seconds=120) for _ in range(3000)))
    assert answers == [b"hello"] * 3000


async def test_calls_above_the_limit_are_refused_with_a_time_to_wait():
    release = asyncio.Event()

    async def wait(request, context):
        await release.wait()
        return request

    handlers: Handlers = {
        "Wait": grpc.unary_unary_rpc_method_handler(wait),
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
    }
    settings = replace(SETTINGS, max_concurrent_calls=5)
    async with running(HandlerService(handlers), settings=settings) as channel:
        calls = [asyncio.create_task(call(channel, "Wait", seconds=60)) for _ in range(50)]
        ended = asyncio.as_completed(calls)
        for _ in range(45):
            with pytest.raises(errors.ResourceExhausted) as caught:
                await next(ended)
            assert caught.value.reason == "SERVER_OVERLOADED"
            assert caught.value.metadata == {"limit": "5"}
            cause = caught.value.__cause__
            assert isinstance(cause, aio.AioRpcError)
            assert dict(tuple(cause.trailing_metadata()))["grpc-retry-pushback-ms"] == "250"
        release.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert results.count(b"hello") == 5
        assert await call(channel, "Echo") == b"hello"


async def test_a_client_that_leaves_cancels_its_handler():
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(request, context):
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    handlers: Handlers = {"Wait": grpc.unary_unary_rpc_method_handler(wait)}
    async with running(HandlerService(handlers)) as channel:
        leaving = asyncio.create_task(call(channel, "Wait", seconds=60))
        await began.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        async with asyncio.timeout(20):
            await cancelled.wait()


async def test_a_passed_deadline_is_a_deadline_error():
    async def wait(request, context):
        await asyncio.Event().wait()

    handlers: Handlers = {"Wait": grpc.unary_unary_rpc_method_handler(wait)}
    async with running(HandlerService(handlers)) as channel:
        with pytest.raises(errors.DeadlineExceeded):
            await call(channel, "Wait", seconds=0.05)


async def test_endless_streams_end_as_unavailable_when_the_server_stops():
    async def watch(request, context):
        yield b"first"
        await asyncio.Event().wait()

    handlers: Handlers = {"WatchThings": grpc.unary_stream_rpc_method_handler(watch)}
    ended: list[errors.BurnishError] = []

    async def watch_to_the_end(channel: aio.Channel, seen: asyncio.Event) -> None:
        stream: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            PREFIX + "WatchThings"
        )
        try:
            async with rpc.translated():
                async for _ in stream(b""):
                    seen.set()
        except errors.BurnishError as error:
            ended.append(error)

    where = ServerAddress()
    seen = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        async with running(where.wrap(HandlerService(handlers))):
            other = await stack.enter_async_context(rpc.connect(where.address, token="test-token"))
            watching = asyncio.create_task(watch_to_the_end(other, seen))
            await seen.wait()
        await watching
    assert [error.reason for error in ended] == ["SHUTTING_DOWN"]
    assert ended[0].retryable


async def test_logs_of_calls_hold_no_content():
    with structlog.testing.capture_logs() as lines:
        async with running(service()) as channel:
            await call(channel, "Echo", body=b"canary-body")
            with pytest.raises(errors.FailedPrecondition):
                await call(channel, "Refuse", body=b"canary-body")
    events = [(line["event"], line["log_level"]) for line in lines if "method" in line]
    assert ("call_refused", "info") in events
    assert all(level == "debug" for event, level in events if event == "call_ended")
    assert "canary" not in repr(lines)
    assert "test-token" not in repr(lines)
