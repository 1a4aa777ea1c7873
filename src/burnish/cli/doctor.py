"""`burnish doctor`: what works here, and the one command that fixes what does not."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.options import StateDirOption, TaskKeyOption
from burnish.cli.output import FAILED, JsonOption, Output, handled

app = typer.Typer()

_PACKAGES = (
    ("grpc", "all"),
    ("optuna", "search"),
    ("dbos", "controller"),
    ("numpy", "local"),
    ("openai", "llm"),
    ("groq", "llm"),
    ("google.genai", "llm"),
)
_KEYS = (
    "OPENAI_API_KEY",
    "GROQ_API_KEY",
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "ANTHROPIC_API_KEY",
)
_MIN_FREE_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row of the doctor's report.

    Attributes:
        name: What was looked at.
        ok: Whether it works; None for something that is only worth knowing.
        message: What was seen.
        fix: The command that fixes it; empty when nothing has to be fixed.
    """

    name: str
    ok: bool | None
    message: str
    fix: str = ""


@app.command()
@handled
def doctor(
    state_dir: StateDirOption = None,
    task_url: Annotated[
        str | None, typer.Option("--task-url", help="Task app to look at, too.")
    ] = None,
    key: TaskKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at everything that a job needs, and say what to do about what is missing."""
    output = Output(json=as_json)
    findings = list(examine(state_dir))
    findings += asyncio.run(_reach(state_dir, task_url, key))
    marks = {True: "✓", False: "✗", None: "-"}
    lines = []
    for one in findings:
        lines.append(f"{marks[one.ok]} {one.name}: {one.message}")
        if one.fix:
            lines.append(f"    fix: {one.fix}")
    broken = [one for one in findings if one.ok is False]
    output.data(
        {"ok": not broken, "checks": [asdict(one) for one in findings]}, text="\n".join(lines)
    )
    if broken:
        raise typer.Exit(FAILED)


def examine(state_dir: Path | None) -> Iterator[Finding]:
    """Looks at what can be seen without calling anyone."""
    version = platform.python_version()
    recent = sys.version_info >= (3, 11)
    yield Finding(
        name="python",
        ok=recent,
        message=version,
        fix="" if recent else "install Python 3.11 or newer",
    )
    for package, extra in _PACKAGES:
        there = _installed(package)
        yield Finding(
            name=f"package {package}",
            ok=there,
            message="installed" if there else "not installed",
            fix="" if there else f'pip install "burnish[{extra}]"',
        )
    yield _services()
    yield _state(state_dir)
    keys = [name for name in _KEYS if os.environ.get(name)]
    shown = ", ".join(f"{name} is set" for name in keys)
    yield Finding(
        name="provider keys",
        ok=None,
        message=shown or "none is set; the local models need none",
    )


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def _services() -> Finding:
    from burnish.errors import BurnishError
    from burnish.suite.plan import installed_services

    try:
        names = sorted(installed_services())
    except BurnishError as error:
        return Finding(
            name="services", ok=False, message=error.message, fix='pip install "burnish[all]"'
        )
    return Finding(name="services", ok=True, message=", ".join(names))


def _state(state_dir: Path | None) -> Finding:
    from burnish.connection import state_dir as default_state_dir

    folder = state_dir or default_state_dir(os.environ)
    # What does not exist yet is made in the first folder above it that does.
    whole = folder.expanduser().absolute()
    there = next(one for one in (whole, *whole.parents) if one.exists())
    if not there.is_dir():
        return Finding(
            name="state directory",
            ok=False,
            message=f"`{there}` is a file, where a folder is needed",
            fix="burnish up --state-dir DIRECTORY",
        )
    if not os.access(there, os.W_OK):
        return Finding(
            name="state directory",
            ok=False,
            message=f"`{there}` cannot be written",
            fix=f"chmod u+w {there}",
        )
    free = shutil.disk_usage(there).free
    enough = free >= _MIN_FREE_BYTES
    return Finding(
        name="state directory",
        ok=enough,
        message=f"{folder} ({free // 1024**2} MiB free)",
        fix="" if enough else "burnish up --state-dir DIRECTORY",
    )


async def _reach(state_dir: Path | None, task_url: str | None, key: str | None) -> list[Finding]:
    findings = [await _backend(state_dir)]
    if task_url is not None:
        findings.append(await _task_app(task_url, key))
    return findings


async def _backend(state_dir: Path | None) -> Finding:
    from burnish.client import AsyncClient
    from burnish.connection import find_connection
    from burnish.errors import BurnishError

    found = find_connection(directory=state_dir)
    if found is None:
        return Finding(
            name="backend", ok=None, message="none runs; `burnish train` starts one for its time"
        )
    try:
        async with AsyncClient(
            found.target, token=found.token, timeout=5.0, max_retries=0
        ) as client:
            await client.jobs.list(page_size=1)
    except BurnishError as error:
        return Finding(
            name="backend",
            ok=False,
            message=f"{found.target}: {error.reason}",
            fix="burnish up",
        )
    return Finding(name="backend", ok=True, message=f"{found.target} answers")


async def _task_app(task_url: str, key: str | None) -> Finding:
    from burnish.errors import BurnishError
    from burnish.task_probe import ask_task_info

    api_key = key or os.environ.get("ENVIRONMENT_API_KEY")
    try:
        info = await ask_task_info(task_url, api_key=api_key)
    except BurnishError as error:
        return Finding(
            name="task app",
            ok=False,
            message=error.message,
            fix=f"burnish task check {task_url}",
        )
    rows = "an unknown number of" if info.seed_count is None else str(info.seed_count)
    return Finding(name="task app", ok=True, message=f"{info.task or task_url}: {rows} rows")
