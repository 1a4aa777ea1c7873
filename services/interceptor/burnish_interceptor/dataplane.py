"""The HTTP side of the interceptor: routes requests, and tells what goes wrong in OpenAI's form."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import orjson
import structlog

from burnish.errors import BurnishError, NotFound
from burnish_interceptor import app_error, routes
from burnish_interceptor.app_error import AppError
from burnish_interceptor.asked import Asked
from burnish_interceptor.dialects import PARSERS, BadRequest
from burnish_interceptor.offline import Incoming, OfflineCalls
from burnish_interceptor.online import OnlineCalls
from burnish_interceptor.online_call import Arrival
from burnish_interceptor.policies.cache import PolicyCache
from burnish_interceptor.policies.policy import Policy
from burnish_interceptor.refused import CallRefused
from burnish_interceptor.routes import Route, Shape, Tail
from burnish_interceptor.seen import ONLINE
from burnish_interceptor.telemetry import Recorder
from burnish_interceptor.transport.exchange import Exchange, Head, Request
from burnish_runtime.rollout_token import RolloutGrant, TokenRefused, TokenSealer

_log = structlog.get_logger("burnish.interceptor.http")
_JSON = "application/json"
_ALLOW = "GET, HEAD, POST, OPTIONS"
_MAX_ROUTES = 4096
_ID_BYTES = 16
_CALLS = tuple(PARSERS)


Work = Coroutine[Any, Any, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneOptions:
    """How the data plane answers.

    Attributes:
        access_log: Whether every request is logged.
        rng: Makes the ids of requests.
        wall_clock: Unix seconds.
    """

    access_log: bool = False
    rng: random.Random = field(default_factory=random.Random)
    wall_clock: Callable[[], float] = time.time


class DataPlane:
    """Handles every request of the listener."""

    def __init__(
        self,
        *,
        sealer: TokenSealer | None,
        policies: PolicyCache,
        offline: OfflineCalls,
        online: OnlineCalls,
        recorder: Recorder,
        options: PlaneOptions | None = None,
    ) -> None:
        """Takes its parts; without a sealer no rollout URL is accepted."""
        self._sealer = sealer
        self._policies = policies
        self._offline = offline
        self._online = online
        self._recorder = recorder
        self._options = options if options is not None else PlaneOptions()
        self._random_bytes = self._options.rng.randbytes
        self._routed = lru_cache(maxsize=_MAX_ROUTES)(routes.parse)

    def handle(self, request: Request, exchange: Exchange) -> Work | None:
        """Answers one request, whatever happens, or returns what answers it."""
        request_id = "req_" + self._random_bytes(_ID_BYTES).hex()
        if self._options.access_log:
            path = routes.redacted(request.head.target)
            _log.debug("request", id=request_id, method=request.head.method, path=path)
        try:
            work = self._route(request, exchange, request_id)
        except Exception as error:
            self._fail(error, exchange, request_id)
            return None
        return self._guarded(work, exchange, request_id) if work is not None else None

    async def _guarded(self, work: Work, exchange: Exchange, request_id: str) -> None:
        try:
            await work
        except Exception as error:
            self._fail(error, exchange, request_id)

    def _fail(self, error: Exception, exchange: Exchange, request_id: str) -> None:
        """Tells the app what went wrong; what nobody foresaw is logged."""
        if isinstance(error, CallRefused):
            told = error.error
        elif isinstance(error, BadRequest):
            told = app_error.invalid(str(error))
        elif isinstance(error, BurnishError):
            _log.warning("call_failed", request_id=request_id, reason=error.reason)
            told = _told(error)
        else:
            _log.error("call_broke", request_id=request_id, exc_info=error)
            told = app_error.broken()
        self._recorder.metrics.refused(told.status, mode=ONLINE)
        _send_error(exchange, told, request_id)

    def _route(self, request: Request, exchange: Exchange, request_id: str) -> Work | None:
        head = request.head
        known = head.known
        if isinstance(known, Arrival):
            return self._online.serve(
                known, Asked(request_id, request.body, known.traceparent), exchange
            )
        route = self._routed(head.target)
        if route is None or head.method != "POST" or route.tail not in _CALLS:
            return self._other(route, head, exchange, request_id)
        grant = self._grant(route)
        headers = head.headers
        asked = Asked(request_id, request.body, headers.get("traceparent", ""))
        if grant is None:
            self._online.authorise(headers)
            arrival = head.known = Arrival(
                tail=route.tail,
                policy=route.segment,
                rollout=headers.get("x-burnish-rollout") or route.rollout,
                hint=headers.get("x-burnish-stage", ""),
                shape=route.shape,
                traceparent=asked.traceparent,
            )
            return self._online.serve(arrival, asked, exchange)
        asked.request = PARSERS[route.tail](request.body)
        incoming = Incoming(asked=asked, grant=grant, headers=headers, shape=route.shape)
        return self._offline.serve(incoming, exchange)

    def _other(
        self, route: Route | None, head: Head, exchange: Exchange, request_id: str
    ) -> Work | None:
        """Answers what is no call."""
        method = head.method
        if method == "OPTIONS":
            exchange.send(204, {"allow": _ALLOW}, b"")
            return None
        if route is not None and route.tail is not Tail.OTHER:
            grant = self._grant(route)
            if grant is None:
                self._online.authorise(head.headers)
            _require(route.tail is Tail.MODELS and method in ("GET", "HEAD"))
            policy_id = grant.policy if grant is not None else route.segment
            return self._models(policy_id, route.model, exchange, request_id)
        if head.target.partition("?")[0] not in ("/healthz", "/"):
            raise CallRefused(app_error.invalid("no such path", status=404, code="not_found"))
        _require(method in ("GET", "HEAD"))
        exchange.send(200, {"content-type": _JSON}, b'{"status":"ok"}')
        return None

    async def _models(
        self, policy_id: str, model: str, exchange: Exchange, request_id: str
    ) -> None:
        _send_models(exchange, await self._policies.policy(policy_id), model, request_id)

    def _grant(self, route: Route) -> RolloutGrant | None:
        """Returns what the URL's token grants, or None when the URL names an online policy."""
        if route.shape is Shape.POLICY and self._policies.known(route.segment) is not None:
            return None
        try:
            if self._sealer is None:
                raise TokenRefused("no token key is set")
            return self._sealer.open(route.segment, now=self._options.wall_clock())
        except TokenRefused:
            if not route.token_only:
                return None
            raise CallRefused(app_error.rollout_unknown()) from None


