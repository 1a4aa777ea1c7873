"""The `burnish` command."""

from __future__ import annotations

import typer

from burnish.cli import job, train, up

app = typer.Typer(
    name="burnish",
    help="Makes prompts better, measured by rewards.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for module in (up, train):
    app.registered_commands += module.app.registered_commands
app.add_typer(job.app, name="job")


def main() -> None:
    """Runs the command line."""
    app()
