"""`burnish gate`: holds the prompt of now to one that was measured before; for CI."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.inputs import parse_overrides
from burnish.cli.options import (
    BackendOption,
    SetOption,
    StateDirOption,
    TaskKeyOption,
    TaskUrlOption,
    TokenOption,
)
from burnish.cli.output import GATE_FAILED, JsonOption, Output, QuietOption, handled, saving
from burnish.cli.targets import prepare_file
from burnish.cli.train import job_name
from burnish.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    from burnish.embedded import Backend, BackendChoice
    from burnish.gating import Measurement
    from burnish.job_loading import LoadedJob

app = typer.Typer()


@app.command()
@handled
def gate(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="The job file (TOML): its app's prompt is measured.", show_default=False
        ),
    ] = None,
    baseline: Annotated[
        str, typer.Option(help="Name of what was measured before, or its file.")
    ] = "production",
    record: Annotated[
        bool, typer.Option("--record", help="Keep this measurement under that name if it passes.")
    ] = False,
    job: Annotated[
        str, typer.Option(help="Finished job whose best prompt is held to it, on its test rows.")
    ] = "",
    seeds: Annotated[
        str | None, typer.Option(help="Seeds: 0-49 or 1,5,9; the test pool when not given.")
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(min=0, help="Fail too unless a loss of more than this is ruled out."),
    ] = None,
    folder: Annotated[Path, typer.Option("--baselines", help="Where baselines are kept.")] = Path(
        "baselines"
    ),
    summary: Annotated[
        Path | None, typer.Option(help="File for the report as Markdown, for a pull request.")
    ] = None,
    task_url: TaskUrlOption = None,
    task_app_key: TaskKeyOption = None,
    set_values: SetOption = None,
    timeout: Annotated[float, typer.Option(min=0, help="Most seconds.")] = 3600.0,
    backend: BackendOption = None,
    token: TokenOption = None,
    state_dir: StateDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Exit 3 when the prompt of now does worse than one that was measured before."""
    from burnish.embedded import BackendChoice
    from burnish.gating import baseline_file, hold, load, render, save
    from burnish.job_loading import load_job

    output = Output(json=as_json, quiet=quiet)
    if (config is None) == (not job):
        raise InvalidArgument(
            "give either a job file to measure or --job with a finished job",
            reason="GATE_SOURCE_INVALID",
        )
    path = baseline_file(baseline, folder)
    # A name that nothing is kept under is told before anything is spent.
    before = None if record and not path.exists() else load(path)
    for written in (path if record else None, summary):
        if written is not None:
            prepare_file(written)
    choice = BackendChoice(target=backend, token=token, state_dir=state_dir)

    async def measure() -> Measurement:
        if config is None:
            return await _of_job(job, choice)
        loaded = await load_job(
            config,
            overrides=parse_overrides(set_values or []),
            task_app_url=task_url,
            task_app_api_key=task_app_key,
        )
        return await _of_file(loaded, seeds, choice, seconds=timeout)

    now = asyncio.run(measure())
    if now.unscored:
        output.say(f"{len(now.unscored)} rows could not be scored and are left out")
    passed = True
    if before is None:
        text = f"{baseline}: mean {now.mean:.4f} on {len(now.rewards)} rows"
        rows: dict[str, object] = {"mean": now.mean, "rows": len(now.rewards)}
        output.data(
            {"baseline": baseline, "outcome": "recorded", "passed": True, **rows}, text=text
        )
        text = f"## Gate: recorded `{baseline}`\n\n{text}\n"
    else:
        report = hold(now, before, baseline=baseline, max_loss=max_loss)
        text = render(report)
        output.data(report.plain, text=text)
        passed = report.passed
    if record and passed:
        with saving(path):
            save(path, now)
        output.say(f"recorded: {path}")
    if summary is not None:
        with saving(summary):
            summary.write_text(text, encoding="utf-8")
    if not passed:
        raise typer.Exit(GATE_FAILED)


async def _of_job(job: str, choice: BackendChoice) -> Measurement:
    from burnish.client import AsyncClient
    from burnish.gating import models_of, of_best

    async with AsyncClient(choice.target, token=choice.token) as client:
        found = await client.jobs.get(job)
        outcome = await found.result()
        models = models_of(found.snapshot.plain.get("spec"))
        return of_best(outcome, job=job_name(job), models=models)


async def _of_file(
    loaded: LoadedJob, seeds: str | None, choice: BackendChoice, *, seconds: float
) -> Measurement:
    from burnish.embedded import open_backend
    from burnish.evaluation import parse_seeds

    pools = loaded.resolved.pools
    chosen = parse_seeds(seeds) if seeds is not None else list(pools.test or pools.validation or ())
    async with open_backend(choice) as opened:
        return await opened.guard(_run(opened, loaded, chosen, seconds))


async def _run(
    backend: Backend, loaded: LoadedJob, seeds: list[int], seconds: float
) -> Measurement:
    from burnish.evaluation import evaluation_spec
    from burnish.gating import measurement, models_of
    from burnish.jobs import CreateOptions
    from burnish.plain import to_plain

    spec = evaluation_spec(loaded.spec, seeds)
    job = await backend.client.jobs.create(
        spec, options=CreateOptions(task_app_api_key=loaded.task_app_api_key)
    )
    end = await job.wait(timeout=seconds)
    outcome = await job.result()
    if end.state != "succeeded" or outcome.baseline is None:
        reason, message = end.failure or ("NO_RESULT", f"the job ended as {end.state}")
        raise FailedPrecondition(f"{job.job_id}: {message}", reason=reason)
    prompt = outcome.baseline.prompt
    rewards = {
        one.seed: one.reward
        async for one in backend.client.rollouts.of_job(
            job.job_id, candidate_id=prompt.candidate_id
        )
        if one.pool == "validation"
    }
    models = models_of(to_plain(spec))
    return measurement(prompt.full_text, rewards, job=job.name, models=models)
