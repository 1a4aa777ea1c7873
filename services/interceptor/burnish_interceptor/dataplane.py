"""The HTTP side of the interceptor: routes requests, and tells what goes wrong in OpenAI's form."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace

import orjson
import structlog

from burnish.errors import BurnishError, NotFound
from burnish_interceptor import app_error, routes
from burnish_interceptor.app_error import AppError
from burnish_interceptor.dialects import PARSERS, BadRequest
from burnish_interceptor.offline import CallRefused, Incoming, OfflineCalls
from burnish_interceptor.online import OnlineCall, OnlineCalls
from burnish_interceptor.policies.cache import PolicyCache
from burnish_interceptor.policies.policy import Policy
from burnish_interceptor.routes import Route, Tail
from burnish_interceptor.transport.exchange import Exchange, Request
from burnish_runtime.rollout_token import RolloutGrant, TokenRefused, TokenSealer

_log = structlog.get_logger("burnish.interceptor.http")
_JSON = "application/json"
_ALLOW = "GET, HEAD, POST, OPTIONS"


class DataPlane:
    """Handles every request of the listener."""

    def __init__(
        self,
        *,
        sealer: TokenSealer | None,
        policies: PolicyCache,
        offline: OfflineCalls,
        online: OnlineCalls,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Takes its parts; without a sealer no rollout URL is accepted."""
        self._sealer = sealer
        self._policies = policies
        self._offline = offline
        self._online = online
        self._wall_clock = wall_clock

    async def handle(self, request: Request, exchange: Exchange) -> None:
        """Answers one request, whatever happens."""
        request_id = f"req_{uuid.uuid4().hex}"
        try:
            await self._route(request, exchange, request_id)
        except CallRefused as refused:
            _send_error(exchange, refused.error, request_id)
        except BadRequest as error:
            _send_error(exchange, app_error.invalid(str(error)), request_id)
        except BurnishError as error:
            _log.warning("call_failed", request_id=request_id, reason=error.reason)
            _send_error(exchange, _told(error), request_id)
        except Exception:
            _log.exception("call_broke", request_id=request_id)
            _send_error(exchange, _broken(), request_id)
        _log.debug(
            "request", id=request_id, method=request.method, path=routes.redacted(request.target)
        )

    async def _route(self, request: Request, exchange: Exchange, request_id: str) -> None:
        method = request.method
        if method == "OPTIONS":
            exchange.send(204, {"allow": _ALLOW}, b"")
            return
        if request.target.partition("?")[0] in ("/healthz", "/"):
            _require(method in ("GET", "HEAD"))
            exchange.send(200, {"content-type": _JSON}, b'{"status":"ok"}')
            return
        route = routes.parse(request.target)
        if route is None or route.tail is Tail.OTHER:
            raise CallRefused(app_error.invalid("no such path", status=404, code="not_found"))
        grant = self._grant(route)
        if grant is None:
            self._online.authorise(request.headers)
        if route.tail is Tail.MODELS:
            _require(method in ("GET", "HEAD"))
            policy = await self._policies.policy(grant.policy if grant else route.segment)
            _send_models(exchange, policy, route.model, request_id)
            return
        _require(method == "POST")
        parsed = PARSERS[route.tail](request.body)
        if grant is not None:
            incoming = Incoming(
                request_id=request_id,
                grant=grant,
                request=parsed,
                headers=request.headers,
                shape=route.shape,
            )
            await self._offline.serve(incoming, exchange)
            return
        call = OnlineCall(
            request_id=request_id,
            policy=route.segment,
            rollout=request.headers.get("x-burnish-rollout") or route.rollout or request_id,
            request=parsed,
            hint=request.headers.get("x-burnish-stage", ""),
            shape=route.shape,
        )
        await self._online.serve(call, exchange)

    def _grant(self, route: Route) -> RolloutGrant | None:
        """Returns what the URL's token grants, or None when the URL names an online policy."""
        try:
            if self._sealer is None:
                raise TokenRefused("no token key is set")
            return self._sealer.open(route.segment, now=self._wall_clock())
        except TokenRefused:
            if not route.token_only:
                return None
            # One answer for forged, foreign and expired, so that nothing can be learnt from it.
            raise CallRefused(
                app_error.invalid(
                    "the rollout URL is not valid; use the one given for the rollout",
                    status=404,
                    code="rollout_unknown",
                )
            ) from None


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


def _broken() -> AppError:
    return AppError(
        status=500, kind="server_error", code="internal", message="the suite failed; see its log"
    )


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
