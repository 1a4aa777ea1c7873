"""`burnish local ...`: the models that need no API key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.output import handled

app = typer.Typer(help="The models that need no API key.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """The models that need no API key."""


@app.command()
@handled
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8100,
    ready_file: Annotated[
        Path | None, typer.Option(help="Written once the server accepts calls.")
    ] = None,
    latency_ms: Annotated[float, typer.Option(min=0, help="Added to every completion.")] = 0.0,
    failure_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Share of completions answered with 503.")
    ] = 0.0,
    failure_seed: Annotated[int, typer.Option(help="Decides which ones.")] = 0,
) -> None:
    """Serve local-reader, local-proposer and local-judge over the OpenAI API until Ctrl-C."""
    from burnish.local.__main__ import main

    arguments = ["--host", host, "--port", str(port), "--latency-ms", str(latency_ms)]
    arguments += ["--failure-rate", str(failure_rate), "--failure-seed", str(failure_seed)]
    if ready_file is not None:
        arguments += ["--ready-file", str(ready_file)]
    main(arguments)
