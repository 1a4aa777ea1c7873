"""`burnish job ...`: submit, look at, follow and steer jobs of a running suite."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.connected import show_page, with_client
from burnish.cli.inputs import parse_overrides
from burnish.cli.options import (
    BackendOption,
    ConfigArgument,
    GateOption,
    JobIdOption,
    LimitOption,
    PageTokenOption,
    SetOption,
    TaskKeyOption,
    TaskUrlOption,
    TokenOption,
)
from burnish.cli.output import OK, JsonOption, Output, QuietOption, handled
from burnish.cli.targets import prepare_folder

if TYPE_CHECKING:
    from burnish.client import AsyncClient
    from burnish.results import JobSnapshot
    from burnish.rollouts import RolloutScore

app = typer.Typer(help="Jobs of a running suite.", no_args_is_help=True)

JobArgument = Annotated[str, typer.Argument(help="Id or name of the job.")]
ResultsDirOption = Annotated[Path, typer.Option("--results-dir", help="Where the results go.")]


class RolloutPhase(enum.StrEnum):
    """Part of a job that a rollout is run for."""

    BASELINE = "baseline"
    BOOTSTRAP = "bootstrap"
    SEARCH = "search"
    PROXY = "proxy"
    TEST = "test"


@app.command()
@handled
def submit(
    config: ConfigArgument,
    task_url: TaskUrlOption = None,
    task_app_key: TaskKeyOption = None,
    job_id: JobIdOption = "",
    set_values: SetOption = None,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Check everything, create nothing.")
    ] = False,
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Submit a job and print its id."""
    from burnish.job_loading import load_job
    from burnish.jobs import CreateOptions

    output = Output(json=as_json, quiet=quiet)

    async def work(client: AsyncClient) -> None:
        loaded = await load_job(
            config,
            overrides=parse_overrides(set_values or []),
            task_app_url=task_url,
            task_app_api_key=task_app_key,
        )
        options = CreateOptions(
            job_id=job_id, task_app_api_key=loaded.task_app_api_key, validate_only=validate_only
        )
        job = await client.jobs.create(loaded.spec, options=options)
        for warning in (*loaded.warnings, *job.snapshot.warnings):
            output.say(f"warning: {warning}")
        output.data(job.snapshot.plain, text="valid" if validate_only else job.job_id)

    with_client(backend, token, work)


