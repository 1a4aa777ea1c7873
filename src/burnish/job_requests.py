"""What is said when a job is created, and what comes back when jobs are listed."""

from __future__ import annotations

from dataclasses import dataclass, field

from burnish.results import JobSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """How a job is created.

    Attributes:
        job_id: Id to use; generated when empty.
        request_id: Makes the call idempotent; generated when empty.
        task_app_api_key: Key that the task app asks for.
        validate_only: Checks everything but creates nothing.
    """

    job_id: str = ""
    request_id: str = ""
    task_app_api_key: str = field(default="", repr=False)
    validate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """One page of jobs, newest first.

    Attributes:
        jobs: The jobs.
        next_page_token: Empty on the last page.
    """

    jobs: tuple[JobSnapshot, ...]
    next_page_token: str
