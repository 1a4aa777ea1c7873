"""One call from rows, a prompt and an evaluator to a better prompt."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from burnish.api.job.v1 import job_spec_pb2
from burnish.artefacts import write_artefacts
from burnish.background import BackgroundLoop
from burnish.connection import find_connection
from burnish.embedded import Backend, BackendChoice, open_backend
from burnish.errors import BurnishError, FailedPrecondition
from burnish.job_loading import load_job
from burnish.job_spec import to_job_spec
from burnish.jobs import CreateOptions
from burnish.optimize_task import (
    Evaluator,
    OptimizeOptions,
    Row,
    Task,
    build_app,
    job_document,
    split_rows,
)
from burnish.prompts import ChatMessage, Prompt
from burnish.report import render_report
from burnish.results import Estimate, JobOutcome, JobSnapshot
from burnish.task_app import AppKeys, start_http

__all__ = ["OptimizeFailed", "OptimizeOptions", "OptimizeResult", "optimize", "optimize_async"]

DEFAULT_MODEL = "local/local-reader"
DEFAULT_BUDGET = 200


class OptimizeFailed(FailedPrecondition, RuntimeError):
    """The job ended without a result."""

    default_reason = "OPTIMIZE_FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizeResult:
    """A better prompt, and how surely it is better.

    Attributes:
        prompt: The winner; the baseline when nothing beat it.
        baseline: The prompt to begin with.
        improvement: Winner minus baseline, paired on the same held-out rows.
        outcome: Everything that the job found.
        snapshot: Where the job ended.
    """

    prompt: Prompt
    baseline: Prompt
    improvement: Estimate | None
    outcome: JobOutcome
    snapshot: JobSnapshot

    @property
    def verdict(self) -> str:
        """One sentence on whether the prompt got better."""
        return self.outcome.verdict

    def messages(self, **values: str) -> list[ChatMessage]:
        """Returns the winner's chat messages for some values."""
        return self.prompt.messages(**values)

    def diff(self, other: Prompt | None = None) -> str:
        """Returns a unified diff to the winner, from the baseline when no other prompt is given."""
        return self.prompt.diff(other or self.baseline)

    def report(self) -> str:
        """Returns the report as Markdown."""
        return render_report(self.snapshot, self.outcome)

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Writes the artefacts of the job into a folder."""
        return write_artefacts(Path(folder), self.snapshot, self.outcome)


def optimize(
    *,
    seed_prompt: str,
    trainset: Sequence[Row],
    valset: Sequence[Row] | None = None,
    evaluator: Evaluator | None = None,
    budget: int = DEFAULT_BUDGET,
    model: str = DEFAULT_MODEL,
    options: OptimizeOptions | None = None,
) -> OptimizeResult:
    """Makes a prompt better, measured by rewards.

    Example:
        result = burnish.optimize(
            seed_prompt="Answer with the intent only.",
            trainset=[{"input": "Where is my card?", "label": "card_arrival"}, ...],
        )
        print(result.prompt.text, result.improvement)

    The suite runs for the time of the call, unless one is configured or runs in this directory.
    Works inside a running event loop too, which it blocks.

    Args:
        seed_prompt: The instruction to begin with, the system message.
        trainset: Rows to learn from, at least 20.
        valset: Rows to choose by; split off when None.
        evaluator: Returns the reward in [0, 1] of an answer to a row, plain or asynchronous; None
            compares with the row's answer. It may be called from several threads.
        budget: Most rollouts of bootstrap and search. The closing test comes on top.
        model: `provider/model` that answers.
        options: The rest.

    Raises:
        RowsUnusable: No job can be made of the rows.
        ConfigError: A setting is not valid.
        OptimizeFailed: The job ended without a result.
    """
    loop = BackgroundLoop()
    try:
        return loop.run(
            optimize_async(
                seed_prompt=seed_prompt,
                trainset=trainset,
                valset=valset,
                evaluator=evaluator,
                budget=budget,
                model=model,
                options=options,
            )
        )
    finally:
        loop.close()


async def optimize_async(
    *,
    seed_prompt: str,
    trainset: Sequence[Row],
    valset: Sequence[Row] | None = None,
    evaluator: Evaluator | None = None,
    budget: int = DEFAULT_BUDGET,
    model: str = DEFAULT_MODEL,
    options: OptimizeOptions | None = None,
) -> OptimizeResult:
    """Does what `optimize` does, inside an event loop."""
    task = Task(
        seed_prompt=seed_prompt,
        trainset=trainset,
        valset=valset,
        evaluator=evaluator,
        budget=budget,
        model=model,
        options=options or OptimizeOptions(),
    )
    rows, pools = split_rows(task)
    key = secrets.token_hex(32)
    server = await start_http(build_app(task, rows), keys=AppKeys(keys=(key,)))
    try:
        document = job_document(task, pools, app_url=server.url)
        loaded = await load_job(document, task_app_api_key=key)
        resolved = loaded.resolved
        if task.options.base_url is not None:
            resolved = replace(
                resolved,
                stages=tuple(
                    replace(stage, model=replace(stage.model, base_url=task.options.base_url))
                    if stage.model is not None
                    else stage
                    for stage in resolved.stages
                ),
            )
        async with _backend(task.options) as backend:
            return await backend.guard(_run(backend, to_job_spec(resolved), key, task.options))
    finally:
        await server.stop()


async def _run(
    backend: Backend, spec: job_spec_pb2.JobSpec, key: str, options: OptimizeOptions
) -> OptimizeResult:
    job = await backend.client.jobs.create(spec, options=CreateOptions(task_app_api_key=key))
    try:
        end = await job.wait(timeout=options.timeout, on_update=options.on_update)
    except BaseException:
        # The app ends with this call, so the job must not go on without it.
        with contextlib.suppress(BurnishError):
            await asyncio.shield(job.cancel())
        raise
    outcome = await job.result()
    if end.state != "succeeded" or outcome.best is None or outcome.baseline is None:
        reason, message = end.failure or ("NO_RESULT", f"it ended as {end.state}")
        raise OptimizeFailed(
            f"job `{end.job_id}` has no result: {reason}: {message}",
            metadata={"job": end.name, "reason": reason},
        )
    return OptimizeResult(
        prompt=outcome.best.prompt,
        baseline=outcome.baseline.prompt,
        improvement=outcome.improvement,
        outcome=outcome,
        snapshot=end,
    )


@contextlib.asynccontextmanager
async def _backend(options: OptimizeOptions) -> AsyncIterator[Backend]:
    choice = BackendChoice(target=options.target, token=options.token, state_dir=options.state_dir)
    known = find_connection(options.target, options.token, directory=options.state_dir)
    if known is not None or options.state_dir is not None:
        async with open_backend(choice) as backend:
            yield backend
        return
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="burnish-")
    try:
        async with open_backend(replace(choice, state_dir=Path(folder))) as backend:
            yield backend
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
