"""A transport for the HTTP library of the providers' packages that speaks through aiohttp.

Half of what a call through a package costs is its HTTP library's own connection: each answer is
parsed in Python, and each request looks through every connection that waits. aiohttp does neither.
Errors come as the library's own, so that nobody above can tell the two apart.
"""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import aiohttp

_KEEP_ALIVE_SECONDS = 5.0
_MOST_CONNECTIONS = 1000
# Of one line of an answer's head; what is longer is no head.
_MOST_LINE_BYTES = 64 * 1024
# aiohttp writes these itself, or the library has.
_OWN_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


def behind_proxy() -> bool:
    """Says whether the environment names a proxy, which only the library's own transport knows."""
    return any(scheme in ("http", "https", "all") for scheme in urllib.request.getproxies())


def fast_transport(library: ModuleType, *, trust_env: bool) -> Any:  # noqa: ANN401 - of either library
    """Returns a transport for `httpx`, or for a library of the same shape.

    Args:
        library: The library.
        trust_env: Whether the environment may name the certificates.
    """
    context = library.create_ssl_context(trust_env=trust_env)

    class Stream(library.AsyncByteStream):  # type: ignore[misc,name-defined]
        """The body of one answer."""

        def __init__(self, response: aiohttp.ClientResponse) -> None:
            self._response = response

        async def __aiter__(self) -> AsyncIterator[bytes]:
            with _translated(library):
                async for piece in self._response.content.iter_any():
                    yield piece

        async def aclose(self) -> None:
            # A body that was not read to its end has spoilt its connection.
            self._response.close()

    class Transport(library.AsyncBaseTransport):  # type: ignore[misc,name-defined]
        """Sends requests through one session, opened in the loop that sends the first."""

        def __init__(self) -> None:
            self._session: aiohttp.ClientSession | None = None

        async def handle_async_request(self, request: Any) -> Any:  # noqa: ANN401
            if self._session is None:
                self._session = _session(context)
            limits = request.extensions.get("timeout", {})
            body = await request.aread()
            with _translated(library):
                response = await self._session.request(
                    request.method,
                    str(request.url),
                    headers=request.headers.multi_items(),
                    data=body or None,
                    skip_auto_headers=_OWN_HEADERS,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(
                        sock_connect=limits.get("connect"), sock_read=limits.get("read")
                    ),
                )
            return library.Response(
                status_code=response.status,
                headers=response.raw_headers,
                stream=Stream(response),
                extensions={"http_version": b"HTTP/1.1"},
            )

        async def aclose(self) -> None:
            if self._session is not None:
                await self._session.close()

    return Transport()


def _session(context: ssl.SSLContext) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            ssl=context, limit=_MOST_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE_SECONDS
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=_MOST_LINE_BYTES,
        max_field_size=_MOST_LINE_BYTES,
    )


@contextmanager
def _translated(library: ModuleType) -> Iterator[None]:
    """Raises the library's errors for those of aiohttp."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise library.ConnectTimeout(str(error)) from None
    except (TimeoutError, aiohttp.ServerTimeoutError) as error:
        raise library.ReadTimeout(str(error)) from None
    except aiohttp.ClientConnectorError as error:
        raise library.ConnectError(str(error)) from None
    except aiohttp.InvalidURL as error:
        raise library.UnsupportedProtocol(str(error)) from None
    except (aiohttp.ClientError, OSError) as error:
        raise library.RemoteProtocolError(str(error)) from None
