"""What the examples share: an app as a process, pools out of its splits, a job, its numbers.

Only the public SDK is used, and only what the app tells over its own address: the app stays a
program that knows nothing of the job.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from burnish.cli.lines import EventLines
from burnish.client import AsyncClient
from burnish.job_loading import load_job
from burnish.jobs import AsyncJob, CreateOptions
from burnish.results import Estimate, JobOutcome, JobSnapshot
from burnish.task_app.model import TaskInfo
from burnish.task_probe import ask_task_info

ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05
# Told on every batch; a plain listing needs them only now and then.
_CHATTER = frozenset({"progress", "budget_updated"})


class AppStartFailed(RuntimeError):
    """The app's process ended, or said nothing, before it listened."""


@contextlib.asynccontextmanager
async def app_process(
    module: str, *arguments: str, folder: Path, log: str = "app.log", python: str = sys.executable
) -> AsyncIterator[str]:
    """Runs a task app as a process of its own; yields its URL.

    Args:
        module: Module to run, such as `examples.intents.app`.
        *arguments: Its arguments.
        folder: Gets the app's log and ready file.
        log: Name of the log.
        python: Interpreter of the app's own environment.

    Raises:
        AppStartFailed: It did not begin to listen.
    """
    ready, log_file = _files(folder, log)
    command = (_interpreter(python), "-m", module, "--port", "0")
    with log_file.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(*command, "--ready-file", str(ready), *arguments),
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
        try:
            yield await _listening(process, ready, log_file)
        finally:
            await _stopped(process)


def _interpreter(python: str) -> str:
    found = shutil.which(python)
    if found is None:
        raise AppStartFailed(
            f"there is no interpreter `{python}`; make the app's environment first"
        )
    return str(Path(found).absolute())


def _files(folder: Path, log: str) -> tuple[Path, Path]:
    """Returns the ready file, which does not exist yet, and the log of an app."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / "app.json"
    ready.unlink(missing_ok=True)
    return ready, folder / log


async def _listening(process: asyncio.subprocess.Process, ready: Path, log: Path) -> str:
    deadline = asyncio.get_running_loop().time() + _START_SECONDS
    while (url := _announced(ready)) is None:
        if process.returncode is not None or asyncio.get_running_loop().time() > deadline:
            raise AppStartFailed(f"the task app did not start; its log `{log}` ends:\n{_end(log)}")
        await asyncio.sleep(_POLL_SECONDS)
    return url


def _announced(ready: Path) -> str | None:
    return str(json.loads(ready.read_text())["http"]) if ready.exists() else None


def _end(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


async def _stopped(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How large a job is.

    The training rows are those of bootstrap, minibatches and reference together. The budget counts
    bootstrap, the baseline on the validation rows and the search, not the closing test.

    Attributes:
        bootstrap: Training rows that the unchanged app is run on, for demos and for failures.
        online: Training rows that minibatches are drawn from.
        reference: Training rows that the proposer sees besides; None is all the others.
        validation: Rows that the last candidates are compared on.
        test: Held-out rows; None is all of them.
        test_split: Split that they come from.
        rollouts: Most rollouts before the closing test.
        instructions: Instructions to propose.
        demo_sets: Demo sets, the empty one included.
        demo_size: Most demos in a set.
        batch_size: Rows of a minibatch.
        iterations: Most iterations of two minibatch trials.
        full_every: Minibatch trials between two full evaluations of the best candidate so far.
        top_k: Candidates compared on all validation rows at the end.
        effort: How much the proposer is shown.
        concurrency: Most rollouts in flight.
        engine: What chooses candidates and rows, `race` or `tpe`; None is the release's default.
    """

    bootstrap: int = 60
    online: int = 60
    reference: int | None = None
    validation: int = 40
    test: int | None = None
    test_split: str = "test"
    rollouts: int = 300
    instructions: int = 6
    demo_sets: int = 6
    demo_size: int = 8
    batch_size: int = 10
    iterations: int = 10
    full_every: int = 8
    top_k: int = 2
    effort: str = "MEDIUM"
    concurrency: int = 16
    engine: str | None = None


