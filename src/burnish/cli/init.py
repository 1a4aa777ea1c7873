"""`burnish init`: a task app, its data and a job file to begin with."""

from __future__ import annotations

import enum
import importlib.resources
import re
from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.output import JsonOption, Output, QuietOption, handled
from burnish.errors import AlreadyExists

app = typer.Typer()

_FILES = {"app.py.txt": "app.py", "job.toml": "job.toml", "rows.jsonl": "rows.jsonl"}
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


class Template(enum.StrEnum):
    """What kind of program to begin with."""

    CLASSIFY = "classify"
    EXTRACT = "extract"
    RAG = "rag"
    AGENT = "agent"


class FilesExist(AlreadyExists):
    """A file that would be written is there."""

    default_reason = "FILES_EXIST"


@app.command()
@handled
def init(
    directory: Annotated[Path, typer.Argument(help="Where to write; created when missing.")] = Path(
        "."
    ),
    template: Annotated[
        Template, typer.Option(help="classify, extract, rag or agent.")
    ] = Template.CLASSIFY,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the task app.")] = 8101,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a task app, its data and a job file to begin with."""
    output = Output(json=as_json, quiet=quiet)
    there = [name for name in _FILES.values() if (directory / name).exists()]
    if there and not force:
        raise FilesExist(
            f"`{directory}` has {', '.join(there)} already; use --force, or another directory",
            metadata={"directory": str(directory)},
        )
    directory.mkdir(parents=True, exist_ok=True)
    folder = importlib.resources.files("burnish.cli") / "templates" / template.value
    name = _NOT_IN_NAMES.sub("-", directory.resolve().name.lower()).strip("-") or template.value
    for source, target in _FILES.items():
        text = (folder / source).read_text(encoding="utf-8")
        text = text.replace("@NAME@", name).replace("@PORT@", str(port))
        (directory / target).write_text(text, encoding="utf-8")
    written = [str(directory / target) for target in _FILES.values()]
    output.data({"template": template.value, "files": written}, text="\n".join(written))
    output.say(
        f"Next, in `{directory}`:\n"
        "  python app.py &\n"
        f"  burnish task check http://127.0.0.1:{port}\n"
        "  burnish train --config job.toml"
    )
