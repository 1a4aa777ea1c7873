"""Serves the local models over HTTP in the shape of OpenAI's chat completions."""

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from aiohttp import web

from burnish.local.chat import BadChatRequest, ChatRequest, parse_chat_request
from burnish.local.completion import FINGERPRINT, Choice, Completion, chunks, reply
from burnish.local.models import (
    MODEL_IDS,
    READER,
    LocalModels,
    describe_model,
    unknown_model,
)

# A short listen queue resets connections as soon as some tens of clients start together.
_BACKLOG: Final = 4096
_BODY_LIMIT: Final = 64 * 1024 * 1024
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServerOptions:
    """What a server simulates: nothing by default.

    `latency_seconds` is added to every completion. `failure_rate` in [0, 1] is the share of
    completions answered with 503, drawn from `failure_seed` by order of arrival and never by what a
    prompt says.
    """

    latency_seconds: float = 0.0
    failure_rate: float = 0.0
    failure_seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServer:
    """A running server; `base_url` ends in `/v1` and is what an OpenAI client wants."""

    base_url: str
    runner: web.AppRunner

    async def stop(self) -> None:
        """Closes the listening socket and all connections; calling it twice is fine."""
        await self.runner.cleanup()


async def start_local_server(
    host: str = "127.0.0.1", port: int = 0, *, options: LocalServerOptions | None = None
) -> LocalServer:
    """Starts a server; port 0 takes a free one.

    Raises:
        OSError: The address cannot be listened on.
    """
    app = create_app(options or LocalServerOptions(), clock=time.time)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
    except OSError:
        await runner.cleanup()
        raise
    bound = runner.addresses[0]
    name = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return LocalServer(base_url=f"http://{name}:{bound[1]}/v1", runner=runner)


def create_app(options: LocalServerOptions, *, clock: Callable[[], float]) -> web.Application:
    """Returns the web application; `clock` gives seconds since the epoch."""
    routes = _Routes(options, clock)
    app = web.Application(client_max_size=_BODY_LIMIT, middlewares=[_errors])
    app.router.add_post("/v1/chat/completions", routes.complete)
    app.router.add_get("/v1/models", routes.list_models)
    app.router.add_get("/v1/models/{model}", routes.get_model)
    app.router.add_get("/healthz", routes.health)
    return app


class _Routes:
    def __init__(self, options: LocalServerOptions, clock: Callable[[], float]) -> None:
        self._options = options
        self._clock = clock
        self._models = LocalModels()
        self._failures = Random(options.failure_seed)  # noqa: S311
        self._numbers = itertools.count(1)

    async def complete(self, http: web.Request) -> web.StreamResponse:
        body = await http.read()
        fails = self._failures.random() < self._options.failure_rate
        if self._options.latency_seconds > 0:
            await asyncio.sleep(self._options.latency_seconds)
        if fails:
            message = "simulated failure; the server runs with a failure rate"
            return _error(503, message, kind="server_error", code="simulated_failure")
        request = parse_chat_request(body)
        completion = Completion(
            request=request,
            choices=await self._answer(request),
            reply_id=f"chatcmpl-local-{next(self._numbers):016d}",
            created=int(self._clock()),
        )
        if not request.stream:
            return _json(reply(completion))
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )
        await response.prepare(http)
        for chunk in chunks(completion):
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _answer(self, request: ChatRequest) -> tuple[Choice, ...]:
        if request.model == READER:
            # A query of a known prompt takes a fraction of a millisecond: less than a hop to a
            # thread.
            return self._models.answer(request)
        return await asyncio.to_thread(self._models.answer, request)

    async def list_models(self, _http: web.Request) -> web.StreamResponse:
        return _json({"object": "list", "data": [describe_model(each) for each in MODEL_IDS]})

    async def get_model(self, http: web.Request) -> web.StreamResponse:
        model = http.match_info["model"]
        if model not in MODEL_IDS:
            raise unknown_model(model)
        return _json(describe_model(model))

    async def health(self, _http: web.Request) -> web.StreamResponse:
        return _json({"status": "ok", "system_fingerprint": FINGERPRINT})


@web.middleware
async def _errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadChatRequest as error:
        kind = "invalid_request_error"
        return _error(error.status, error.message, kind=kind, code=error.kind, param=error.param)
    except web.HTTPException as error:
        message = f"{error.reason}: {request.method} {request.path}"
        return _error(error.status, message, kind="invalid_request_error")


def _json(body: Any, *, status: int = 200) -> web.Response:  # noqa: ANN401
    encoded = json.dumps(body, ensure_ascii=False).encode()
    return web.Response(body=encoded, status=status, content_type="application/json")


def _error(
    status: int, message: str, *, kind: str, code: str | None = None, param: str | None = None
) -> web.Response:
    error = {"message": message, "type": kind, "param": param, "code": code}
    return _json({"error": error}, status=status)
