"""`burnish task ...`: looks at task apps."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer

from burnish.cli.output import FAILED, JsonOption, Output, handled

app = typer.Typer(help="Task apps.", no_args_is_help=True)

_MARKS = {"passed": "✓", "failed": "✗", "skipped": "-"}


@app.callback()
def group() -> None:
    """Task apps."""


@app.command()
@handled
def check(
    url: Annotated[str, typer.Argument(help="http://, https:// or grpc:// address of the app.")],
    key: Annotated[
        str | None, typer.Option("--key", help="Key of the app; ENVIRONMENT_API_KEY.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0, help="Most seconds for one question.")] = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Check that a task app keeps the contract, without paying for a model."""
    from burnish.task_app.conformance import check_app
    from burnish.task_probe import check_uri

    output = Output(json=as_json)
    api_key = key or os.environ.get("ENVIRONMENT_API_KEY") or None
    check_uri(url)
    results = asyncio.run(check_app(url, api_key, timeout_seconds=timeout))
    failed = [one for one in results if not one.passed]
    lines = []
    for one in results:
        lines.append(f"{_MARKS[one.state]} {one.name}: {one.message}")
        if one.fix:
            lines.append(f"    fix: {one.fix}")
    counts = Counter[str](one.state for one in results)
    lines.append(", ".join(f"{counts[state]} {state}" for state in _MARKS))
    output.data(
        {"passed": not failed, "checks": [asdict(one) for one in results]}, text="\n".join(lines)
    )
    if failed:
        raise typer.Exit(FAILED)
