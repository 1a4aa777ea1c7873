"""The server kit, seen through a real channel."""

import grpc
import pytest
from grpc import aio

from burnish import rpc
from burnish.errors import FailedPrecondition, Internal, InvalidArgument
from burnish_runtime.testing import HandlerService, running

PREFIX = "/burnish.testing.v1.HandlerService/"


async def echo(request, context):
    return request


async def break_down(request, context):
    raise RuntimeError("the key is sk-canary")


async def refuse(request, context):
    raise FailedPrecondition(
        "study `studies/a` is closed; open it",
        reason="STUDY_CLOSED",
        metadata={"study": "studies/a"},
    )


def service() -> HandlerService:
    return HandlerService(
        {
            "Echo": grpc.unary_unary_rpc_method_handler(echo),
            "BreakDown": grpc.unary_unary_rpc_method_handler(break_down),
            "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
        }
    )


async def call(channel: aio.Channel, method: str, *, seconds: float | None = 10.0) -> bytes:
    send: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREFIX + method)
    async with rpc.translated():
        return await send(b"hello", timeout=seconds)


async def test_a_call_with_token_and_deadline_is_answered():
    async with running(service()) as channel:
        assert await call(channel, "Echo") == b"hello"


async def test_a_raised_error_arrives_with_its_class_reason_and_metadata():
    async with running(service()) as channel:
        with pytest.raises(FailedPrecondition) as caught:
            await call(channel, "Refuse")
    assert caught.value.reason == "STUDY_CLOSED"
    assert caught.value.metadata == {"study": "studies/a"}
    assert caught.value.message == "study `studies/a` is closed; open it"


async def test_an_unexpected_exception_keeps_its_text():
    async with running(service()) as channel:
        with pytest.raises(Internal) as caught:
            await call(channel, "BreakDown")
    assert "canary" not in repr(caught.value.__cause__)
    assert caught.value.reason == "INTERNAL"


async def test_a_call_without_a_deadline_is_refused():
    async with running(service()) as channel:
        with pytest.raises(InvalidArgument) as caught:
            await call(channel, "Echo", seconds=None)
    assert caught.value.reason == "DEADLINE_REQUIRED"
