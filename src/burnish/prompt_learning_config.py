"""How a prompt learning job is described, and what can go wrong with it.

The errors are the built-in ones that Synth's SDK promises, and at the same time ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from burnish.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument
from burnish.prompt_results import Document

ID_PREFIX = "pl_"


class PollTimeout(DeadlineExceeded, TimeoutError):
    """The job did not end in time. It goes on."""

    default_reason = "POLL_TIMEOUT"


class SubmitFailed(FailedPrecondition, RuntimeError):
    """The controller did not take the job."""

    default_reason = "SUBMIT_FAILED"


class JobNotSubmitted(FailedPrecondition, RuntimeError):
    """The job has not been submitted yet."""

    default_reason = "JOB_NOT_SUBMITTED"


class TaskAppUnhealthy(FailedPrecondition, ValueError):
    """The task app does not answer as it should."""

    default_reason = "TASK_APP_UNHEALTHY"


class JobIdInvalid(InvalidArgument, ValueError):
    """An id that no prompt learning job has."""

    default_reason = "JOB_ID_INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLearningJobConfig:
    """Where a prompt learning job is described, and where it runs.

    Attributes:
        config_path: The TOML file; None with `config_body`.
        config_body: The same as a mapping.
        backend_url: The controller; None asks the environment.
        api_key: Its bearer token; None asks the environment.
        task_app_api_key: Key of the task app; None asks the file and ENVIRONMENT_API_KEY.
        allow_experimental: Accepted for compatibility: no algorithm here is hidden behind it.
        overrides: Dotted keys or nested tables that replace values of the file.
    """

    config_path: Path | None = None
    config_body: Mapping[str, object] | None = None
    backend_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    task_app_api_key: str | None = field(default=None, repr=False)
    allow_experimental: bool | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses a file that is not there, early.

        Raises:
            FileNotFoundError: There is no such file.
        """
        if self.config_path is not None and not self.config_path.is_file():
            raise FileNotFoundError(2, "no such configuration file", str(self.config_path))


@dataclass(frozen=True, slots=True, kw_only=True)
class PollOutcome:
    """How a poll ended.

    Attributes:
        status: The job's last status.
        payload: The job, as `PromptLearningJob.get_status` gives it.
    """

    status: str
    payload: Document


def check_job_id(job_id: str) -> None:
    """Refuses an id that no prompt learning job has.

    Raises:
        ValueError: The id does not begin with `pl_`.
    """
    if not job_id.startswith(ID_PREFIX):
        raise JobIdInvalid(
            f"job id `{job_id}` does not begin with `{ID_PREFIX}`; give the id that `submit` "
            "returned",
            metadata={"job_id": job_id},
        )
