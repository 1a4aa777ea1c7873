"""What no ask goes below on a machine: a round trip of a bare stream, and a synced commit.

The stream is gRPC's asynchronous one over loopback, with a server in a process of its own that
sends back what it gets. The commit is one row of a study's log by the driver alone, in the thread
that asks. An ask needs the one and then the other, a tell both at the same time.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from grpc import aio

_METHOD = "/floor.Floor/Echo"
_WARM = 20
_BYTES = 300  # About as many as a request, an answer or an entry of one trial has.
_SERVER = f"""
import asyncio, grpc, uvloop
from grpc import aio

async def echo(requests, context):
    async for request in requests:
        await context.write(request)

async def main():
    server = aio.server()
    handler = grpc.stream_stream_rpc_method_handler(echo)
    service, method = {_METHOD!r}.strip("/").split("/")
    handlers = grpc.method_handlers_generic_handler(service, {{method: handler}})
    server.add_generic_rpc_handlers([handlers])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await server.wait_for_termination()

uvloop.run(main())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Medians in milliseconds.

    Attributes:
        round_trip_ms: A message to another process and back.
        commit_ms: A row that is safe on the disk.
    """

    round_trip_ms: float
    commit_ms: float

    def as_dict(self) -> dict[str, float]:
        """Returns the medians."""
        return asdict(self)

    def line(self) -> str:
        """Returns a line to be read below the table."""
        return (
            f"floor: a round trip of a bare stream {self.round_trip_ms:.2f} ms, "
            f"a synced commit {self.commit_ms:.2f} ms\n"
        )


async def floor(folder: Path, repeats: int) -> Floor:
    """Measures both."""
    round_trip = await _round_trip(repeats)
    return Floor(round_trip_ms=round_trip, commit_ms=_commit(folder / "floor.db", repeats))


async def _round_trip(repeats: int) -> float:
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        if server.stdout is None:
            raise RuntimeError("the server has no output to tell its port by")
        port = int(await server.stdout.readline())
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: aio.StreamStreamCall[Any, Any] = channel.stream_stream(_METHOD)()
            seconds = []
            for _ in range(_WARM + repeats):
                start = time.perf_counter()
                await call.write(bytes(_BYTES))
                await call.read()
                seconds.append(time.perf_counter() - start)
            call.cancel()
    finally:
        server.terminate()
        await server.wait()
    return 1000 * statistics.median(seconds[_WARM:])


def _commit(path: Path, repeats: int) -> float:
    """Measures commits to a write-ahead log that has its size, as the controller's has."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL").close()
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE entries (revision INTEGER PRIMARY KEY, data BLOB)")
    seconds = []
    for place in range(2):
        connection.execute("DELETE FROM entries")
        for revision in range(_WARM + repeats):
            start = time.perf_counter()
            connection.execute("INSERT INTO entries VALUES (?, ?)", (revision, bytes(_BYTES)))
            if place:
                seconds.append(time.perf_counter() - start)
        # What was written is used again from its beginning.
        connection.execute("PRAGMA wal_checkpoint(RESTART)").close()
    connection.close()
    return 1000 * statistics.median(seconds[_WARM:])
