"""Prompt learning jobs with the names and members that Synth's SDK has.

When no backend is configured and none runs in this directory, `submit` starts a suite that lives
as long as the process. Every method has a twin ending in `_async` for use inside an event loop; the
plain ones work there too, but block it.
"""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from burnish import events
from burnish.embedded import Backend, BackendChoice
from burnish.errors import BurnishError, DeadlineExceeded
from burnish.job_loading import load_job
from burnish.jobs import CreateOptions
from burnish.prompt_learning_config import (
    ID_PREFIX,
    JobIdInvalid,
    JobNotSubmitted,
    PollTimeout,
    PromptLearningJobConfig,
    SubmitFailed,
    TaskAppUnhealthy,
    check_job_id,
)
from burnish.prompt_results import Document, results_document, status_document
from burnish.session import Session

OnStatus = Callable[[Document], None]
OnEvent = Callable[[events.Envelope], None]

_TASK_APP_REASONS = frozenset(
    {"TASK_APP_UNHEALTHY", "TASK_APP_UNREACHABLE", "TASK_APP_URL_INVALID"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One event of a job, and where the job stood when it came.

    Attributes:
        status: As `get_status` gives it.
        event: As a dotted envelope.
    """

    status: Document
    event: events.Envelope


class PromptLearningJob:
    """One prompt learning job, from its file to its results."""

    def __init__(
        self,
        config: PromptLearningJobConfig,
        *,
        job_id: str | None = None,
        skip_health_check: bool = False,
    ) -> None:
        """Prepares a job; nothing is sent before `submit`.

        Args:
            config: Where it is described, and where it runs.
            job_id: An existing job to go on with.
            skip_health_check: Accepted for compatibility: the controller checks the app.
        """
        self._config = config
        self._job_id = job_id
        self._submitted = job_id is not None
        self._session = Session(BackendChoice(target=config.backend_url, token=config.api_key))

    @classmethod
    def from_config(
        cls,
        config_path: str | Path,
        backend_url: str | None = None,
        api_key: str | None = None,
        task_app_api_key: str | None = None,
        allow_experimental: bool | None = None,
        overrides: Mapping[str, object] | None = None,
    ) -> Self:
        """Prepares a job from a TOML file.

        Args:
            config_path: The file.
            backend_url: The controller; None asks BURNISH_TARGET and BACKEND_BASE_URL.
            api_key: Its bearer token; None asks BURNISH_AUTH_TOKEN and SYNTH_API_KEY.
            task_app_api_key: Key of the task app; None asks the file and ENVIRONMENT_API_KEY.
            allow_experimental: Accepted for compatibility.
            overrides: Dotted keys or nested tables that replace values of the file.

        Raises:
            FileNotFoundError: There is no such file.
        """
        return cls(
            PromptLearningJobConfig(
                config_path=Path(config_path),
                backend_url=backend_url,
                api_key=api_key,
                task_app_api_key=task_app_api_key,
                allow_experimental=allow_experimental,
                overrides=overrides or {},
            )
        )

    @classmethod
    def from_job_id(
        cls, job_id: str, backend_url: str | None = None, api_key: str | None = None
    ) -> Self:
        """Goes on with an existing job. The task app's key is not needed for that.

        Raises:
            ValueError: The id does not begin with `pl_`.
        """
        check_job_id(job_id)
        return cls(PromptLearningJobConfig(backend_url=backend_url, api_key=api_key), job_id=job_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection, and stops the suite if `submit` started one."""
        self._session.close()

    @property
    def job_id(self) -> str | None:
        """Id of the job; None before `submit`."""
        return self._job_id

    def submit(self) -> str:
        """Submits the job and returns its id.

        Raises:
            RuntimeError: It was submitted already, or the controller does not take it.
            ValueError: The configuration is not valid, or the task app does not answer.
        """
        with self._submitting():
            return self._session.run(self._submit)

    async def submit_async(self) -> str:
        """Does what `submit` does, inside an event loop."""
        with self._submitting():
            return await self._session.run_async(self._submit)

    def get_status(self) -> Document:
        """Gets where the job stands.

        Raises:
            RuntimeError: It has not been submitted.
        """
        return self._session.run(self._status)

    async def get_status_async(self) -> Document:
        """Does what `get_status` does, inside an event loop."""
        return await self._session.run_async(self._status)

    def poll_until_complete(
        self,
        *,
        timeout: float | None = 3600.0,
        interval: float = 5.0,
        on_status: OnStatus | None = None,
    ) -> Document:
        """Waits until the job reaches a final state, and returns that.

        Args:
            timeout: Most seconds to wait; None waits for ever. The job goes on afterwards.
            interval: Accepted for compatibility: updates are streamed as they happen.
            on_status: Called on every update, in the thread that waits.

        Raises:
            RuntimeError: The job has not been submitted.
            TimeoutError: The time is over.
        """
        for update in self._session.iterate(self._updates(timeout)):
            if on_status is not None:
                on_status(update.status)
        return self.get_status()

    async def poll_until_complete_async(
        self,
        *,
        timeout: float | None = 3600.0,  # noqa: ASYNC109 # the name is Synth's
        on_status: OnStatus | None = None,
    ) -> Document:
        """Does what `poll_until_complete` does, inside an event loop."""
        async for update in self._session.iterate_async(self._updates(timeout)):
            if on_status is not None:
                on_status(update.status)
        return await self.get_status_async()

    def stream_until_complete(
        self, *, timeout: float | None = 3600.0, on_event: OnEvent | None = None
    ) -> Document:
        """Waits until the job reaches a final state, and passes every event on.

        Args:
            timeout: Most seconds to wait; None waits for ever. The job goes on afterwards.
            on_event: Called with every event as a dotted envelope (see `burnish.events`), in the
                thread that waits.

        Raises:
            RuntimeError: The job has not been submitted.
            TimeoutError: The time is over.
        """
        for update in self._session.iterate(self._updates(timeout)):
            if on_event is not None:
                on_event(update.event)
        return self.get_status()

    async def stream_until_complete_async(
        self,
        *,
        timeout: float | None = 3600.0,  # noqa: ASYNC109 # the name is Synth's
        on_event: OnEvent | None = None,
    ) -> Document:
        """Does what `stream_until_complete` does, inside an event loop."""
        async for update in self._session.iterate_async(self._updates(timeout)):
            if on_event is not None:
                on_event(update.event)
        return await self.get_status_async()

    def get_results(self) -> Document:
        """Gets what the job found, or knows so far.

        Raises:
            RuntimeError: It has not been submitted.
        """
        return self._session.run(self._results)

    async def get_results_async(self) -> Document:
        """Does what `get_results` does, inside an event loop."""
        return await self._session.run_async(self._results)

    def get_best_prompt_text(self, rank: int = 1) -> str | None:
        """Gets the text of the prompt of a rank, 1 being the best; None when there is none.

        Raises:
            RuntimeError: The job has not been submitted.
        """
        return self._session.run(functools.partial(self._text, rank=rank))

    async def get_best_prompt_text_async(self, rank: int = 1) -> str | None:
        """Does what `get_best_prompt_text` does, inside an event loop."""
        return await self._session.run_async(functools.partial(self._text, rank=rank))

    def pause(self) -> Document:
        """Asks the job to pause at the end of the batch in hand."""
        return self._session.run(self._pause)

    def resume(self) -> Document:
        """Lets the job go on."""
        return self._session.run(self._resume)

    def cancel(self) -> Document:
        """Asks the job to stop."""
        return self._session.run(self._cancel)

    def _known_id(self) -> str:
        if self._job_id is None or not self._submitted:
            raise JobNotSubmitted("the job has not been submitted; call `submit` first")
        return self._job_id

    @contextlib.contextmanager
    def _submitting(self) -> Iterator[None]:
        if self._submitted:
            raise SubmitFailed(
                f"job `{self._job_id}` was submitted already; make another PromptLearningJob",
                reason="SUBMITTED_ALREADY",
            )
        # A second try after a lost answer joins the first: the id is ours.
        self._job_id = self._job_id or f"{ID_PREFIX}{uuid.uuid4().hex[:16]}"
        try:
            yield
        except ValueError:
            raise
        except BurnishError as error:
            kind = TaskAppUnhealthy if error.reason in _TASK_APP_REASONS else SubmitFailed
            raise kind(error.message, reason=error.reason, metadata=error.metadata) from error
        self._submitted = True

    async def _submit(self, backend: Backend) -> str:
        config = self._config
        source = config.config_body if config.config_path is None else config.config_path
        if source is None:
            raise JobIdInvalid("neither `config_path` nor `config_body` is given; give one")
        loaded = await load_job(
            source, overrides=config.overrides, task_app_api_key=config.task_app_api_key
        )
        loaded.log_warnings()
        options = CreateOptions(job_id=self._job_id or "", task_app_api_key=loaded.task_app_api_key)
        job = await backend.client.jobs.create(loaded.spec, options=options)
        return job.job_id

    async def _status(self, backend: Backend) -> Document:
        return status_document((await backend.client.jobs.get(self._known_id())).snapshot)

    def _updates(self, timeout: float | None) -> Callable[[Backend], AsyncIterator[Update]]:
        job_id = self._known_id()

        async def updates(backend: Backend) -> AsyncIterator[Update]:
            job = await backend.client.jobs.get(job_id)
            try:
                async for event in job.updates(timeout=timeout):
                    snapshot = await job.refresh()
                    yield Update(
                        status=status_document(snapshot),
                        event=events.to_envelope(
                            event, job_id=job_id, algorithm=snapshot.algorithm
                        ),
                    )
            except DeadlineExceeded as error:
                if error.reason != "WAIT_TIMEOUT":
                    raise
                raise PollTimeout(error.message, metadata=error.metadata) from None

        return updates

    async def _results(self, backend: Backend) -> Document:
        return results_document(await backend.client.jobs.result(self._known_id()))

    async def _text(self, backend: Backend, *, rank: int) -> str | None:
        outcome = await backend.client.jobs.result(self._known_id())
        found = outcome.ranked(rank)
        return None if found is None else found.prompt.full_text

    async def _pause(self, backend: Backend) -> Document:
        return status_document(await backend.client.jobs.pause(self._known_id()))

    async def _resume(self, backend: Backend) -> Document:
        return status_document(await backend.client.jobs.resume(self._known_id()))

    async def _cancel(self, backend: Backend) -> Document:
        return status_document(await backend.client.jobs.cancel(self._known_id()))
