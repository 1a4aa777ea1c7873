"""Serves a task app over HTTP: the whole published contract, both generations of it.

Every answer is JSON. An error is `{"detail": {"error": {"code", "message"}}}`. Without a key the
app is open to callers on this machine and closed to everybody else, and `/health` says so.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from burnish.errors import BurnishError, InvalidArgument
from burnish.task_app.app import TaskApp
from burnish.task_app.auth import AppKeys, is_loopback, offered_keys
from burnish.task_app.chat import ChatClient
from burnish.task_app.info_body import info_body, program_body, seed_body, taskset_body
from burnish.task_app.jsonwire import BodyInvalid, parse_object
from burnish.task_app.rollout_body import parse_request, reply_body

ATTEMPT_HEADER = "x-burnish-attempt"
_MAX_BODY = 10 * 1024 * 1024
_MAX_SEEDS = 1000
_OPEN_PATHS = frozenset({"/", "/health"})
_log = logging.getLogger("burnish.task_app")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A task app being served over HTTP.

    Attributes:
        url: Where it listens.
    """

    url: str
    _runner: web.AppRunner
    _calls: ChatClient

    async def stop(self) -> None:
        """Finishes what runs, then closes everything."""
        await self._runner.cleanup()
        await self._calls.close()


async def start_http(
    app: TaskApp, *, host: str = "127.0.0.1", port: int = 0, keys: AppKeys | None = None
) -> HttpServer:
    """Starts serving a task app.

    Args:
        app: The app.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        keys: Accepted keys; None reads them from the environment.
    """
    calls = ChatClient()
    accepted = AppKeys.from_environment() if keys is None else keys
    routes = _Routes(app=app, keys=accepted, calls=calls, local=is_loopback(host))
    runner = web.AppRunner(routes.application(), access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024)
    await site.start()
    bound = runner.addresses[0]
    shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return HttpServer(f"http://{shown}:{bound[1]}", runner, calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Routes:
    app: TaskApp
    keys: AppKeys
    calls: ChatClient
    local: bool

    def application(self) -> web.Application:
        application = web.Application(
            middlewares=[self._errors, self._authorise], client_max_size=_MAX_BODY
        )
        application.router.add_get("/", self.root)
        application.router.add_get("/health", self.health)
        application.router.add_get("/info", self.info)
        application.router.add_get("/task_info", self.task_info)
        application.router.add_post("/rollout", self.rollout)
        application.router.add_get("/metadata", self.metadata)
        application.router.add_post("/done", self.done)
        return application

    async def root(self, request: web.Request) -> web.Response:
        return _json({"status": "ok", "service": self.app.id})

    async def health(self, request: web.Request) -> web.Response:
        usable = self.keys.required or self.local
        auth: dict[str, Any] = {"required": self.keys.required, "header": "X-API-Key"}
        if not self.keys.required:
            auth["note"] = "no key is set: open to callers on this machine only"
        body = {"healthy": usable, "status": "ok" if usable else "missing key", "auth": auth}
        return _json({**body, "service": self.app.id}, status=200 if usable else 503)

    async def info(self, request: web.Request) -> web.Response:
        return _json(info_body(self.app.info(), version=self.app.version))

    async def task_info(self, request: web.Request) -> web.Response:
        raw = request.query.getall("seed", []) + request.query.getall("seeds", [])
        seeds = [_seed(text) for text in raw]
        if not seeds:
            return _json(taskset_body(self.app.info(), version=self.app.version))
        if len(seeds) > _MAX_SEEDS:
            raise InvalidArgument(f"{len(seeds)} seeds asked for; ask for at most {_MAX_SEEDS}")
        bodies = [self._seed_info(seed) for seed in seeds]
        return _json(bodies[0] if len(bodies) == 1 else bodies)

    async def rollout(self, request: web.Request) -> web.Response:
        body = parse_object(await request.read(), what="rollout request")
        attempt = request.headers.get(ATTEMPT_HEADER, "1")
        asked = parse_request(
            body,
            cid=request.query.get("cid", ""),
            attempt=int(attempt) if attempt.isdecimal() and len(attempt) < 10 else 1,
        )
        outcome = await self.app.run(asked, self.calls)
        return _json(reply_body(asked, outcome))

    async def metadata(self, request: web.Request) -> web.Response:
        if self.app.program is None:
            return _error(404, code="no_metadata", message="the app tells nothing of its program")
        return _json(program_body(self.app.program))

    async def done(self, request: web.Request) -> web.Response:
        return _json({"ok": True, "service": self.app.id})

    def _seed_info(self, seed: int) -> dict[str, Any]:
        return seed_body(
            self.app.info(),
            seed,
            version=self.app.version,
            example=self.app.example_of(seed),
        )

    @web.middleware
    async def _errors(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _error(error.status, code="http_error", message=error.reason)
        except InvalidArgument as error:
            return _error(400, code=error.reason.lower(), message=error.message)
        except BurnishError as error:
            return _error(500, code=error.reason.lower(), message=error.message)
        except Exception:
            _log.exception("request failed (%s %s)", request.method, request.path)
            return _error(500, code="internal", message="see the app's log")

    @web.middleware
    async def _authorise(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.path in _OPEN_PATHS:
            return await handler(request)
        if not self.keys.required:
            # A page in a browser on this machine is no local caller: it carries an Origin.
            if self.local and "Origin" not in request.headers:
                return await handler(request)
            return _error(
                503,
                code="missing_environment_api_key",
                message="the app has no key and is not open; set ENVIRONMENT_API_KEY for it",
            )
        offered = offered_keys({name.lower(): value for name, value in request.headers.items()})
        if self.keys.accept(offered):
            return await handler(request)
        return _error(
            401,
            code="unauthorised",
            message="the key is missing or wrong; send the app's ENVIRONMENT_API_KEY as X-API-Key",
        )


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BodyInvalid("a seed of the query is no whole number from 0; give digits")
    return int(text)


def _json(body: dict[str, Any] | list[dict[str, Any]], *, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(body, separators=(",", ":")).encode(),
        status=status,
        content_type="application/json",
    )


def _error(status: int, *, code: str, message: str) -> web.Response:
    return _json({"detail": {"error": {"code": code, "message": message}}}, status=status)
