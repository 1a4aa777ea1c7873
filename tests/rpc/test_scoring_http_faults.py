"""The scoring endpoints over a socket when something behind them breaks."""

from types import SimpleNamespace
from typing import Any, cast

import aiohttp

from burnish.errors import Unavailable
from burnish_controller.gateway import ScoringDesk
from burnish_controller.http_api.server import PATHS, ApiOptions, HttpApi
from burnish_controller.peers import Peers

BODY = {"trace": {"event_history": [], "metadata": {}}, "output": "blue", "secret": "canary"}


async def answered(error: Exception) -> tuple[int, dict[str, Any]]:
    async def score(request: object) -> None:
        raise error

    async def trace(rollout: str) -> bytes:
        raise AssertionError("no trace is asked for")

    desk = cast(ScoringDesk, SimpleNamespace(score=score))
    api = HttpApi(desk, cast(Peers, SimpleNamespace()), trace, ApiOptions(token=None))
    address = await api.start("127.0.0.1", 0)
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://{address}{PATHS[0]}", json=BODY) as reply,
        ):
            return reply.status, (await reply.json())["detail"]["error"]
    finally:
        await api.stop()


async def test_what_nobody_foresaw_is_an_error_of_the_same_form_without_its_text():
    status, error = await answered(RuntimeError("canary"))
    assert (status, error["code"]) == (500, "INTERNAL")
    assert "canary" not in str(error)


async def test_a_verifier_that_is_away_is_told_as_such():
    status, error = await answered(Unavailable("the verifier is away", reason="AWAY"))
    assert (status, error["code"]) == (503, "AWAY")
