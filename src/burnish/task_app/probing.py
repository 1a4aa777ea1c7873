"""How a conformance check speaks to a task app: plain questions over HTTP or gRPC."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Protocol

import aiohttp

from burnish.errors import BurnishError, InvalidArgument, PermissionDenied, Unauthenticated
from burnish.task_app.info_body import (
    parse_example,
    parse_info,
    parse_program,
    parse_seed_infos,
)
from burnish.task_app.jsonwire import parse_object, parse_value, section
from burnish.task_app.model import Example, Program, RolloutReply, RolloutRequest, TaskInfo
from burnish.task_app.rollout_body import parse_reply, request_body

_WRONG_KEY = "0" * 32
_ABSENT = frozenset({404, 405, 501})
_START = "start the app, or correct its address"


class ProbeRefused(InvalidArgument):
    """The app answered a question with something that is no answer.

    Attributes:
        status: HTTP status; None when there is none.
        fix: What to change.
    """

    default_reason = "PROBE_REFUSED"

    def __init__(self, message: str, *, fix: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.fix = fix


class Prober(Protocol):
    """Asks a task app. Each question raises `ProbeRefused` when it is not answered."""

    has_older: bool

    async def health(self) -> None:
        """Asks whether the app is well."""

    async def refuses_wrong_key(self) -> bool | None:
        """Asks with a wrong key; None when the app asks for none."""

    async def info(self) -> TaskInfo:
        """Asks what the task is."""

    async def seed_shapes(self, seeds: Sequence[int]) -> int | None:
        """Asks about single seeds and several at once; None when there is no such question."""

    async def examples(self, seeds: Sequence[int]) -> list[Example] | None:
        """Asks for labelled examples; None when the app shows none."""

    async def program(self) -> Program | None:
        """Asks for the program; None when the app tells nothing."""

    async def rollout(self, request: RolloutRequest, *, older: bool = False) -> RolloutReply:
        """Asks for a rollout, on wish as the first generation of the contract did."""

    async def done(self) -> bool:
        """Says that the work is over; False when the app has no ear for it."""

    async def close(self) -> None:
        """Closes the connections."""


class HttpProber:
    """A `Prober` over HTTP."""

    has_older = True

    def __init__(self, url: str, *, api_key: str | None, seconds: float) -> None:
        self._base = url.rstrip("/")
        self._key = {} if api_key is None else {"x-api-key": api_key}
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def health(self) -> None:
        """Asks whether the app is well."""
        status, text = await self._send("GET", "/health", key=self._key)
        if status not in {200, 400, 401, 403} or _json(text).get("healthy") is False:
            raise ProbeRefused(
                f"`/health` answers with status {status}",
                fix='answer it with status 200 and {"healthy": true}',
                status=status,
            )

    async def refuses_wrong_key(self) -> bool | None:
        """Asks with a wrong key."""
        open_status, _ = await self._send("GET", "/info", key={})
        wrong_status, _ = await self._send("GET", "/info", key={"x-api-key": _WRONG_KEY})
        if open_status == wrong_status == 200:
            _, text = await self._send("GET", "/health", key={})
            required = section(_json(text), "auth").get("required") is True
            return False if required else None
        return wrong_status in {400, 401, 403}

    async def info(self) -> TaskInfo:
        """Asks what the task is."""
        bodies = []
        for path in ("/info", "/task_info"):
            status, text = await self._send("GET", path, key=self._key)
            if status in {400, 401, 403}:
                raise ProbeRefused(
                    f"`{path}` refuses the key with status {status}",
                    fix="give the app's ENVIRONMENT_API_KEY",
                    status=status,
                )
            bodies.append(_json(text) if status == 200 else {})
        return parse_info(bodies[0], bodies[1])

    async def seed_shapes(self, seeds: Sequence[int]) -> int:
        """Asks about one seed, then several at once."""
        for chunk in (seeds[:1], seeds):
            status, text = await self._task_info(chunk)
            if status != 200:
                raise ProbeRefused(
                    f"`/task_info` for {len(chunk)} seeds answers with status {status}",
                    fix="accept `?seed=` and repeated `?seeds=`",
                    status=status,
                )
            parse_seed_infos(parse_value(text, what="`/task_info`"), chunk)
        return len(seeds)

    async def examples(self, seeds: Sequence[int]) -> list[Example] | None:
        """Asks for labelled examples."""
        status, text = await self._task_info(seeds)
        if status != 200:
            return None
        bodies = parse_seed_infos(parse_value(text, what="`/task_info`"), seeds)
        found = [parse_example(body, seed=seed) for body, seed in zip(bodies, seeds, strict=True)]
        if not any(found):
            return None
        return [example for example in found if example is not None]

    async def program(self) -> Program | None:
        """Asks for the program."""
        status, text = await self._send("GET", "/metadata", key=self._key)
        return parse_program(_json(text)) if status == 200 else None

    async def rollout(self, request: RolloutRequest, *, older: bool = False) -> RolloutReply:
        """Asks for a rollout."""
        body = request_body(request)
        if older:
            del body["trace_correlation_id"]
            body["mode"] = "rl"
            body["record"] = {"return_trace": False, "trace_format": "compact"}
            config = body["policy"]["config"]
            config["max_tokens"] = config.pop("max_completion_tokens", 64)
        status, text = await self._send("POST", "/rollout", key=self._key, body=body)
        if status != 200:
            raise ProbeRefused(
                f"`/rollout` answers with status {status}",
                fix="accept the request as docs/task-apps.md shows it; see the app's log",
                status=status,
            )
        return parse_reply(parse_object(text, what="rollout reply"))

    async def done(self) -> bool:
        """Says that the work is over."""
        status, _ = await self._send("POST", "/done", key=self._key, body={})
        return status == 200

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    async def _task_info(self, seeds: Sequence[int]) -> tuple[int, bytes]:
        name = "seed" if len(seeds) == 1 else "seeds"
        query = "&".join(f"{name}={seed}" for seed in seeds)
        return await self._send("GET", f"/task_info?{query}", key=self._key)

    async def _send(
        self, method: str, path: str, *, key: dict[str, str], body: dict[str, Any] | None = None
    ) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        data = None if body is None else json.dumps(body).encode()
        headers = key if data is None else {**key, "content-type": "application/json"}
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._session.request(
                    method, self._base + path, data=data, headers=headers, allow_redirects=False
                ) as reply,
            ):
                return reply.status, await reply.read()
        except (TimeoutError, aiohttp.ClientError) as error:
            name = type(error).__name__
            where = path.partition("?")[0]
            raise ProbeRefused(f"`{where}` gives no reply ({name})", fix=_START) from None


def _json(text: bytes) -> dict[str, Any]:
    try:
        return parse_object(text, what="reply")
    except BurnishError:
        # A page in plain text tells nothing; what has to be there is missed where it is read.
        return {}


class GrpcProber:
    """A `Prober` over gRPC."""

    has_older = False

    def __init__(self, uri: str, *, api_key: str | None, seconds: float) -> None:
        # grpc is not imported for an app that is checked over HTTP: it costs start-up time.
        from burnish.task_app.grpc_caller import GrpcCaller

        self._target = uri.removeprefix("grpc://").rstrip("/")
        self._caller = GrpcCaller(self._target, api_key=api_key, seconds=seconds)
        self._stranger = GrpcCaller(self._target, api_key=_WRONG_KEY, seconds=seconds)

    async def health(self) -> None:
        """Asks whether the app is well."""
        try:
            await self._caller.info()
        except (Unauthenticated, PermissionDenied) as error:
            raise ProbeRefused(error.message, fix="give the app's ENVIRONMENT_API_KEY") from None
        except BurnishError as error:
            message = f"`GetTaskInfo` answers {error.code.name}"
            raise ProbeRefused(message, fix=_START) from None

    async def refuses_wrong_key(self) -> bool | None:
        """Asks with a wrong key."""
        try:
            await self._stranger.info()
        except (Unauthenticated, PermissionDenied):
            return True
        return None

    async def info(self) -> TaskInfo:
        """Asks what the task is."""
        return await self._caller.info()

    async def seed_shapes(self, seeds: Sequence[int]) -> int | None:
        """There is no such question over gRPC."""
        return None

    async def examples(self, seeds: Sequence[int]) -> list[Example] | None:
        """Asks for labelled examples."""
        return await self._caller.examples(seeds)

    async def program(self) -> Program | None:
        """Asks for the program."""
        return await self._caller.program()

    async def rollout(self, request: RolloutRequest, *, older: bool = False) -> RolloutReply:
        """Asks for a rollout."""
        return await self._caller.run(request)

    async def done(self) -> bool:
        """There is no such call over gRPC."""
        return False

    async def close(self) -> None:
        """Closes the connections."""
        await self._caller.close()
        await self._stranger.close()
