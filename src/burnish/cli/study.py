"""`burnish study ...`: the trials of a job's search, for other tools."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.connected import with_client
from burnish.cli.options import BackendOption, TokenOption
from burnish.cli.output import JsonOption, Output, handled

if TYPE_CHECKING:
    from burnish.client import AsyncClient

app = typer.Typer(help="Trials of a job's search.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keeps `export` a command of its own while there is no other."""


@app.command()
@handled
def export(
    job: Annotated[str, typer.Argument(help="Id or name of the job.")],
    storage: Annotated[str, typer.Option(help="Optuna storage URL, such as `sqlite:///study.db`.")],
    study_name: Annotated[str, typer.Option(help="Name of the study; the job's id.")] = "",
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a job's trials, finished or so far, as an Optuna study."""
    output = Output(json=as_json)

    async def work(client: AsyncClient) -> None:
        found = await client.jobs.export_study(job, storage, study_name=study_name or None)
        text = f"{found.trial_count} trials in study {found.study_name}"
        output.data(asdict(found), text=text)

    with_client(backend, token, work)
