"""`burnish train`: a job from a file to its results, with a suite of its own when none runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.inputs import load_env_file, parse_overrides
from burnish.cli.options import (
    BackendOption,
    BootstrapFromOption,
    GateOption,
    JobIdOption,
    ResultsDirOption,
    SetOption,
    StateDirOption,
    TaskKeyOption,
    TaskUrlOption,
    TokenOption,
)
from burnish.cli.output import (
    BUDGET_EXHAUSTED,
    FAILED,
    GATE_FAILED,
    OK,
    JsonOption,
    NotSaved,
    Output,
    QuietOption,
    handled,
)
from burnish.cli.targets import prepare_folder
from burnish.errors import InvalidArgument

if TYPE_CHECKING:
    from burnish.embedded import Backend
    from burnish.job_loading import LoadedJob
    from burnish.jobs import AsyncJob
    from burnish.results import JobOutcome, JobSnapshot

app = typer.Typer()

_TYPES = ("prompt_learning", "prompt")
_NOT_OK = {
    FAILED: "error: the job has not ended",
    GATE_FAILED: "error: the gate failed: the prompt is not surely better",
    BUDGET_EXHAUSTED: "error: the budget was used up before there was an answer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What a run of `burnish train` was asked for.

    Attributes:
        config: The job file.
        overrides: Values that replace those of the file.
        task_app_url: Task app; replaces the file's.
        task_app_api_key: Key that the task app asks for.
        backend: The controller.
        token: Its bearer token.
        state_dir: State directory of a running or embedded suite.
        poll: Whether to follow the job to its end.
        poll_timeout: Most seconds to follow it.
        results_dir: Where the results go.
        job_id: Id of the job.
        gate: Whether to fail unless the prompt is surely better.
        bootstrap_from: Earlier job whose rollouts give demos too.
    """

    config: Path
    overrides: dict[str, object]
    task_app_url: str | None = None
    task_app_api_key: str | None = None
    backend: str | None = None
    token: str | None = None
    state_dir: Path | None = None
    poll: bool = True
    poll_timeout: float = 3600.0
    results_dir: Path | None = None
    job_id: str = ""
    gate: bool = False
    bootstrap_from: str = ""


