"""Reads prompt learning jobs by id, with the names that Synth's SDK has."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from burnish import events
from burnish.client import DEFAULT_TIMEOUT_SECONDS, AsyncClient
from burnish.prompt_learning import OnStatus, PromptLearningJob
from burnish.prompt_learning_config import PollOutcome
from burnish.prompt_results import (
    Document,
    PromptResults,
    prompt_results,
    scoring_summary,
    status_document,
)

__all__ = [
    "JobPoller",
    "PollOutcome",
    "PromptLearningClient",
    "PromptLearningJobPoller",
    "PromptResults",
    "get_prompt_text",
    "get_prompts",
    "get_scoring_summary",
]


class PromptLearningClient:
    """Reads jobs from within an event loop."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        """Prepares a client; the connection is made by the first call.

        Args:
            base_url: The controller; None asks the environment and the suite that runs here.
            api_key: Its bearer token; None asks the environment.
            timeout: Most seconds for one call.

        Raises:
            BackendNotConfigured: Nothing says where the controller is.
        """
        self._client = AsyncClient(base_url, token=api_key, timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.close()

    async def get_job(self, job_id: str) -> Document:
        """Gets where a job stands."""
        return status_document((await self._client.jobs.get(job_id)).snapshot)

    async def get_events(
        self, job_id: str, *, since_seq: int = 0, limit: int = 5000
    ) -> list[events.Envelope]:
        """Gets the events that a job has now.

        Args:
            job_id: Id of the job.
            since_seq: Last sequence seen.
            limit: Most events.
        """
        last = (await self._client.jobs.get(job_id)).snapshot.last_sequence
        found: list[events.Envelope] = []
        if last <= since_seq or limit <= 0:
            return found
        watched = self._client.jobs.events(job_id, after_sequence=since_seq)
        async with contextlib.aclosing(watched):
            async for envelope in watched:
                found.append(envelope)
                if len(found) == limit or envelope["seq"] == last:
                    break
        return found

    async def get_prompts(self, job_id: str) -> PromptResults:
        """Gets the prompts that a job found, or knows so far."""
        return prompt_results(await self._client.jobs.result(job_id))

    async def get_prompt_text(self, job_id: str, rank: int = 1) -> str | None:
        """Gets the text of the prompt of a rank, 1 being the best; None when there is none."""
        found = (await self._client.jobs.result(job_id)).ranked(rank)
        return None if found is None else found.prompt.full_text

    async def get_scoring_summary(self, job_id: str) -> Document:
        """Gets the scores of a job at a glance; the baseline is not among the best."""
        return scoring_summary(await self._client.jobs.result(job_id))


class JobPoller:
    """Waits for jobs by id, from plain code."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        interval: float = 5.0,
        timeout: float = 3600.0,
    ) -> None:
        """Prepares a poller.

        Args:
            base_url: The controller; None asks the environment and the suite that runs here.
            api_key: Its bearer token; None asks the environment.
            interval: Accepted for compatibility: updates are streamed as they happen.
            timeout: Most seconds to wait for one job.
        """
        self._base_url = base_url
        self._api_key = api_key
        self._timeout = timeout

    def poll_job(self, job_id: str, *, on_status: OnStatus | None = None) -> PollOutcome:
        """Waits until a job reaches a final state.

        Args:
            job_id: Id of the job, such as `pl_9c58b711c2644083`.
            on_status: Called on every update.

        Raises:
            ValueError: The id does not begin with `pl_`.
            TimeoutError: The time is over; the job goes on.
        """
        with PromptLearningJob.from_job_id(job_id, self._base_url, self._api_key) as job:
            payload = job.poll_until_complete(timeout=self._timeout, on_status=on_status)
        return PollOutcome(status=str(payload["status"]), payload=payload)


class PromptLearningJobPoller(JobPoller):
    """Waits for prompt learning jobs by id, from plain code."""


def get_prompts(
    job_id: str, base_url: str | None = None, api_key: str | None = None
) -> PromptResults:
    """Gets the prompts that a job found, from code without an event loop."""

    async def get() -> PromptResults:
        async with PromptLearningClient(base_url, api_key) as client:
            return await client.get_prompts(job_id)

    return asyncio.run(get())


def get_prompt_text(
    job_id: str, rank: int = 1, base_url: str | None = None, api_key: str | None = None
) -> str | None:
    """Gets the text of the prompt of a rank, from code without an event loop."""

    async def get() -> str | None:
        async with PromptLearningClient(base_url, api_key) as client:
            return await client.get_prompt_text(job_id, rank)

    return asyncio.run(get())


def get_scoring_summary(
    job_id: str, base_url: str | None = None, api_key: str | None = None
) -> Document:
    """Gets the scores of a job at a glance, from code without an event loop."""

    async def get() -> Document:
        async with PromptLearningClient(base_url, api_key) as client:
            return await client.get_scoring_summary(job_id)

    return asyncio.run(get())
