"""Addresses of task apps, and which of them are never connected to.

A task app's address comes from whoever submits a job. Link-local addresses (where clouds serve
their instance credentials), multicast and the like are refused, also when a name resolves to one:
the check is made on the very addresses that are connected to.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from burnish.errors import InvalidArgument
from burnish_runtime.egress import ALLOWED_HOSTS, allowed_host, refused_host

_SCHEMES = frozenset({"http", "https", "grpc"})
_PORTS = {"http": 80, "https": 443}


class TaskAppUriInvalid(InvalidArgument):
    """A task app URI that cannot or must not be connected to. Do not retry."""

    default_reason = "TASK_APP_URI_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppAddress:
    """Where a task app is.

    Attributes:
        scheme: `http`, `https` or `grpc`.
        host: Host name or address, without brackets.
        port: Port; None takes the scheme's own.
        path: Path that the routes of the contract hang under; empty or without its last slash.
    """

    scheme: str
    host: str
    port: int | None = None
    path: str = ""

    @classmethod
    def parse(cls, uri: str) -> AppAddress:
        """Parses a URI.

        Raises:
            TaskAppUriInvalid: It has another scheme, no host, credentials, a query or a fragment,
                or names an address that is never connected to.
        """
        try:
            parts = urlsplit(uri.strip())
            port = parts.port
        except ValueError:
            raise TaskAppUriInvalid(
                "the task app URI cannot be parsed; give one like `http://127.0.0.1:8101`"
            ) from None
        host, problems = parts.hostname or "", []
        if parts.scheme not in _SCHEMES:
            problems.append(f"scheme is {parts.scheme!r}; use http, https or grpc")
        if not host:
            problems.append("there is no host; give one like `http://127.0.0.1:8101`")
        if "@" in parts.netloc:
            problems.append("it holds credentials; give the key apart from the URI")
        if parts.query or parts.fragment:
            problems.append("it has a query or a fragment; leave them out")
        if parts.scheme == "grpc" and (port is None or parts.path.strip("/")):
            problems.append("a grpc URI is `grpc://host:port`")
        if not host.isascii():
            # A client would fold it to ASCII behind this check, perhaps to an address.
            problems.append("the host is not ASCII; write its `xn--` form")
        if refused_host(host):
            problems.append(
                f"address {host} is never connected to, as it is link-local, multicast, "
                "unspecified or metadata; use another, such as 127.0.0.1"
            )
        elif host and not allowed_host(host, port or _PORTS.get(parts.scheme, 0)):
            problems.append(f"host {host} is not on the operator's {ALLOWED_HOSTS}; have it added")
        if problems:
            raise TaskAppUriInvalid("task app URI: " + "; ".join(problems))
        return cls(scheme=parts.scheme, host=host, port=port, path=parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """Host and port, as they stand in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        """Returns the URI."""
        return f"{self.scheme}://{self.authority}{self.path}"


class GuardedResolver(AbstractResolver):
    """Resolves names for aiohttp, and fails when any of the addresses is refused."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        """Takes what resolves; by default the system does."""
        self._inner = inner if inner is not None else DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolves a name."""
        found = await self._inner.resolve(host, port, family)
        if any(refused_host(result["host"]) for result in found):
            raise OSError(f"{host} resolves to a link-local, multicast or metadata address")
        return found

    async def close(self) -> None:
        """Closes the resolver."""
        await self._inner.close()
