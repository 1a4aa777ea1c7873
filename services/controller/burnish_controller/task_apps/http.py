"""Speaks the HTTP contract to a task app, over one session with kept-alive connections."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence

import aiohttp

from burnish.errors import BurnishError
from burnish.task_app.info_body import parse_example, parse_info, parse_program, parse_seed_infos
from burnish.task_app.jsonwire import first_text, parse_object, parse_value, section
from burnish.task_app.model import RewardRange
from burnish.task_app.rollout_body import parse_reply, request_body
from burnish_controller.task_apps.address import AppAddress, GuardedResolver
from burnish_controller.task_apps.base import (
    KEY_REFUSED,
    AppExample,
    AppFailure,
    AppInfo,
    AppOptions,
    AppProgram,
    AppResult,
    RunRequest,
    TaskAppUnhealthy,
)
from burnish_controller.task_apps.rewards import judged

_SEEDS_PER_QUESTION = 100
_GRACE_SECONDS = 1.0
_KEY_REFUSED = frozenset({401, 403})
_PASSING = frozenset({408, 425, 429})
_NOT_OFFERED = frozenset({400, 404, 405, 422, 501})
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class _ReplyTooLong(Exception):
    """The app's reply is longer than is read."""


class HttpTaskApp:
    """A `TaskAppClient` over HTTP."""

    def __init__(self, address: AppAddress, *, api_key: str | None, options: AppOptions) -> None:
        self._base = str(address)
        self._headers = {} if api_key is None else {"x-api-key": api_key}
        self._options = options
        self._range = options.reward_range
        self._asking = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    async def check(self) -> AppInfo:
        """Asks whether the app is well, and what its task is."""
        status, body = await self._ask("/health")
        told = _object(body)
        if status != 200 and status not in _KEY_REFUSED and status != 400:
            raise self._unhealthy(f"`/health` answers with status {status}; see the app's log")
        if told.get("healthy") is False:
            raise self._unhealthy("`/health` says that it is not healthy; see the app's log")
        return await self._info()

    async def run(self, request: RunRequest) -> AppResult:
        """Runs one seed."""
        seconds = request.max_seconds
        limit = self._options.rollout_seconds if seconds is None else seconds
        try:
            reward_range = await self._reward_range()
            status, text = await self._post_rollout(request, seconds=limit + _GRACE_SECONDS)
        except TaskAppUnhealthy as error:
            known = error.reason == KEY_REFUSED
            reason = KEY_REFUSED if known else "TASK_APP_UNREACHABLE"
            return _failed(reason, error.message, retryable=not known)
        except TimeoutError:
            return _failed("TASK_APP_TIMEOUT", f"the rollout took over {limit:g} s", retryable=True)
        except _ReplyTooLong:
            return _failed("TASK_APP_BAD_REPLY", self._too_long(), retryable=False)
        except aiohttp.ClientError as error:
            name = type(error).__name__
            return _failed(
                "TASK_APP_UNREACHABLE", f"{self._base} gives no reply ({name})", retryable=True
            )
        if status != 200:
            return _refused(status, text)
        try:
            reply = parse_reply(parse_object(text, what="rollout reply"))
        except BurnishError as error:
            return _failed("TASK_APP_BAD_REPLY", error.message, retryable=False)
        return judged(reply, request=request, reward_range=reward_range)

    async def examples(self, seeds: Sequence[int]) -> list[AppExample] | None:
        """Returns the labelled rows of seeds."""
        found: list[AppExample] = []
        # The first is asked for alone: an app without labels may not know the form for several.
        chunks = [seeds[:1]] if seeds else []
        chunks += [
            seeds[start : start + _SEEDS_PER_QUESTION]
            for start in range(1, len(seeds), _SEEDS_PER_QUESTION)
        ]
        for chunk in chunks:
            name = "seed" if len(chunk) == 1 else "seeds"
            query = "&".join(f"{name}={seed}" for seed in chunk)
            status, body = await self._ask(f"/task_info?{query}")
            if status in _NOT_OFFERED and not found:
                return None
            self._expect(status, "/task_info")
            try:
                parsed = parse_seed_infos(parse_value(body, what="`/task_info`"), chunk)
                made = [
                    parse_example(item, seed=seed) for item, seed in zip(parsed, chunk, strict=True)
                ]
            except BurnishError as error:
                raise self._unhealthy(error.message) from None
            if not found and made[0] is None:
                return None
            found += [example for example in made if example is not None]
        return found

    async def program(self) -> AppProgram | None:
        """Returns what the app tells of its program."""
        status, body = await self._ask("/metadata")
        if status in _NOT_OFFERED or status in _KEY_REFUSED:
            return None
        self._expect(status, "/metadata")
        return parse_program(_object(body))

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _info(self) -> AppInfo:
        bodies = []
        for path in ("/info", "/task_info"):
            status, body = await self._ask(path)
            if status not in _NOT_OFFERED or "unauthor" in _code(body).lower():
                self._expect(status, path)
            bodies.append(_object(body) if status == 200 else {})
        try:
            info = parse_info(bodies[0], bodies[1])
        except BurnishError as error:
            raise self._unhealthy(error.message) from None
        if self._range is None:
            self._range = info.reward_range
        return info

    async def _reward_range(self) -> RewardRange:
        if self._range is None:
            async with self._asking:
                if self._range is None:
                    self._range = (await self._info()).reward_range
        return self._range

    async def _post_rollout(self, request: RunRequest, *, seconds: float) -> tuple[int, bytes]:
        data = json.dumps(request_body(request), separators=(",", ":")).encode()
        headers = {
            "content-type": "application/json",
            "idempotency-key": f"{request.rollout_id}:{request.attempt}",
            "x-burnish-attempt": str(request.attempt),
        }
        async with asyncio.timeout(seconds):
            try:
                return await self._send("POST", "/rollout", data=data, headers=headers)
            except aiohttp.ServerDisconnectedError:
                # The app may have closed an idle connection just as it was used again.
                return await self._send("POST", "/rollout", data=data, headers=headers)

    async def _ask(self, path: str) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(self._options.info_seconds):
                return await self._send("GET", path)
        except _ReplyTooLong:
            raise self._unhealthy(self._too_long()) from None
        except (TimeoutError, aiohttp.ClientError) as error:
            raise self._unhealthy(
                f"it gives no reply ({type(error).__name__}); start the app, or correct its URL"
            ) from None

    async def _send(
        self,
        method: str,
        path: str,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        async with self._open().request(
            method, self._base + path, data=data, headers=headers, allow_redirects=False
        ) as reply:
            limit = self._options.max_reply_bytes
            if reply.content_length is not None and reply.content_length > limit:
                raise _ReplyTooLong
            chunks, size = [], 0
            async for chunk in reply.content.iter_any():
                size += len(chunk)
                if size > limit:
                    raise _ReplyTooLong
                chunks.append(chunk)
            return reply.status, b"".join(chunks)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                connector=aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=4, resolver=GuardedResolver()
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _expect(self, status: int, path: str) -> None:
        if status == 200:
            return
        if status in _KEY_REFUSED or status == 400:
            raise self._unhealthy(
                f"`{path}` refuses the key (status {status}); give the app's ENVIRONMENT_API_KEY",
                reason=KEY_REFUSED,
            )
        raise self._unhealthy(f"`{path}` answers with status {status}; see the app's log")

    def _unhealthy(self, problem: str, *, reason: str | None = None) -> TaskAppUnhealthy:
        return TaskAppUnhealthy(
            f"task app {self._base}: {problem}", reason=reason, metadata={"uri": self._base}
        )

    def _too_long(self) -> str:
        return f"the reply is longer than {self._options.max_reply_bytes} bytes; make it shorter"


def _object(body: bytes) -> Mapping[str, object]:
    try:
        return parse_object(body, what="reply")
    except BurnishError:
        # A health page may be plain text; what has to be an object is checked where it is read.
        return {}


def _code(body: bytes) -> str:
    error = section(_object(body), "detail", "error")
    code = first_text(error.get("code"))
    return code if _CODE.fullmatch(code) else ""


def _refused(status: int, body: bytes) -> AppResult:
    code = _code(body)
    said = f" ({code})" if code else ""
    if status in _KEY_REFUSED or "unauthor" in code.lower():
        return _failed(
            KEY_REFUSED,
            f"the app refuses the key with status {status}{said}; give its ENVIRONMENT_API_KEY",
            retryable=False,
        )
    if status >= 500 or status in _PASSING:
        return _failed(
            "TASK_APP_ERROR", f"the app answers with status {status}{said}", retryable=True
        )
    return _failed(
        "TASK_APP_REFUSED",
        f"the app refuses the rollout with status {status}{said}; see its log",
        retryable=False,
    )


def _failed(reason: str, message: str, *, retryable: bool) -> AppResult:
    return AppResult(failure=AppFailure(reason=reason, message=message, retryable=retryable))
