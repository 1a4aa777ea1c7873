"""Google's Gemini models, through the official `google-genai` package."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp

from burnish.errors import MissingExtra
from burnish.identity import canonical_bytes
from burnish_runtime.llm import gemini_shape
from burnish_runtime.llm.base import Completion, CompletionRequest, ProviderAccess, ProviderError
from burnish_runtime.llm.failures import (
    connection_error,
    malformed_error,
    status_error,
    timeout_error,
)
from burnish_runtime.llm.reading import require_whole
from burnish_runtime.llm.sdk_http import (
    IDENTITY,
    bounded,
    connect_seconds,
    require_plain,
)

if TYPE_CHECKING:
    from google.genai import Client

_NAME = "google"
# The one with JSON schemas, which the interceptor's address of Google names too.
_API_VERSION = "v1beta"


class GoogleProvider:
    """Asks models through the official `google-genai` package."""

    name = _NAME

    def __init__(self, access: ProviderAccess) -> None:
        """Opens the adapter.

        Args:
            access: Key and base URL, the latter without a version.

        Raises:
            MissingExtra: `google-genai` is not installed.
        """
        try:
            from google import genai
            from google.genai import errors, types
        except ImportError as error:
            raise MissingExtra(package="google-genai", extra="llm") from error
        self._genai = genai
        self._errors = errors
        self._types = types
        self._access = access
        self._session: aiohttp.ClientSession | None = None
        self._client: Client | None = None

    def request_body(self, request: CompletionRequest) -> bytes:
        """Returns the canonical JSON of what would be sent."""
        return canonical_bytes({"model": request.model, **gemini_shape.request_fields(request)})

    async def complete(self, request: CompletionRequest) -> Completion:
        """Asks the model, once.

        Raises:
            ProviderError: There is no usable reply; says whether a retry may help.
        """
        types = self._types
        seconds = request.timeout_seconds
        fields = gemini_shape.request_fields(request)
        config = types.GenerateContentConfig(
            **fields["config"],
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            should_return_http_response=True,
            http_options=types.HttpOptions(timeout=max(int(seconds * 1000), 1)),
        )
        models = self._opened().aio.models
        try:
            async with (
                asyncio.timeout(seconds),
                asyncio.timeout(connect_seconds(seconds)) as connecting,
            ):
                _SENDING.set(sending := _Sending(connecting))
                reply = await models.generate_content(
                    model=request.model, contents=_signed(fields["contents"]), config=config
                )
        except self._errors.APIError as error:
            raise status_error(_NAME, error.code, code=str(error.status or "")) from None
        except TimeoutError:
            if not sending.begun:
                raise connection_error(_NAME, not_sent=True) from None
            raise timeout_error(_NAME, seconds) from None
        except aiohttp.ClientError:
            # The cause may hold the request, its key included.
            raise connection_error(_NAME, not_sent=not sending.begun) from None
        http = reply.sdk_http_response
        if http is None or http.body is None:
            raise malformed_error(_NAME, "no body")
        body = http.body.encode()
        require_whole(_NAME, body)
        return self.read(body)

    def read(self, body: bytes) -> Completion:
        """Reads a reply's bytes.

        Raises:
            ProviderError: The bytes are no `generateContent` reply.
        """
        return gemini_shape.read_reply(_NAME, body)

    async def close(self) -> None:
        """Closes connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> Client:
        if self._client is None:
            watch = aiohttp.TraceConfig()
            watch.on_request_headers_sent.append(_note_sent)
            watch.on_request_redirect.append(_refuse_redirect)
            # A session of ours, because the package's own subclasses aiohttp's, which warns.
            self._session = aiohttp.ClientSession(
                # To wait for another call's connection is not to wait for one's own.
                connector=aiohttp.TCPConnector(limit=0),
                trust_env=True,
                auto_decompress=False,
                headers=IDENTITY,
                response_class=_Answer,
                trace_configs=[watch],
            )
            # Without explicit retry options the package sends a call again when its connection
            # breaks: a second payment that no ledger knows of.
            options = self._types.HttpOptions(
                base_url=self._access.base_url or None,
                api_version=_API_VERSION,
                retry_options=self._types.HttpRetryOptions(attempts=1),
                aiohttp_client=self._session,
            )
            self._client = self._genai.Client(
                api_key=self._access.api_key or "none", http_options=options, vertexai=False
            )
        return self._client


class _Sending:
    """Whether the call that a task makes has begun to go out; until then it waits less long."""

    def __init__(self, connecting: asyncio.Timeout) -> None:
        self.begun = False
        self._connecting = connecting

    def begin(self) -> None:
        """Lets the call wait for its reply."""
        self.begun = True
        if not self._connecting.expired():
            self._connecting.reschedule(None)


_SENDING: ContextVar[_Sending] = ContextVar("_SENDING")


class _Answer(aiohttp.ClientResponse):
    """An answer that is read no further than a reply can be long."""

    async def read(self) -> bytes:
        """Returns the body of an answer that is no error.

        Raises:
            ProviderError: It is an error, compressed, or too long.
        """
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            require_plain(_NAME, headers)
            body = await bounded(_NAME, self.content.iter_any())
        except BaseException:
            self.close()
            raise
        if self.status != 200:
            raise status_error(_NAME, self.status, code=_code(body), headers=headers)
        return body

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        """Returns the body as text, in UTF-8 as all JSON is."""
        return (await self.read()).decode(encoding or "utf-8", "replace")

    async def json(self, **_: object) -> Any:  # noqa: ANN401 - as in the class above
        """Returns the body's JSON value, which the package asks for only of errors."""
        return json.loads(await self.read())


async def _note_sent(
    _: aiohttp.ClientSession, __: SimpleNamespace, ___: aiohttp.TraceRequestHeadersSentParams
) -> None:
    """Notes that a call has begun to go out: from then on it may be paid for."""
    _SENDING.get().begin()


async def _refuse_redirect(
    _: aiohttp.ClientSession, __: SimpleNamespace, seen: aiohttp.TraceRequestRedirectParams
) -> None:
    """Stops a redirect. An API does not; whoever does wants the key, or what only we can reach."""
    seen.response.close()
    raise status_error(_NAME, seen.response.status)


def _code(body: bytes) -> str:
    """Returns the short error code of an error, or an empty string."""
    try:
        error = json.loads(body).get("error")
        return str(error.get("status") or "")
    except (ValueError, AttributeError, RecursionError):
        return ""


def _signed(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns contents with their marks as bytes, which is what the package has for base64."""
    return [
        {**content, "parts": [_part(part) for part in content["parts"]]} for content in contents
    ]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if "thought_signature" not in part:
        return part
    try:
        mark = base64.b64decode(part["thought_signature"], validate=True)
    except binascii.Error as error:
        raise ProviderError(
            "a call of a tool has a mark that is none of Google's; give calls back as they came",
            not_sent=True,
        ) from error
    return {**part, "thought_signature": mark}