@app.command()
@handled
def train(
    config: Annotated[
        Path | None, typer.Argument(help="The job file (TOML).", show_default=False)
    ] = None,
    config_option: Annotated[
        Path | None, typer.Option("--config", help="The job file (TOML).", show_default=False)
    ] = None,
    kind: Annotated[
        str, typer.Option("--type", help="Kind of job: prompt_learning.")
    ] = "prompt_learning",
    env: Annotated[
        Path | None, typer.Option("--env", help="File of NAME=VALUE lines for the environment.")
    ] = None,
    task_url: TaskUrlOption = None,
    task_app_key: TaskKeyOption = None,
    backend: BackendOption = None,
    token: TokenOption = None,
    state_dir: StateDirOption = None,
    poll: Annotated[bool, typer.Option("--poll/--no-poll", help="Follow to the end.")] = True,
    poll_timeout: Annotated[
        float, typer.Option(min=0, help="Most seconds to follow the job; it goes on afterwards.")
    ] = 3600.0,
    poll_interval: Annotated[
        float, typer.Option(min=0, help="Accepted for compatibility: updates are streamed.")
    ] = 5.0,
    results_dir: ResultsDirOption = None,
    job_id: JobIdOption = "",
    set_values: SetOption = None,
    gate: GateOption = False,
    bootstrap_from: BootstrapFromOption = "",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run a job from its file to its results."""
    if kind not in _TYPES:
        raise InvalidArgument(
            f"--type {kind}: is not offered; use --type prompt_learning", reason="TYPE_UNKNOWN"
        )
    chosen = config_option or config
    if chosen is None:
        raise InvalidArgument("no job file is given; use --config FILE", reason="CONFIG_MISSING")
    if env is not None:
        load_env_file(env)
    options = TrainOptions(
        config=chosen,
        overrides=parse_overrides(set_values or []),
        task_app_url=task_url,
        task_app_api_key=task_app_key,
        backend=backend,
        token=token,
        state_dir=state_dir,
        poll=poll,
        poll_timeout=poll_timeout,
        results_dir=results_dir,
        job_id=job_id,
        gate=gate,
        bootstrap_from=bootstrap_from,
    )
    code = asyncio.run(run_job(options, Output(json=as_json, quiet=quiet)))
    if code != OK:
        raise typer.Exit(code)


async def run_job(options: TrainOptions, output: Output) -> int:
    """Runs a job from its file to its results; returns the exit code."""
    from burnish.embedded import BackendChoice, open_backend
    from burnish.job_loading import load_job

    loaded = await load_job(
        options.config,
        overrides=options.overrides,
        task_app_url=options.task_app_url,
        task_app_api_key=options.task_app_api_key,
    )
    for warning in loaded.warnings:
        output.say(f"warning: {warning}")
    if options.bootstrap_from:
        loaded.spec.offline.bootstrap.source_job = job_name(options.bootstrap_from)
    if options.poll:
        # Before anything runs: a result that cannot be kept is money lost.
        prepare_folder(results_folder(options.results_dir, loaded, options.config))
    choice = BackendChoice(target=options.backend, token=options.token, state_dir=options.state_dir)
    async with open_backend(choice) as backend:
        if backend.suite is not None:
            if not options.poll:
                raise InvalidArgument(
                    "--no-poll needs a suite that goes on running; start one with `burnish up`",
                    reason="NO_POLL_WITHOUT_BACKEND",
                )
            output.say(
                f"No backend is set: a suite runs here for the time of the job "
                f"({backend.suite.state.path})"
            )
        return await backend.guard(_submit_and_follow(backend, loaded, options, output))


async def _submit_and_follow(
    backend: Backend, loaded: LoadedJob, options: TrainOptions, output: Output
) -> int:
    from burnish.cli.follow import Follower
    from burnish.cli.lines import header
    from burnish.jobs import CreateOptions

    job = await backend.client.jobs.create(
        loaded.spec,
        options=CreateOptions(job_id=options.job_id, task_app_api_key=loaded.task_app_api_key),
    )
    algorithm = loaded.spec.algorithm
    for line in header(algorithm=algorithm, job_id=job.job_id, state=job.snapshot.state):
        output.say(line)
    if not options.poll:
        output.data(job.snapshot.plain, text=job.job_id)
        return OK
    folder = results_folder(options.results_dir, loaded, options.config)
    log_file = folder / f"{algorithm}_log_{job.job_id}.log"
    with Follower(output, snapshot=job.snapshot, log_file=log_file) as follower:
        try:
            await job.wait(timeout=options.poll_timeout, on_update=follower.take)
        except asyncio.CancelledError:
            output.say(_left_running(job.job_id, backend))
            raise
    return await finish(job, folder, output, gate=options.gate)


def job_name(text: str) -> str:
    """Returns the resource name of a job given by its name or by its id."""
    from burnish.resources import JobName

    return str(JobName.parse(text if "/" in text else f"jobs/{text}"))


def _left_running(job_id: str, backend: Backend) -> str:
    if backend.suite is None:
        return f"The job goes on. Follow it: burnish job watch {job_id}"
    return (
        "The job waits in the state directory. Go on with `burnish up` and "
        f"`burnish job watch {job_id}`"
    )


async def finish(job: AsyncJob, folder: Path, output: Output, *, gate: bool = False) -> int:
    """Writes a finished job's results, prints their summary, and returns the exit code."""
    from burnish.artefacts import write_artefacts

    snapshot = await job.refresh()
    outcome = await job.result()
    for line in summary(snapshot, outcome):
        output.say(line)
    code = outcome_code(snapshot, outcome, gate=gate)
    if output.quiet and code != OK:
        output.problem(failure_line(snapshot) or _NOT_OK[code])
    written: dict[str, Path] = {}
    unsaved = None
    try:
        written = write_artefacts(folder, snapshot, outcome)
    except OSError as error:
        unsaved = error
    output.data(
        {
            "job": snapshot.plain,
            "result": outcome.plain,
            "artefacts": {name: str(path) for name, path in written.items()},
        },
        text="Results: not kept" if unsaved else f"Results: {folder}",
    )
    if unsaved is not None:
        raise NotSaved(unsaved, folder)
    return code


def failure_line(snapshot: JobSnapshot) -> str:
    """Returns why a job that ended did not succeed; empty when it did, or has not ended."""
    if snapshot.failure is not None:
        return f"error: {snapshot.failure[0]}: {snapshot.failure[1]}"
    return f"error: the job was {snapshot.state}" if snapshot.state == "cancelled" else ""


def summary(snapshot: JobSnapshot, outcome: JobOutcome) -> list[str]:
    """Returns the closing lines of a job."""
    from burnish.cli.lines import RULE

    title = "Optimization Complete" if snapshot.state == "succeeded" else "Optimization Ended"
    best = outcome.best.score if outcome.best is not None else None
    iterations = {trial.iteration for trial in outcome.history if trial.kind != "top_k"}
    lines = ["", RULE, title, RULE]
    if best is not None:
        lines.append(f"Best Score: {best:.4f}")
    lines += [
        f"Total Iterations: {len(iterations)}",
        f"Total Evaluations: {sum(outcome.rollouts_by_phase.values())}",
    ]
    if outcome.baseline is not None and outcome.baseline.test is not None:
        lines.append(f"Baseline on held-out rows: {outcome.baseline.test}")
    tested = outcome.challenger
    if tested is not None and tested.test is not None:
        name = "Winner" if tested is outcome.best else "Challenger"
        lines.append(f"{name + ' on held-out rows:':<26} {tested.test}")
    if outcome.improvement is not None:
        lines.append(f"Difference (paired):       {outcome.improvement}")
    if outcome.verdict:
        lines.append(outcome.verdict)
    if outcome.held_out is not None:
        lines += [f"Why no gain: {seen}" for seen in outcome.held_out.causes.values()]
    if outcome.simulated_count:
        lines.append(
            f"A simulated judge had a part in {outcome.simulated_count} rewards: they say nothing"
            " of a real one"
        )
    if snapshot.failure is not None:
        lines.append(f"Failed: {snapshot.failure[0]}: {snapshot.failure[1]}")
    return [*lines, f"Final status: {snapshot.state}"]


def outcome_code(snapshot: JobSnapshot, outcome: JobOutcome, *, gate: bool) -> int:
    """Returns the exit code for how a job ended."""
    from burnish.verdicts import Verdict

    if snapshot.failure is not None and "BUDGET" in snapshot.failure[0]:
        return BUDGET_EXHAUSTED
    if snapshot.state != "succeeded":
        return FAILED
    if outcome.best is None and snapshot.termination_reason in {
        "budget_exhausted",
        "rollout_limit",
        "time_limit",
    }:
        return BUDGET_EXHAUSTED
    improved = outcome.improvement is not None and outcome.improvement.lower > 0
    if outcome.held_out is not None:
        improved = outcome.held_out.promoted and outcome.held_out.verdict == Verdict.BETTER
    return GATE_FAILED if gate and not improved else OK


def results_folder(given: Path | None, loaded: LoadedJob, config: Path) -> Path:
    """Returns where results go: as given, as the file says, or `results` here."""
    if given is not None:
        return given
    named = loaded.resolved.results_folder
    return config.resolve().parent / named if named else Path("results")
