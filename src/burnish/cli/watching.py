"""Follows a job that another command started."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass

from burnish import events
from burnish.cli.follow import Follower
from burnish.cli.lines import header
from burnish.cli.output import FAILED, OK, Output
from burnish.cli.train import failure_line
from burnish.client import AsyncClient
from burnish.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is to be followed.

    Attributes:
        job: Id or name of the job.
        after: Last sequence seen.
        timeout: Most seconds; None follows to the end.
        jsonl: Whether each event is printed as a line of JSON.
    """

    job: str
    after: int
    timeout: float | None
    jsonl: bool


async def watch_job(client: AsyncClient, watch: Watch, output: Output) -> int:
    """Follows a job to its end; returns the exit code.

    Raises:
        DeadlineExceeded: The time is over; the message says how to go on.
    """
    job = await client.jobs.get(watch.job)
    algorithm = job.snapshot.algorithm
    for line in header(algorithm=algorithm, job_id=job.job_id, state=job.snapshot.state):
        output.say(line)
    seen: list[events.Envelope] = []
    with Follower(output, snapshot=job.snapshot) as follower:
        follower.last_sequence = watch.after
        try:
            async with asyncio.timeout(watch.timeout):
                async for event in client.jobs.watch(job.name, after_sequence=watch.after):
                    follower.take(await job.refresh(), event)
                    envelope = events.to_envelope(event, job_id=job.job_id, algorithm=algorithm)
                    if watch.jsonl:
                        sys.stdout.write(json.dumps(envelope) + "\n")
                        sys.stdout.flush()
                    else:
                        seen.append(envelope)
        except TimeoutError:
            raise DeadlineExceeded(
                f"job `{job.job_id}` did not end within {watch.timeout:g} s; go on with "
                f"`burnish job watch {job.job_id} --after {follower.last_sequence}`",
                reason="WAIT_TIMEOUT",
            ) from None
    end = await job.refresh()
    if output.quiet and (failure := failure_line(end)):
        output.problem(failure)
    if not watch.jsonl:
        output.data({"job": end.plain, "events": seen}, text=f"{end.job_id} {end.state}")
    return OK if end.state == "succeeded" else FAILED
