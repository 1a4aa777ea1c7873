"""`burnish up`: the whole suite until interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.options import StateDirOption
from burnish.cli.output import JsonOption, Output, QuietOption, handled

if TYPE_CHECKING:
    from burnish.suite import Suite

app = typer.Typer()


@app.command()
@handled
def up(
    state_dir: StateDirOption = None,
    listen: Annotated[
        str, typer.Option(help="Address of the controller; chosen and kept when not given.")
    ] = "",
    http_listen: Annotated[
        str, typer.Option(help="Address of the interceptor's data plane; chosen when not given.")
    ] = "",
    interceptor_url: Annotated[
        str, typer.Option(help="URL that task apps reach the data plane by, if another.")
    ] = "",
    metrics: Annotated[bool, typer.Option("--metrics", help="Serve Prometheus metrics.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Start the whole suite: one process per service, supervised until Ctrl-C."""
    from burnish.suite import Suite, SuiteOptions

    options = SuiteOptions(
        metrics=metrics, listen=listen, http_listen=http_listen, interceptor_url=interceptor_url
    )
    asyncio.run(_serve(Suite(state_dir, options=options), Output(json=as_json, quiet=quiet)))


async def _serve(suite: Suite, output: Output) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    began = time.monotonic()
    output.say("Starting the suite...")
    # A stop that comes while the services start ends the start, and what has started.
    starting = asyncio.ensure_future(suite.__aenter__())
    waiting = asyncio.ensure_future(stopped.wait())
    await asyncio.wait([starting, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return
    starting.result()
    try:
        _report(suite, output, seconds=time.monotonic() - began)
        failing = asyncio.ensure_future(suite.wait())
        await asyncio.wait([failing, waiting], return_when=asyncio.FIRST_COMPLETED)
        if failing.done():
            failing.result()
        failing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await failing
        output.say("Stopping...")
    finally:
        waiting.cancel()
        await suite.__aexit__(None, None, None)


def _report(suite: Suite, output: Output, *, seconds: float) -> None:
    processes = {name: process.pid for name, process in suite.processes.items()}
    output.say(f"Ready after {seconds:.1f} s: {', '.join(sorted(processes))}")
    output.data(
        {
            "target": suite.target,
            "token_file": str(suite.state.auth_token_file),
            "interceptor_url": suite.interceptor_url,
            "local_model_url": suite.local_model_url,
            "api_url": suite.api_url,
            "logs": str(suite.state.logs),
            "processes": processes,
        },
        text="\n".join(
            [
                f"controller    {suite.target}",
                f"interceptor   {suite.interceptor_url}",
                f"local models  {suite.local_model_url}",
                f"scoring API   {suite.api_url}",
                f"logs          {suite.state.logs}",
            ]
        ),
    )
    output.say(
        "Commands in this directory find it by themselves. Elsewhere:\n"
        f"  export BURNISH_TARGET={suite.target}\n"
        f"  export BURNISH_AUTH_TOKEN_FILE={suite.state.auth_token_file}"
    )
