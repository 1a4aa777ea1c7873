"""Serves the scoring endpoints: who may ask, how long a body may be, and errors as JSON."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog
from aiohttp import web

from burnish import rpc
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import BurnishError, Code, InvalidArgument
from burnish_controller.gateway import ScoringDesk
from burnish_controller.http_api.bodies import answer, read_body, referred_rollout, with_trace
from burnish_controller.peers import CALL_SECONDS, Peers

PATHS = (
    "/api/judge/v1/score",
    "/api/graphs/verifiers/completions",
    "/api/graphs/completions",
)
_MAX_BYTES = 16 * 1024 * 1024
_SHUTDOWN_SECONDS = 5.0
_STATUSES = {
    Code.INVALID_ARGUMENT: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.FAILED_PRECONDITION: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
_log = structlog.get_logger("burnish.controller.http_api")
TraceOf = Callable[[str], Awaitable[bytes]]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """How the endpoints are served.

    Attributes:
        token: Token that every request has to carry; None serves without.
        max_cost_usd: Most US dollars that the judges of one request may cost.
        clock: Seconds of a clock that never goes back.
    """

    token: str | None = field(repr=False)
    max_cost_usd: float = 0.0
    clock: Callable[[], float] = time.monotonic


class HttpApi:
    """The endpoints on an address of their own."""

    def __init__(
        self, desk: ScoringDesk, peers: Peers, traces: TraceOf, options: ApiOptions
    ) -> None:
        """Takes what the endpoints adapt.

        Args:
            desk: Scores.
            peers: The verifier, for its graphs.
            traces: Returns the trace of a rollout as JSON.
            options: How they are served.
        """
        self._desk = desk
        self._peers = peers
        self._traces = traces
        self._options = options
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> str:
        """Listens and returns the address, `host:port`."""
        app = web.Application(middlewares=[_errors, self._guard], client_max_size=_MAX_BYTES)
        for path in ("/health", "/api/health"):
            app.router.add_get(path, _health)
        for path in PATHS:
            app.router.add_post(path, self._score)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        found_host, found_port = self._runner.addresses[0][:2]
        return f"[{found_host}]:{found_port}" if ":" in found_host else f"{found_host}:{found_port}"

    async def stop(self) -> None:
        """Lets requests under way end, and closes."""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        token = self._options.token
        if token is not None and request.path in PATHS and not _carries(request, token):
            return _refusal(401, "UNAUTHENTICATED", "the token is missing or wrong")
        return await handler(request)

    async def _score(self, request: web.Request) -> web.Response:
        began = self._options.clock()
        try:
            body = json.loads(await request.read())
        except (ValueError, RecursionError):
            raise InvalidArgument("the body is no JSON", reason="BODY_INVALID") from None
        rollout = referred_rollout(body)
        if rollout:
            body = with_trace(body, json.loads(await self._traces(rollout)))
        asked = read_body(body, max_cost_usd=self._options.max_cost_usd)
        response = await self._desk.score(asked.request)
        get = verifier_v1.GetVerifierGraphRequest(name=response.verifier_graph)
        async with rpc.translated():
            found = await self._peers.verifier.GetVerifierGraph(get, timeout=CALL_SECONDS)
        ms = (self._options.clock() - began) * 1e3
        scored = response.scored_rollouts[0]
        return web.json_response(answer(asked, scored, found.verifier_graph, ms=ms))


async def _health(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


@web.middleware
async def _errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except BurnishError as error:
        return _refusal(_STATUSES.get(error.code, 500), error.reason, error.message)
    except web.HTTPException as error:
        return _refusal(error.status, f"HTTP_{error.status}", error.reason)
    except Exception:
        # A boundary: what nobody foresaw has the same form, and its cause is in the log.
        _log.exception("scoring_failed", path=request.path)
        return _refusal(500, "INTERNAL", "internal error; the log of the controller has it")


def _refusal(status: int, code: str, message: str) -> web.Response:
    return web.json_response(
        {"detail": {"error": {"code": code, "message": message}}}, status=status
    )


def _carries(request: web.Request, token: str) -> bool:
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    given = [request.headers.get("X-API-Key", "")]
    if scheme.lower() == "bearer":
        given.append(bearer.strip())
    # Bytes of a header that are no UTF-8 come as halves of characters.
    return any(
        hmac.compare_digest(one.encode(errors="surrogateescape"), token.encode()) for one in given
    )