def _require(allowed: object) -> None:
    if not allowed:
        error = app_error.invalid(
            "the method is not allowed", status=405, code="method_not_allowed"
        )
        raise CallRefused(replace(error, headers={**error.headers, "allow": _ALLOW}))


def _told(error: BurnishError) -> AppError:
    if error.retryable:
        return app_error.unavailable(
            "the suite cannot serve the call now; try again", code=error.reason.lower()
        )
    if isinstance(error, NotFound):
        return app_error.unavailable(
            "the policy of this URL is not known here", code="policy_unknown", retry_after=5
        )
    return app_error.unavailable("the suite failed to serve the call", code=error.reason.lower())


def _send_error(exchange: Exchange, error: AppError, request_id: str) -> None:
    if exchange.started:
        exchange.abort()
        return
    headers = {"content-type": _JSON, **_ids(request_id), **error.headers}
    exchange.send(error.status, headers, error.body(request_id))


def _ids(request_id: str) -> dict[str, str]:
    return {"x-request-id": request_id, "x-burnish-request-id": request_id}


def _send_models(exchange: Exchange, policy: Policy, model: str, request_id: str) -> None:
    names = list(dict.fromkeys(stage.model.name for stage in policy.stages))
    entries = [
        {"id": name, "object": "model", "created": 0, "owned_by": "burnish"} for name in names
    ]
    if model and model not in names:
        raise CallRefused(app_error.invalid("no such model", status=404, code="model_not_found"))
    body = entries[names.index(model)] if model else {"object": "list", "data": entries}
    headers = {"content-type": _JSON, **_ids(request_id)}
    exchange.send(200, headers, orjson.dumps(body))
