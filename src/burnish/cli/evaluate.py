"""`burnish eval`: runs the app's own prompt, and one given, over some seeds; keeps the calls."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
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
from burnish.cli.output import (
    FAILED,
    OK,
    JsonOption,
    NotSaved,
    Output,
    QuietOption,
    handled,
)
from burnish.cli.targets import prepare_file

if TYPE_CHECKING:
    from burnish.api.job.v1 import job_spec_pb2
    from burnish.embedded import Backend

app = typer.Typer()


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """What a run of `burnish eval` was asked for.

    Attributes:
        key: Key of the task app.
        traces: Where the calls go.
        timeout: Most seconds.
    """

    key: str
    traces: Path
    timeout: float


@app.command(name="eval")
@handled
def evaluate(
    config: Annotated[Path, typer.Argument(help="The job file (TOML) to take app and model from.")],
    seeds: Annotated[
        str | None, typer.Option(help="Seeds: 0-49 or 1,5,9; the validation pool when not given.")
    ] = None,
    prompt: Annotated[
        Path | None,
        typer.Option(help="File with an instruction to measure beside the app's own."),
    ] = None,
    stage: Annotated[str, typer.Option(help="Stage that the instruction is for.")] = "",
    traces: Annotated[
        Path, typer.Option("--traces", help="Every model call, one JSON object a line.")
    ] = Path("traces.jsonl"),
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
    """Measure the app's own prompt, and one given, on some seeds; keep the calls."""
    from burnish.embedded import BackendChoice, open_backend
    from burnish.evaluation import evaluation_spec, parse_seeds
    from burnish.job_loading import load_job

    output = Output(json=as_json, quiet=quiet)

    async def run() -> int:
        loaded = await load_job(
            config,
            overrides=parse_overrides(set_values or []),
            task_app_url=task_url,
            task_app_api_key=task_app_key,
        )
        pools = loaded.resolved.pools
        chosen = parse_seeds(seeds) if seeds is not None else pools.validation or pools.online or ()
        text = None
        if prompt is not None:
            text = (await asyncio.to_thread(prompt.read_text, "utf-8")).rstrip("\n")
        spec = evaluation_spec(loaded.spec, chosen, prompt=text, stage=stage)
        options = EvalOptions(key=loaded.task_app_api_key, traces=traces, timeout=timeout)
        # Before anything runs: a measurement that cannot be kept is money lost.
        await asyncio.to_thread(prepare_file, traces)
        choice = BackendChoice(target=backend, token=token, state_dir=state_dir)
        async with open_backend(choice) as opened:
            return await opened.guard(_measure(opened, spec, options, output))

    code = asyncio.run(run())
    if code != OK:
        raise typer.Exit(code)


async def _measure(
    backend: Backend, spec: job_spec_pb2.JobSpec, options: EvalOptions, output: Output
) -> int:
    from burnish.evaluation import rollout_calls
    from burnish.jobs import CreateOptions

    job = await backend.client.jobs.create(
        spec, options=CreateOptions(task_app_api_key=options.key)
    )
    output.say(f"Job ID: {job.job_id}")
    end = await job.wait(timeout=options.timeout)
    outcome = await job.result()
    if end.state != "succeeded" or outcome.baseline is None:
        reason, message = end.failure or ("NO_RESULT", f"the job ended as {end.state}")
        output.problem(f"error: {reason}: {message}")
        output.data({"job": end.plain}, text=f"{job.job_id} {end.state}")
        return FAILED
    calls = await rollout_calls(backend.client, spec, job.name, outcome)
    text = "".join(json.dumps(call, ensure_ascii=False) + "\n" for call in calls)
    unsaved = None
    try:
        await asyncio.to_thread(options.traces.write_text, text, encoding="utf-8")
    except OSError as error:
        unsaved = error
    reward = outcome.baseline.validation
    given = [one.validation for one in outcome.candidates if not one.baseline]
    lines = [f"reward  {reward or 'none'}"]
    lines += [f"prompt  {one or 'none'}" for one in given]
    lines += [
        f"without a reward: {count} rollouts, {reason}"
        for reason, count in outcome.unscored_by_reason.items()
    ]
    lines.append(f"calls   {len(calls)} {'not kept' if unsaved else f'in {options.traces}'}")
    output.data(
        {
            "job_id": job.job_id,
            "reward": None if reward is None else asdict(reward),
            "prompt_reward": asdict(given[0]) if given and given[0] is not None else None,
            "unscored_by_reason": dict(outcome.unscored_by_reason),
            "usage_by_role": {role: asdict(used) for role, used in outcome.usage_by_role.items()},
            "traces": None if unsaved else str(options.traces),
            "call_count": len(calls),
        },
        text="\n".join(lines),
    )
    if unsaved is not None:
        raise NotSaved(unsaved, options.traces)
    return OK
