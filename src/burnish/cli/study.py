"""`burnish study ...`: what a job's search tried, and what it found."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.connected import with_client
from burnish.cli.options import BackendOption, TokenOption
from burnish.cli.output import JsonOption, Output, handled

if TYPE_CHECKING:
    from burnish.client import AsyncClient

app = typer.Typer(help="What a job's search tried and found.", no_args_is_help=True)


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


@app.command()
@handled
def front(
    job: Annotated[str, typer.Argument(help="Id or name of the job.")],
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a job's candidates earn against what they cost, once its search ended."""
    output = Output(json=as_json)

    async def work(client: AsyncClient) -> None:
        from burnish.fronts import front_table

        found = await (await client.jobs.get(job)).result()
        lines = front_table(found) or ["The search has not ended, so there is no front yet."]
        output.data({} if found.front is None else asdict(found.front), text="\n".join(lines))

    with_client(backend, token, work)
