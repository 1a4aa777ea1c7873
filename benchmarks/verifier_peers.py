"""What benchmarks/verifier.py runs beside the verifier: a judge that takes its time, and a ledger.

The judge answers any chat completion after a while, with scores for the criteria of the benchmark,
and tells what it was asked last.
The ledger is the real one, with every scope of the benchmark open from the start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence

from aiohttp import web
from grpc import aio

from benchmarks.ledger_controller import JOB_ID
from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.ledger.budget import Caps
from burnish_controller.ledger.calls import Scope
from burnish_controller.ledger.engine import CallLedger, LedgerOptions
from burnish_controller.ledger.servicer import CallLedgerServicer
from burnish_controller.ledger.store import CallStore
from burnish_controller.store.database import Database, open_database
from burnish_controller.store.writer import Writer
from burnish_runtime import server
from burnish_runtime.settings import ServiceSettings

CRITERIA = ("right", "complete", "polite")


def reply() -> bytes:
    """Returns a completion as a provider would send it."""
    verdicts = {name: {"reason": "It is as it should be.", "score": 0.75} for name in CRITERIA}
    content = json.dumps({"criteria": verdicts})
    message = {"role": "assistant", "content": content}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "judge",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 700, "completion_tokens": 60, "total_tokens": 760},
        }
    ).encode()


async def serve_judge(seconds: float) -> None:
    """Serves the judge, and prints its base URL."""
    body = reply()
    asked = b"{}"

    async def complete(request: web.Request) -> web.Response:
        nonlocal asked
        asked = await request.read()
        await asyncio.sleep(seconds)
        return web.Response(body=body, content_type="application/json")

    async def last(_: web.Request) -> web.Response:
        return web.Response(body=asked, content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_get("/v1/last", last)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}/v1", flush=True)
    await asyncio.Event().wait()


class LedgerApp:
    """A controller with nothing but its call ledger."""

    name = "controller"
    http_address: str | None = None

    def __init__(self, settings: ServiceSettings, *, scopes: int) -> None:
        """Prepares it; nothing is opened yet."""
        self._settings = settings
        self._scopes = scopes
        self._database: Database | None = None
        self._writer: Writer | None = None
        self._ledger: CallLedger | None = None

    async def start(self, grpc_server: aio.Server) -> Sequence[str]:
        """Opens the database and every scope."""
        self._database = database = await open_database(self._settings.state_dir)
        self._writer = writer = Writer(database.write_engine)
        writer.start()
        store = CallStore(database, writer, tenant="default")
        self._ledger = ledger = CallLedger(store, LedgerOptions(price_of=_price, caps_of=_caps))
        for number in range(self._scopes):
            name = f"judgements/{JOB_ID}/r{number}"
            await ledger.open_scope(
                Scope(scope_id=name, job_id=JOB_ID, closing=False), before=False
            )
        ledger_v1.add_CallLedgerServiceServicer_to_server(CallLedgerServicer(ledger), grpc_server)
        return ["burnish.api.ledger.v1.CallLedgerService"]

    async def drain(self) -> None:
        """Has nothing to flush."""

    async def stop(self) -> None:
        """Closes the database."""
        if self._ledger is not None:
            await self._ledger.close()
        if self._writer is not None:
            await self._writer.close()
        if self._database is not None:
            await self._database.close()


def _price(model: types_v1.ModelSpec, read: int | None) -> types_v1.Price:
    return types_v1.Price(input_usd_per_million=0.15, output_usd_per_million=0.6)


async def _caps(job_id: str) -> Caps:
    return Caps(usd=1e6)


def main() -> int:
    """Serves one of the two."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--judge-seconds", type=float)
    parser.add_argument("--scopes", type=int, default=0)
    options = parser.parse_args()
    if options.judge_seconds is not None:
        asyncio.run(serve_judge(options.judge_seconds))
        return 0
    return server.main(
        lambda settings: LedgerApp(settings, scopes=options.scopes), service="controller"
    )


if __name__ == "__main__":
    raise SystemExit(main())
