"""Binds offline jobs to DBOS: job = workflow, part = child workflow, work item = one step.

Its rows hold only names and short texts; results live in our own tables. The application version is
a constant of ours, the version of the workflow's contract: raise it when the order of steps
changes, and jobs that were begun under the old one are left to a release that knows it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

import structlog
from dbos import DBOS, DBOSPortableJSONSerializer, SetWorkflowID

from burnish.errors import BurnishError, Internal
from burnish_controller.offline import CHILDREN, offline_job

WORKFLOW_CONTRACT_VERSION = "2"
QUEUE = "jobs"
# A poll takes two milliseconds: ten a second were most of what an idle controller used.
QUEUE_POLL_SECONDS = 0.3

_FIRST_RETRY_SECONDS = 0.5
_MAX_RETRY_SECONDS = 60.0
_CUT_SECONDS = 10.0
_OVER = frozenset({"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})

_log = structlog.get_logger("burnish.controller.durable")


class JobFailed(Internal):
    """A step failed for good; carries the reason that the job fails with."""

    default_reason = "JOB_FAILED"


# Workflows that did not end when an engine closed. Nothing else holds them, and one that is
# collected would try to write how it ended, though it has not.
_CUT_OFF: set[asyncio.Task[Any]] = set()


class JobRunner(Protocol):
    """What runs the steps of jobs."""

    async def run_step(self, job_id: str, name: str, arguments: list[str | int]) -> str:
        """Runs one step and returns its result."""

    async def fail(self, job_id: str, reason: str, message: str) -> None:
        """Moves a job to its failed state."""


class DurableEngine:
    """The process's one DBOS instance. Launch it inside the running loop."""

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner
        self._workflows: set[asyncio.Task[Any]] = set()
        self._start: Callable[..., Awaitable[Any]] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def launch(self, *, database_url: str, executor_id: str) -> None:
        """Opens the engine's tables and takes up the jobs that were under way.

        Args:
            database_url: The controller's own database, for a synchronous driver.
            executor_id: Stable name of this replica: under it, its jobs are found again.
        """
        DBOS(
            config={
                "name": "burnish-controller",
                "system_database_url": database_url,
                "serializer": DBOSPortableJSONSerializer(),
                "executor_id": executor_id,
                "application_version": WORKFLOW_CONTRACT_VERSION,
                "enable_otlp": False,
                "log_level": "ERROR",
            }
        )
        job = self._register()
        DBOS.launch()
        await DBOS.register_queue_async(QUEUE, polling_interval_sec=QUEUE_POLL_SECONDS)

        async def start(job_id: str) -> None:
            with SetWorkflowID(job_id):
                await DBOS.enqueue_workflow_async(QUEUE, job, job_id)

        self._start = start

    async def start(self, job_id: str) -> None:
        """Puts a job on the queue; a job that is there already is left as it is."""
        if self._start is None:
            raise Internal("the durable engine was not launched")
        await self._start(job_id)

    async def take_up(self, job_id: str) -> None:
        """Goes on with a job that has not ended.

        One whose workflow is over ended without a word, as when its last writes found the disk
        full: nobody works on it any more, so it fails now.
        """
        status = await DBOS.get_workflow_status_async(job_id)
        if status is None or status.status not in _OVER:
            await self.start(job_id)
            return
        _log.error("job lost", job=job_id, workflow=status.status)
        await self._runner.fail(
            job_id,
            "JOB_LOST",
            "the controller could not write how the job ended; its log tells why. Submit it again",
        )

    async def close(self) -> None:
        """Leaves the jobs where they are; the next launch takes them up.

        Who is cut off while it waits has to ask again before another engine is launched.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        # Workflows cut off in mid-step complain, at length; that is what is meant to happen here.
        logging.getLogger("dbos").setLevel(logging.CRITICAL + 1)
        # One that is cancelled writes nothing. One that met an engine half closed would fail, and
        # might still write that, and its job would be lost.
        await self._cut_off()
        # The engine made its threads the loop's own, and takes them with it.
        threads = ThreadPoolExecutor()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(threads)
        try:
            await loop.run_in_executor(threads, partial(DBOS.destroy, destroy_registry=True))
        finally:
            loop.set_default_executor(threads)

    async def _cut_off(self) -> None:
        workflows = set(self._workflows)
        for workflow in workflows:
            workflow.cancel()
        if workflows:
            _, stuck = await asyncio.wait(workflows, timeout=_CUT_SECONDS)
            _CUT_OFF.update(stuck)

    def _hold(self) -> None:
        """Holds the workflow that runs to its very end, the writing of its outcome included."""
        task = asyncio.current_task()
        if self._closing is not None or task is None:
            raise asyncio.CancelledError
        self._workflows.add(task)
        task.add_done_callback(self._workflows.discard)

    def _register(self) -> Callable[[str], Coroutine[Any, Any, None]]:
        runner = self._runner

        @DBOS.workflow(name="part")
        async def part(job_id: str, name: str, arguments: list[str | int]) -> str:
            flow = _Flow(runner, job_id, part)
            self._hold()
            try:
                return _kept(await CHILDREN[name](flow, *arguments))
            except JobFailed as failure:
                return _kept_failure(failure.reason, failure.message)

        @DBOS.workflow(name="job")
        async def job(job_id: str) -> None:
            flow = _Flow(runner, job_id, part)
            self._hold()
            try:
                await offline_job(flow)
            except JobFailed as failure:
                fail = partial(runner.fail, job_id, failure.reason, failure.message)
                await DBOS.run_step_async({"name": "fail"}, until_written, fail)

        return job


class _Flow:
    """`Durable` over DBOS, for one job."""

    def __init__(
        self,
        runner: JobRunner,
        job_id: str,
        part: Callable[[str, str, list[str | int]], Awaitable[str]],
    ) -> None:
        self._runner = runner
        self._job_id = job_id
        self._part = part

    async def step(self, name: str, *arguments: str | int) -> str:
        """Runs a step; a failure is kept like any result, and read again as the same failure."""
        return _read(await DBOS.run_step_async({"name": name}, self._run, name, list(arguments)))

    async def child(self, name: str, *arguments: str | int) -> str:
        """Runs a part as a workflow with an id of its own."""
        suffix = "/".join(str(argument) for argument in arguments)
        with SetWorkflowID(f"{self._job_id}/{name}/{suffix}"):
            return _read(await self._part(self._job_id, name, list(arguments)))

    async def _run(self, name: str, arguments: list[str | int]) -> str:
        try:
            value = await self._runner.run_step(self._job_id, name, arguments)
        except BurnishError as error:
            _log.warning("step failed", job=self._job_id, step=name, reason=error.reason)
            return _kept_failure(error.reason, error.message)
        except Exception:  # a boundary: a bug of ours fails its job, not the controller
            _log.exception("step broke", job=self._job_id, step=name)
            return _kept_failure("INTERNAL", f"step `{name}` broke; see the controller's log")
        return _kept(value)


async def until_written(
    write: Callable[[], Awaitable[None]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Writes a job's end, again and again until it is written.

    A job whose end is not written, as on a full disk, would look as if it went on for ever.
    """
    delay = _FIRST_RETRY_SECONDS
    while True:
        try:
            return await write()
        except Exception:  # a boundary: whatever it is, there is nobody to tell but the log
            _log.exception("the end of a job was not written", again_in_seconds=delay)
        await sleep(delay)
        delay = min(2 * delay, _MAX_RETRY_SECONDS)


def _kept(value: str) -> str:
    return json.dumps({"value": value})


def _kept_failure(reason: str, message: str) -> str:
    return json.dumps({"reason": reason, "message": message})


def _read(kept: str) -> str:
    """Returns the value that was kept.

    Raises:
        JobFailed: A failure was kept; it is read with its reason however often.
    """
    outcome = json.loads(kept)
    if "reason" in outcome:
        raise JobFailed(outcome["message"], reason=outcome["reason"])
    return str(outcome["value"])
