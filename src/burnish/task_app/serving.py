"""Runs a task app as a process: over HTTP, over gRPC or both, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from burnish.errors import InvalidArgument
from burnish.task_app.app import TaskApp
from burnish.task_app.auth import AppKeys
from burnish.task_app.http import start_http


def serve(
    app: TaskApp,
    *,
    host: str = "127.0.0.1",
    port: int | None = 8101,
    grpc_port: int | None = None,
    ready_file: str | os.PathLike[str] | None = None,
) -> None:
    """Serves a task app until SIGTERM or SIGINT.

    An address that cannot be listened on ends the process with one line that says why.

    Keys come from ENVIRONMENT_API_KEY and its aliases. Without one the app is open on
    loopback only.

    Args:
        app: The app.
        host: Address to listen on.
        port: HTTP port; 0 takes a free one, None serves no HTTP.
        grpc_port: gRPC port; 0 takes a free one, None serves no gRPC.
        ready_file: File that `{"pid", "http", "grpc"}` is written to once the app listens.

    Raises:
        SystemExit: The address cannot be listened on.
    """
    if port is None and grpc_port is None:
        raise InvalidArgument("neither `port` nor `grpc_port` is given; give at least one")
    asyncio.run(_serve(app, host=host, ports=(port, grpc_port), ready_file=ready_file))


async def _serve(
    app: TaskApp,
    *,
    host: str,
    ports: tuple[int | None, int | None],
    ready_file: str | os.PathLike[str] | None,
) -> None:
    keys = AppKeys.from_environment()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    urls: dict[str, str] = {}
    stops: list[Callable[[], Awaitable[None]]] = []
    try:
        if ports[0] is not None:
            with _listening(host, ports[0]):
                http = await start_http(app, host=host, port=ports[0], keys=keys)
            urls["http"] = http.url
            stops.append(http.stop)
        if ports[1] is not None:
            # grpc is not imported by an app that is served over HTTP alone: it costs start-up time.
            from burnish.suite.listening import probe
            from burnish.task_app.grpc import start_grpc

            with _listening(host, ports[1]):
                # gRPC itself does not tell why it cannot listen.
                probe(host, ports[1])
                grpc_server = await start_grpc(app, host=host, port=ports[1], keys=keys)
            urls["grpc"] = grpc_server.url
            stops.append(grpc_server.stop)
        _announce(app, urls, ready_file)
        await stopped.wait()
    finally:
        await asyncio.gather(*(stop() for stop in stops))


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[None]:
    """Holds the start of a server; an address that is refused ends the process with one line."""
    try:
        yield
    except OSError as error:
        from burnish.suite.listening import refused

        told = refused(f"port {port} on {host}", error)
        raise SystemExit(f"error: {told.message}") from None


def _announce(
    app: TaskApp, urls: dict[str, str], ready_file: str | os.PathLike[str] | None
) -> None:
    sys.stderr.write(f"task app {app.id} listens on {', '.join(urls.values())}\n")
    if ready_file is not None:
        target = Path(ready_file)
        partial = target.with_name(target.name + ".partial")
        partial.write_text(json.dumps({"pid": os.getpid(), **urls}))
        partial.replace(target)
