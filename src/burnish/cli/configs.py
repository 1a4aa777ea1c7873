"""`burnish config ...`: looks at job files."""

from __future__ import annotations

from typing import Annotated

import typer

from burnish.cli.inputs import parse_overrides
from burnish.cli.options import ConfigArgument, SetOption
from burnish.cli.output import USAGE, JsonOption, Output, QuietOption, handled

app = typer.Typer(help="Job files.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Job files."""


@app.command()
@handled
def check(
    config: ConfigArgument,
    set_values: SetOption = None,
    dataset_size: Annotated[
        int | None, typer.Option(min=1, help="Rows of the app's data, to draw missing pools.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the job as it is settled.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check a job file: every problem with its place and its fix, without reaching the app."""
    from burnish.config import ConfigError, PromptLearningConfig
    from burnish.config.resolve import resolve_job

    output = Output(json=as_json, quiet=quiet)
    try:
        loaded = PromptLearningConfig.from_path(config, overrides=parse_overrides(set_values or []))
        job = resolve_job(loaded, dataset_size=dataset_size)
    except ConfigError as error:
        output.data(
            {
                "valid": False,
                "problems": [
                    {"path": one.path, "value": one.value, "message": one.message, "fix": one.fix}
                    for one in error.problems
                ],
            },
            text="\n".join(f"✗ {problem}" for problem in error.problems),
        )
        output.say(f"{config}: {len(error.problems)} problems")
        raise typer.Exit(USAGE) from None
    for warning in job.warnings:
        output.say(f"warning: {warning}")
    document = {"valid": True, "warnings": list(job.warnings), "job": job.to_dict()}
    output.data(document, text=None if show else f"{config}: valid ({job.algorithm})")
