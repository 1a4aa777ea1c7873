"""Runs commands of the command line beside a suite."""

import asyncio
from typing import Any

from typer.testing import CliRunner

from burnish.cli import app


async def burnish(suite: Any, *arguments: str) -> Any:
    """Runs a command on a suite, in a thread, as it has a loop of its own."""
    environment = {
        "BURNISH_TARGET": suite.target,
        "BURNISH_AUTH_TOKEN": suite.token,
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }
    runner = CliRunner(env=environment)
    return await asyncio.to_thread(runner.invoke, app, list(arguments))
