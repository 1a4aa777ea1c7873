"""The `burnish` command."""

from __future__ import annotations

from typing import Annotated

import typer

from burnish import __version__
from burnish.cli import (
    configs,
    doctor,
    estimate,
    evaluate,
    gate,
    init,
    job,
    local,
    policy,
    study,
    task,
    traces,
    train,
    up,
    verify,
)

app = typer.Typer(
    name="burnish",
    help="Makes prompts better, measured by rewards.",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for module in (up, init, evaluate, gate, train, estimate, doctor, traces):
    app.registered_commands += module.app.registered_commands
app.add_typer(job.app, name="job")
app.add_typer(policy.app, name="policy")
app.add_typer(study.app, name="study")
app.add_typer(task.app, name="task")
app.add_typer(configs.app, name="config")
app.add_typer(local.app, name="local")
app.add_typer(verify.app, name="verify")


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """Make prompts better, measured by rewards."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Runs the command line."""
    app()
