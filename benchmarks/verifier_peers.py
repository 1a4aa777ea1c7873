"""What benchmarks/verifier.py runs beside the verifier: a judge that takes its time, and a ledger.

The judge answers any chat completion after a while, with scores for the criteria of the benchmark,
and tells what it was asked last.
The ledger is the real one, with every scope of the benchmark open from the start.
"""

from __future__ import annotations

import argparse
import asyncio
import json

from aiohttp import web

from benchmarks.ledger_controller import JOB_ID, LedgerApp
from burnish_runtime import server

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


def judgement(number: int) -> str:
    """Returns the scope that pays for the judgements of a rollout."""
    return f"judgements/{JOB_ID}/r{number}"


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
        lambda settings: LedgerApp(
            settings, scopes=options.scopes, model_url="http://127.0.0.1:9/v1", scope=judgement
        ),
        service="controller",
    )


if __name__ == "__main__":
    raise SystemExit(main())
