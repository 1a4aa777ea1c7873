"""The server of the data plane alone, without anything behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from burnish_interceptor.transport.limits import Limits
from burnish_interceptor.transport.server import Handler, Server


@asynccontextmanager
async def serving(
    handler: Handler,
    **limits: Any,  # noqa: ANN401 - each field has a type of its own
) -> AsyncIterator[tuple[Server, tuple[str, int]]]:
    """Runs a server; yields it, with host and port that it listens on.

    Args:
        handler: Answers its requests.
        limits: Fields of `Limits` that are other than usual.
    """
    server = Server(handler, limits=Limits(**limits))
    address = await server.listen("127.0.0.1", 0)
    try:
        yield server, address
    finally:
        await server.stop()