@app.command()
@handled
def get(
    job: JobArgument,
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where a job stands."""
    output = Output(json=as_json)

    async def work(client: AsyncClient) -> None:
        snapshot = (await client.jobs.get(job)).snapshot
        output.data(snapshot.plain, text="\n".join(_described(snapshot)))

    with_client(backend, token, work)


@app.command(name="list")
@handled
def list_jobs(
    limit: LimitOption = 50,
    page_token: PageTokenOption = "",
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List jobs, newest first."""
    output = Output(json=as_json, quiet=quiet)

    async def work(client: AsyncClient) -> None:
        page = await client.jobs.list(page_size=limit, page_token=page_token)
        show_page(
            output,
            {
                "jobs": [job.plain for job in page.jobs],
                "next_page_token": page.next_page_token,
            },
            command="burnish job list",
            columns=["JOB", "ALGORITHM", "STATE", "PHASE", "DONE", "BEST", "CREATED"],
            rows=[
                [
                    job.job_id,
                    job.algorithm,
                    job.state,
                    job.phase,
                    f"{job.fraction:.0%}",
                    "-" if job.best_reward is None else f"{job.best_reward.mean:.4f}",
                    "-" if job.create_time is None else f"{job.create_time:%Y-%m-%d %H:%M}",
                ]
                for job in page.jobs
            ],
        )

    with_client(backend, token, work)


@app.command()
@handled
def watch(
    job: JobArgument,
    after: Annotated[int, typer.Option(min=0, help="Last sequence seen; 0 shows all.")] = 0,
    timeout: Annotated[float | None, typer.Option(min=0, help="Most seconds to follow it.")] = None,
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end, with every event.")
    ] = False,
    as_jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print each event as a line of JSON as it comes.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Follow a job to its end."""
    from burnish.cli.watching import Watch, watch_job

    asked = Watch(job=job, after=after, timeout=timeout, jsonl=as_jsonl)
    output = Output(json=as_json or as_jsonl, quiet=quiet)
    code = with_client(backend, token, lambda client: watch_job(client, asked, output))
    if code != OK:
        raise typer.Exit(code)


def _add_steering(verb: str, help_text: str) -> None:
    """Adds a command that asks a job for a change of its state."""

    @app.command(name=verb, help=help_text)
    @handled
    def steer(
        job: JobArgument,
        backend: BackendOption = None,
        token: TokenOption = None,
        as_json: JsonOption = False,
    ) -> None:
        output = Output(json=as_json)

        async def work(client: AsyncClient) -> None:
            jobs = client.jobs
            ask = {"pause": jobs.pause, "resume": jobs.resume, "cancel": jobs.cancel}[verb]
            snapshot = await ask(job)
            output.data(snapshot.plain, text=f"{snapshot.job_id} {snapshot.state}")

        with_client(backend, token, work)


_add_steering("pause", "Ask a job to pause at the end of the batch in hand.")
_add_steering("resume", "Let a paused job go on.")
_add_steering("cancel", "Ask a job to stop.")


@app.command()
@handled
def results(
    job: JobArgument,
    results_dir: Annotated[
        Path, typer.Option("--results-dir", help="Where the results go.")
    ] = Path("results"),
    gate: GateOption = False,
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write what a job found, or knows so far, and print a summary."""
    from burnish.cli.train import finish

    output = Output(json=as_json, quiet=quiet)
    prepare_folder(results_dir)

    async def work(client: AsyncClient) -> int:
        return await finish(await client.jobs.get(job), results_dir, output, gate=gate)

    code = with_client(backend, token, work)
    if code != OK:
        raise typer.Exit(code)


@app.command()
@handled
def rollouts(
    job: JobArgument,
    phase: Annotated[
        RolloutPhase | None,
        typer.Option(help="Only of this phase: baseline, bootstrap, search, proxy or test."),
    ] = None,
    candidate: Annotated[str, typer.Option(help="Only of this candidate.")] = "",
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a job's finished rollouts with the parts of each reward."""
    output = Output(json=as_json)

    async def work(client: AsyncClient) -> None:
        of_job = client.rollouts.of_job(job, phase=phase or "", candidate_id=candidate)
        found = [one async for one in of_job]
        output.table(
            {"rollouts": [one.plain for one in found]},
            columns=["ROLLOUT", "PHASE", "CANDIDATE", "SEED", "REWARD", "PARTS", "BY"],
            rows=[_rollout_row(one) for one in found],
        )

    with_client(backend, token, work)


def _rollout_row(one: RolloutScore) -> list[str]:
    parts = [
        f"{name} {value:.3f}" + (f" x{one.weights[name]:g}" if name in one.weights else "")
        for name, value in one.parts.items()
    ]
    by = one.verifier_graph.removeprefix("verifierGraphs/").replace("/versions/", "@")
    return [
        one.rollout_id[:12],
        one.phase,
        one.candidate_id[:13] or "-",
        str(one.seed),
        f"not scored: {one.failure[0]}" if one.failure else f"{one.reward or 0.0:.4f}",
        ", ".join(parts) or "-",
        (by or "the app") + (" (simulated)" if one.simulated else ""),
    ]


def _described(snapshot: JobSnapshot) -> list[str]:
    lines = [
        f"job        {snapshot.job_id}",
        f"algorithm  {snapshot.algorithm}",
        f"state      {snapshot.state}",
        f"phase      {snapshot.phase or '-'}",
        f"done       {snapshot.fraction:.0%}",
        f"best       {snapshot.best_reward or '-'}",
    ]
    if snapshot.termination_reason:
        lines.append(f"ended by   {snapshot.termination_reason.replace('_', ' ')}")
    if snapshot.failure is not None:
        lines.append(f"failure    {snapshot.failure[0]}: {snapshot.failure[1]}")
    return lines + [f"warning    {warning}" for warning in snapshot.warnings]
