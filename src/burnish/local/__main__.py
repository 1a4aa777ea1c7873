"""Runs the local models' server: `python -m burnish.local --port 0 --ready-file F`."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from burnish.errors import BurnishError
from burnish.local.server import LocalServerOptions, start_local_server
from burnish.suite.listening import refused


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until SIGINT or SIGTERM; the ready file then holds `{"base_url": ...}`."""
    parser = argparse.ArgumentParser(prog="python -m burnish.local", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--ready-file", type=Path, help="written once the server accepts calls")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added to every completion")
    parser.add_argument("--failure-rate", type=float, default=0.0, help="share answered with 503")
    parser.add_argument("--failure-seed", type=int, default=0)
    parsed = parser.parse_args(arguments)
    options = LocalServerOptions(
        latency_seconds=parsed.latency_ms / 1000.0,
        failure_rate=parsed.failure_rate,
        failure_seed=parsed.failure_seed,
    )
    asyncio.run(_serve(parsed.host, parsed.port, parsed.ready_file, options))


async def _serve(
    host: str, port: int, ready_file: Path | None, options: LocalServerOptions
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        server = await start_local_server(host, port, options=options)
    except OSError as error:
        raise refused(f"--port {port} on {host}", error) from None
    try:
        ready = json.dumps({"base_url": server.base_url, "pid": os.getpid()})
        if ready_file is None:
            sys.stdout.write(ready + "\n")
            sys.stdout.flush()
        else:
            await asyncio.to_thread(_write_whole, ready_file, ready)
        await stopped.wait()
    finally:
        await server.stop()


def _write_whole(path: Path, text: str) -> None:
    # Whoever waits for the file must never read half of it.
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    try:
        main()
    except BurnishError as error:
        raise SystemExit(f"error: {error.message}") from None
