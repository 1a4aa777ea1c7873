"""An offline job from beginning to end, as one readable function over durable steps.

Everything here is deterministic: no clock, no randomness, no environment. What it decides on comes
out of steps, and a step's result is kept: after a crash the function runs again from the start,
reads the results of the steps that finished, and goes on with the first that did not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from burnish.api.job import v1 as job_v1

ASKS_PER_ROUND = 100
Phase = job_v1.JobPhase


class Durable(Protocol):
    """What the durable engine gives to a job.

    A step runs at least once and its result is kept; a child is a workflow of its own, which bounds
    how much is read again after a crash.
    """

    async def step(self, name: str, *arguments: str | int) -> str:
        """Runs a named step of this job and returns its result."""

    async def child(self, name: str, *arguments: str | int) -> str:
        """Runs a named part of this job as a workflow of its own."""


async def offline_job(flow: Durable) -> None:
    """Check, baseline, bootstrap, propose, search, test. Entering a phase may end the job."""
    if not await _enter(flow, job_v1.JOB_PHASE_CHECK):
        return
    await flow.step("check_app")
    if not await _enter(flow, job_v1.JOB_PHASE_BASELINE):
        return
    await flow.step("learn_baseline")
    await flow.step("evaluate_baseline")
    if not await _enter(flow, job_v1.JOB_PHASE_BOOTSTRAP):
        return
    await flow.child("bootstrap")
    if not await _enter(flow, job_v1.JOB_PHASE_PROPOSE):
        return
    await flow.step("propose")
    if not await _enter(flow, job_v1.JOB_PHASE_SEARCH):
        return
    await flow.step("open_space")
    reason, first = "", 0
    while not reason:
        reason = await flow.child("search", first)
        first += ASKS_PER_ROUND
    await flow.step("end_search", reason)
    if not await _enter(flow, job_v1.JOB_PHASE_TEST):
        return
    winner = await flow.step("choose_winner")
    await flow.child("test", winner)
    await flow.step("conclude", winner)
    if not await _enter(flow, job_v1.JOB_PHASE_COMPLETE):
        return
    await flow.step("succeed")


async def bootstrap(flow: Durable) -> str:
    """Runs the bootstrap pool part by part, then builds the demo sets."""
    part = 0
    while await flow.step("run_bootstrap", part) == "more":
        part += 1
    await flow.step("build_demo_sets")
    return ""


async def search(flow: Durable, first: int) -> str:
    """Makes up to a hundred asks; returns why the search ended, or nothing when it goes on."""
    for ask_index in range(first, first + ASKS_PER_ROUND):
        action = await flow.step("suggest", ask_index)
        if action == "evaluate":
            await flow.step("evaluate", ask_index)
            await flow.step("tell", ask_index)
        elif action == "propose":
            written = await flow.step("answer_brief", ask_index)
            await flow.step("settle_brief", ask_index, written)
        else:
            return action
    return ""


async def test(flow: Durable, winner: str) -> str:
    """Runs the closing test part by part."""
    part = 0
    while await flow.step("run_test", winner, part) == "more":
        part += 1
    return ""


CHILDREN: dict[str, Callable[..., Awaitable[str]]] = {
    "bootstrap": bootstrap,
    "search": search,
    "test": test,
}


async def _enter(flow: Durable, phase: job_v1.JobPhase.ValueType) -> bool:
    """Whether the job goes on; the answer is kept like any other."""
    return await flow.step("enter_phase", Phase.Name(phase)) != "cancelled"
