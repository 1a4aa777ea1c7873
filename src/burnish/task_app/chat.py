"""Model calls of a task app: a thin call over one shared connection pool, and the official client.

A failed call raises `ChatFailed`, which makes the rollout unscored when the app lets it pass. A
repeated call says that it is one (`x-stainless-retry-count`), so that it is never paid twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from burnish.errors import MissingExtra
from burnish.task_app.model import RolloutFailed
from burnish.task_app.urls import chat_url, client_base

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_BACKOFF_SECONDS = (0.2, 0.8)
RETRIED_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_PLACEHOLDER_KEY = "burnish"


class ChatFailed(RolloutFailed):
    """A model call without a usable answer.

    Attributes:
        status: HTTP status; None when no reply came.
    """

    default_reason = "INFERENCE_FAILED"

    def __init__(self, message: str, *, status: int | None, retryable: bool) -> None:
        super().__init__(message, reason="INFERENCE_FAILED", retryable=retryable)
        self.status = status


@dataclass(frozen=True, slots=True)
class ChatReply:
    """A chat completion.

    Attributes:
        raw: The reply's body.
    """

    raw: Mapping[str, Any]

    @property
    def message(self) -> Mapping[str, Any]:
        """Message of the first choice."""
        message: Mapping[str, Any] = self.raw["choices"][0]["message"]
        return message

    @property
    def text(self) -> str:
        """Text of the first choice, without white space around it; empty when there is none."""
        content = self.message.get("content")
        return content.strip() if isinstance(content, str) else ""

    @property
    def tool_calls(self) -> Sequence[Mapping[str, Any]]:
        """Tool calls of the first choice."""
        return self.message.get("tool_calls") or ()

    def tool_arguments(self, name: str | None = None) -> dict[str, Any] | None:
        """Returns the arguments of the first call of a tool, or None when they cannot be read.

        Args:
            name: Name of the tool; None takes the first call, whatever its name.
        """
        for call in self.tool_calls:
            function = call.get("function") or {}
            if name is None or function.get("name") == name:
                try:
                    arguments = json.loads(function.get("arguments") or "")
                except (ValueError, TypeError, RecursionError):
                    return None
                return arguments if isinstance(arguments, dict) else None
        return None


class ChatClient:
    """Makes the model calls of one task app. Owned by the app's server."""

    def __init__(self, *, timeout_seconds: float = 120.0) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=10)
        self._session: aiohttp.ClientSession | None = None
        self._official: AsyncOpenAI | None = None

    async def post(self, inference_url: str, body: Mapping[str, Any]) -> ChatReply:
        """Posts one chat completion, repeated at most twice on a passing failure.

        Raises:
            ChatFailed: No usable answer came.
        """
        url, data = chat_url(inference_url), json.dumps(body, allow_nan=False).encode()
        for retry, pause in enumerate(_BACKOFF_SECONDS):
            try:
                return await self._post_once(url, data, retry=retry)
            except ChatFailed as failed:
                if not failed.retryable:
                    raise
            await asyncio.sleep(pause)
        return await self._post_once(url, data, retry=len(_BACKOFF_SECONDS))

    async def _post_once(self, url: str, data: bytes, *, retry: int) -> ChatReply:
        headers = {"content-type": "application/json"}
        if retry:
            headers["x-stainless-retry-count"] = str(retry)
        try:
            async with self._open().post(
                url, data=data, headers=headers, allow_redirects=False
            ) as reply:
                status, text = reply.status, await reply.read()
                veto = reply.headers.get("x-should-retry") == "false"
        except TimeoutError:
            raise ChatFailed("model call timed out", status=None, retryable=True) from None
        except aiohttp.ClientError as error:
            raise ChatFailed(
                f"model call got no reply ({type(error).__name__})", status=None, retryable=True
            ) from None
        if status != 200:
            raise ChatFailed(
                f"model call was answered with status {status}",
                status=status,
                retryable=status in RETRIED_STATUSES and not veto,
            )
        return _parse(text)

    def official(self, inference_url: str) -> AsyncOpenAI:
        """Returns an official client for an inference URL; all of them share one pool.

        Raises:
            MissingExtra: Package `openai` is not installed.
        """
        base, query = client_base(inference_url)
        if self._official is None:
            try:
                import openai
            except ImportError:
                raise MissingExtra(package="openai", extra="llm") from None
            self._official = openai.AsyncOpenAI(
                api_key=_PLACEHOLDER_KEY, base_url=base, max_retries=2
            )
        return self._official.with_options(base_url=base, default_query=query)

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._official is not None:
            await self._official.close()
            self._official = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _parse(text: bytes) -> ChatReply:
    try:
        body = json.loads(text)
        choice = body["choices"][0]["message"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        choice = None
    if not isinstance(choice, dict):
        raise ChatFailed("model call's reply is no chat completion", status=200, retryable=False)
    return ChatReply(body)