def pools(info: TaskInfo, plan: Plan, *, seed: int) -> dict[str, list[int]]:
    """Returns the seeds of every pool, drawn from the app's splits by the job's seed.

    The test pool is the first rows of the test split whatever the seed, so jobs are compared on the
    same rows.
    """
    splits = {split.name: range(split.start, split.end) for split in info.splits}
    rng = random.Random(seed)
    train = rng.sample(splits["train"], len(splits["train"]))
    if "validation" in splits:
        validation = rng.sample(splits["validation"], len(splits["validation"]))
    else:
        train, validation = train[plan.validation :], train[: plan.validation]
    scored = plan.bootstrap + plan.online
    shown = None if plan.reference is None else scored + plan.reference
    return {
        "bootstrap": train[: plan.bootstrap],
        "online": train[plan.bootstrap : scored],
        "reference": train[scored:shown],
        "validation": validation[: plan.validation],
        "test": list(splits[plan.test_split])[: plan.test],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One job.

    Attributes:
        url: The app.
        plan: How large the job is.
        seed: Seed of every random choice.
        stages: Call sites of the app, as a job file declares them; empty lets them be learnt.
    """

    url: str
    plan: Plan
    seed: int = 0
    stages: tuple[Mapping[str, object], ...] = ()


def job_settings(order: Order, info: TaskInfo) -> dict[str, object]:
    """Returns a MIPRO job with the local models, in the form of a job file."""
    plan = order.plan
    job: dict[str, object] = {
        "algorithm": "mipro",
        "task_app": order.url,
        "seed": order.seed,
        "max_concurrent": plan.concurrency,
        "model": {
            "provider": "local",
            "model": "local-reader",
            "temperature": 0.0,
            "max_output_tokens": 64,
        },
        "proposer": {
            "effort": plan.effort,
            "provider": "local",
            "model": "local-proposer",
            "instructions_per_batch": plan.instructions,
        },
        "pools": pools(info, plan, seed=order.seed),
        "search": {
            **({"engine": plan.engine} if plan.engine is not None else {}),
            "num_iterations": plan.iterations,
            "num_evaluations_per_iteration": 2,
            "batch_size": plan.batch_size,
            "full_eval_every_k": plan.full_every,
            "top_k": plan.top_k,
            "max_demo_set_size": plan.demo_size,
            "max_demo_sets": plan.demo_sets,
        },
        "budget": {"max_rollouts": plan.rollouts},
    }
    if order.stages:
        job["stages"] = list(order.stages)
    return {"job": job}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A job that has ended."""

    snapshot: JobSnapshot
    outcome: JobOutcome


async def run_job(
    client: AsyncClient, order: Order, *, say: Callable[[str], None] | None = None
) -> Finished:
    """Runs a job on an app to its end; `say` gets each line of progress."""
    info = await ask_task_info(order.url)
    loaded = await load_job(job_settings(order, info))
    job = await client.jobs.create(
        loaded.spec, options=CreateOptions(task_app_api_key=loaded.task_app_api_key)
    )
    if say is not None:
        rows = len(loaded.resolved.pools.test or ())
        say(
            f"Job {job.job_id}: MIPRO with {order.plan.rollouts} rollouts at most, then a test on"
            f" {rows} held-out rows"
        )
    await _follow(job, say)
    return Finished(snapshot=await job.refresh(), outcome=await job.result())


async def _follow(job: AsyncJob, say: Callable[[str], None] | None) -> None:
    lines = EventLines(engine=job.snapshot.engine)
    async with contextlib.aclosing(job.updates()) as updates:
        async for event in updates:
            if say is None or event.WhichOneof("kind") in _CHATTER:
                continue
            for line in lines.lines(event):
                say(line)


def held_out_lines(outcome: JobOutcome) -> list[str]:
    """Returns baseline, winner and their paired difference on the same held-out rows."""
    chosen = outcome.challenger
    name = "winner" if chosen is outcome.best else "challenger"
    rows = [
        ("baseline", outcome.baseline.test if outcome.baseline is not None else None, ".3f"),
        (name, chosen.test if chosen is not None else None, ".3f"),
        ("difference, row by row", outcome.improvement, "+.3f"),
    ]
    return [_estimate_line(name, found, form) for name, found, form in rows if found is not None]


def _estimate_line(name: str, found: Estimate, form: str) -> str:
    return (
        f"  {name:<24}{found.mean:{form}}   {found.confidence:.0%} interval "
        f"[{found.lower:{form}}, {found.upper:{form}}]   n={found.row_count}"
    )


def spend_lines(outcome: JobOutcome) -> list[str]:
    """Returns calls, tokens and money by role."""
    return [
        f"  {role:<10}{spent.call_count:>6} calls {spent.input_tokens:>9} tokens in "
        f"{spent.output_tokens:>7} out   "
        + ("price unknown" if spent.cost_usd is None else f"${spent.cost_usd:.4f}")
        for role, spent in outcome.usage_by_role.items()
    ]


def prompt_lines(outcome: JobOutcome) -> list[str]:
    """Returns the winning prompt in full: instruction and demos of every stage."""
    if outcome.best is None:
        return []
    return outcome.best.prompt.full_text.splitlines()


def improved(outcome: JobOutcome) -> bool:
    """Says whether the winner is better on the held-out rows, beyond its uncertainty."""
    return outcome.improvement is not None and outcome.improvement.lower > 0


def print_all(lines: Sequence[str]) -> None:
    """Prints lines at once."""
    print("\n".join(lines), flush=True)
