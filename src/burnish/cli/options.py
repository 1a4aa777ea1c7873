"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigArgument = Annotated[Path, typer.Argument(help="The job file (TOML).")]
TaskUrlOption = Annotated[
    str | None, typer.Option("--task-url", help="Task app; replaces the file's.")
]
TaskKeyOption = Annotated[
    str | None, typer.Option("--key", help="Key of the task app; ENVIRONMENT_API_KEY.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Replace a value: dotted.key=value.")
]
BackendOption = Annotated[
    str | None,
    typer.Option(help="The controller, host:port; BURNISH_TARGET or the suite that runs here."),
]
TokenOption = Annotated[
    str | None, typer.Option(help="Bearer token of the controller; BURNISH_AUTH_TOKEN.")
]
StateDirOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        help="Where the suite keeps everything; BURNISH_STATE_DIR, else ./.burnish.",
    ),
]
ResultsDirOption = Annotated[
    Path | None,
    typer.Option("--results-dir", help="Where the results go; the file's folder, else ./results."),
]
JobIdOption = Annotated[
    str, typer.Option("--job-id", help="Id of the job; a second run with it joins the first.")
]
BootstrapFromOption = Annotated[
    str,
    typer.Option(
        "--bootstrap-from",
        help="Earlier job, of `burnish eval` say, whose rollouts give demos too.",
    ),
]
GateOption = Annotated[
    bool, typer.Option("--gate", help="Exit 3 unless the prompt is surely better.")
]
LimitOption = Annotated[int, typer.Option(min=1, max=500, help="Most entries to show.")]
PageTokenOption = Annotated[str, typer.Option(help="From the page before.")]
