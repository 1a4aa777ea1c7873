"""Asks a service that says it is ready whether it really answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

_TIMEOUT_SECONDS = 2.0
# grpc.health.v1.HealthCheckResponse with status SERVING.
_SERVING = b"\x08\x01"


async def serving(ready: Mapping[str, object]) -> bool:
    """Asks a service whether it serves.

    Args:
        ready: What the service wrote into its ready file. `health` is the address of its gRPC
            health service; without one, `base_url` is asked by a plain HTTP request.
    """
    health, http = ready.get("health"), ready.get("base_url")
    if isinstance(health, str) and health:
        return await _grpc_serving(health)
    if isinstance(http, str) and http:
        return await _http_answers(http)
    return True


async def _grpc_serving(address: str) -> bool:
    import grpc

    from burnish.rpc import DIRECT

    # The two messages are written by hand, so that the SDK needs no health package.
    async with grpc.aio.insecure_channel(address, options=[DIRECT]) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=bytes,
            response_deserializer=bytes,
        )
        try:
            return bool(await check(b"", timeout=_TIMEOUT_SECONDS) == _SERVING)
        except grpc.aio.AioRpcError:
            return False


async def _http_answers(address: str) -> bool:
    host, _, port = address.removeprefix("http://").partition("/")[0].rpartition(":")
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(
                    f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
                )
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split()[1:2] == [b"200"]
