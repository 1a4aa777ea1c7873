"""What the durable ledger adds to a call, beside a bare SQLite that commits the same two rows.

    python -m benchmarks.ledger [--rate 300] [--seconds 20] [--bytes 2000]

Calls begin at a steady rate whatever became of those before. `sqlite` inserts and updates a call's
row in one process, each with a commit that is synced to the disk; `ledger` begins and finishes
calls over gRPC; `direct` makes whole calls over HTTP to a model that answers at once, and
`interceptor` the same through a real interceptor that journals them, each in a rollout of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from benchmarks.ledger_controller import JOB_ID, scope_id
from benchmarks.processes import sample
from burnish import rpc
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish_interceptor.testing import BASELINE, CANDIDATE, Script, completion, provider
from burnish_runtime.ledger_client import LedgerClient
from burnish_runtime.rollout_token import RolloutGrant, TokenSealer

_FLOOR_TABLE = """
CREATE TABLE calls (scope TEXT, hash TEXT, ordinal INTEGER, job TEXT, state TEXT, reply BLOB,
trace BLOB, PRIMARY KEY (scope, hash, ordinal))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How calls come.

    Attributes:
        rate: Calls a second.
        count: How many.
        size: Bytes of the app's prompt.
    """

    rate: float
    count: int
    size: int


@dataclass(slots=True, kw_only=True)
class Row:
    """What one configuration cost; times in milliseconds.

    Attributes:
        name: What was measured.
        spans: Of each call.
        errors: Calls that failed.
        cpu: Per call, by process.
    """

    name: str
    spans: list[float] = field(default_factory=list)
    errors: int = 0
    cpu: dict[str, float] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def process(
    folder: Path, module: str, *arguments: str, environment: Mapping[str, str]
) -> AsyncIterator[Mapping[str, Any]]:
    """Runs a service; yields what its ready file says."""
    ready = folder / f"{module}.json"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        env={**os.environ, "BURNISH_READY_FILE": str(ready), **environment},
        stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            while not ready.exists():  # noqa: ASYNC110 - a file tells nobody that it appeared
                await asyncio.sleep(0.02)
        yield json.loads(ready.read_text())
    finally:
        child.terminate()
        await child.wait()


async def steady(load: Load, row: Row, call: Callable[[int], Awaitable[None]]) -> None:
    """Makes calls at the rate of the load, each whatever became of those before."""
    loop = asyncio.get_running_loop()
    start = loop.time() + 0.1

    async def one(number: int) -> None:
        due = start + number / load.rate
        await asyncio.sleep(due - loop.time())
        began = time.perf_counter()
        try:
            await call(number)
        except (aiohttp.ClientError, TimeoutError, RuntimeError):
            row.errors += 1
        else:
            row.spans.append(1000 * (time.perf_counter() - began))

    async with asyncio.TaskGroup() as group:
        for number in range(load.count):
            group.create_task(one(number))


def run_sqlite(load: Load, folder: Path) -> Row:
    """Commits the rows of every call from one thread, with nothing else in the process."""
    row = Row(name="sqlite")
    reply, trace = completion(), secrets.token_bytes(2 * load.size + 800)
    with contextlib.closing(sqlite3.connect(folder / "floor.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute(_FLOOR_TABLE)
        start, cpu = time.perf_counter(), time.process_time()
        for number in range(load.count):
            time.sleep(max(0.0, start + number / load.rate - time.perf_counter()))
            began = time.perf_counter()
            key = (scope_id(number), "a" * 64)
            database.execute("INSERT INTO calls VALUES (?, ?, 0, 'job', 'open', NULL, NULL)", key)
            database.commit()
            database.execute(
                "UPDATE calls SET state = 'done', reply = ?, trace = ?"
                " WHERE scope = ? AND hash = ? AND ordinal = 0",
                (reply, trace, *key),
            )
            database.commit()
            row.spans.append(1000 * (time.perf_counter() - began))
        row.cpu["itself"] = 1000 * (time.process_time() - cpu) / load.count
    return row


async def run_ledger(load: Load, row: Row, target: str, token: str) -> None:
    """Begins and finishes calls over one stream, as an interceptor does."""
    body = secrets.token_bytes(load.size)
    async with rpc.connect(target, token=token) as channel:
        client = LedgerClient(channel, client_id="benchmark")
        await client.start()

        async def call(number: int) -> None:
            decision = await client.begin(
                ledger_v1.BeginCall(
                    job=f"jobs/{JOB_ID}",
                    scope=scope_id(number),
                    attempt=1,
                    request_hash=hashlib.sha256(body).hexdigest(),
                    role=ledger_v1.CALL_ROLE_TASK,
                    model=types_v1.ModelSpec(provider="openai", model="gpt-x"),
                    worst_case=ledger_v1.WorstCase(input_tokens=load.size, output_tokens=64),
                ),
                timeout=30,
            )
            if not decision.HasField("proceed"):
                raise RuntimeError(decision.refused.reason)
            await client.finish(
                ledger_v1.FinishCall(
                    call_id=decision.call_id,
                    reply=ledger_v1.CallReply(
                        status=200, content_type="application/json", body=completion()
                    ),
                    usage=types_v1.Usage(input_tokens=11, output_tokens=3),
                    trace=ledger_v1.CallTrace(
                        stage_id="classify", app_request=body, provider_request=body
                    ),
                )
            )

        await steady(load, row, call)
        await client.close()


async def run_http(load: Load, row: Row, url_of: Callable[[int], str]) -> None:
    """Makes whole calls over HTTP."""
    body = {
        "model": "gpt-x",
        "messages": [
            {"role": "system", "content": BASELINE},
            {"role": "user", "content": f"Query: {'why? ' * (load.size // 5)}"},
        ],
    }
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def call(number: int) -> None:
            async with session.post(f"{url_of(number)}/chat/completions", json=body) as reply:
                reply.raise_for_status()
                await reply.read()

        await steady(load, row, call)


async def measured(
    row: Row, services: Mapping[str, Mapping[str, Any]], load: Load, work: Awaitable[None]
) -> None:
    """Runs a load and notes what each process used of the CPU."""
    before = {name: sample(ready["pid"]).cpu_seconds for name, ready in services.items()}
    await work
    for name, ready in services.items():
        row.cpu[name] = 1000 * (sample(ready["pid"]).cpu_seconds - before[name]) / load.count


async def run_services(load: Load, folder: Path) -> list[Row]:
    """Measures the ledger alone, then whole calls without and with an interceptor."""
    token, key = secrets.token_hex(16), secrets.token_hex(32)
    shared = {"BURNISH_AUTH_TOKEN": token, "BURNISH_TOKEN_KEY": key}
    script = Script(body=completion())
    alone, direct, whole = Row(name="ledger"), Row(name="direct"), Row(name="interceptor")
    async with provider(lambda _: script) as model:
        async with controller(load, folder / "alone", model.base_url, shared) as ready:
            work = run_ledger(load, alone, ready["grpc"], token)
            await measured(alone, {"ledger": ready}, load, work)
        await run_http(load, direct, lambda _: model.base_url)
        shared["BURNISH_OPENAI_COMPATIBLE_API_KEY"] = "sk-benchmark"
        async with (
            controller(load, folder / "whole", model.base_url, shared) as ready,
            process(
                folder,
                "burnish_interceptor",
                environment={"BURNISH_CONTROLLER": ready["grpc"], **shared},
            ) as proxy,
        ):
            urls = _urls(load, TokenSealer(key), f"http://{proxy['http']}")
            work = run_http(load, whole, urls.__getitem__)
            await measured(whole, {"ledger": ready, "interceptor": proxy}, load, work)
    return [alone, direct, whole]


@contextlib.asynccontextmanager
async def controller(
    load: Load, folder: Path, model_url: str, shared: Mapping[str, str]
) -> AsyncIterator[Mapping[str, Any]]:
    """Runs the reduced controller with a scope open for every call."""
    arguments = ("--scopes", str(load.count), "--model-url", model_url)
    environment = {"BURNISH_STATE_DIR": str(folder), **shared}
    async with process(
        folder, "benchmarks.ledger_controller", *arguments, environment=environment
    ) as ready:
        yield ready


def _urls(load: Load, sealer: TokenSealer, base: str) -> list[str]:
    """Returns the URL of each rollout."""
    expire = int(time.time()) + 3600
    grants = (
        RolloutGrant(
            rollout_id=scope_id(number),
            attempt=1,
            policy="job-1",
            candidate_id=CANDIDATE,
            expire_time=expire,
        )
        for number in range(load.count)
    )
    return [f"{base}/r/{sealer.seal(grant)}/v1" for grant in grants]


def show(rows: Sequence[Row]) -> None:
    """Prints the table."""
    print("configuration | calls | errors | p50 ms | p99 ms | CPU ms a call")
    for row in rows:
        cuts = statistics.quantiles(row.spans, n=100)
        cpu = ", ".join(f"{name} {used:.2f}" for name, used in row.cpu.items())
        print(
            f"{row.name:13} | {len(row.spans):5} | {row.errors:6} | {cuts[49]:6.2f} |"
            f" {cuts[98]:6.2f} | {cpu}"
        )


def main() -> None:
    """Reads the options and runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--bytes", type=int, default=2000, help="size of the app's prompt")
    options = parser.parse_args()
    load = Load(rate=options.rate, count=int(options.rate * options.seconds), size=options.bytes)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = [run_sqlite(load, folder), *uvloop.run(run_services(load, folder))]
    show(rows)


if __name__ == "__main__":
    main()
