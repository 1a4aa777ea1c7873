"""Burnish: a self-hosted suite of gRPC services that makes prompts better, measured by rewards."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from burnish.artefacts import write_artefacts
    from burnish.client import AsyncClient
    from burnish.errors import BurnishError
    from burnish.jobs import AsyncJob, CreateOptions
    from burnish.optimize_task import OptimizeOptions
    from burnish.optimizer import OptimizeResult, optimize, optimize_async
    from burnish.prompt_learning import PromptLearningJob
    from burnish.prompt_learning_client import (
        JobPoller,
        PromptLearningClient,
        PromptLearningJobPoller,
    )
    from burnish.prompt_learning_config import PollOutcome, PromptLearningJobConfig
    from burnish.prompt_results import PromptResults
    from burnish.prompts import Prompt
    from burnish.results import JobOutcome, JobSnapshot
    from burnish.suite import Suite, SuiteOptions
    from burnish.sync import Client, Job

__version__ = "0.1.0"

# Where each public name lives. Nothing is imported before it is asked for: the services start
# faster, and `burnish --help` needs no gRPC.
_HOMES = {
    "AsyncClient": "burnish.client",
    "AsyncJob": "burnish.jobs",
    "BurnishError": "burnish.errors",
    "Client": "burnish.sync",
    "CreateOptions": "burnish.jobs",
    "Job": "burnish.sync",
    "JobOutcome": "burnish.results",
    "JobPoller": "burnish.prompt_learning_client",
    "JobSnapshot": "burnish.results",
    "OptimizeOptions": "burnish.optimize_task",
    "OptimizeResult": "burnish.optimizer",
    "PollOutcome": "burnish.prompt_learning_config",
    "Prompt": "burnish.prompts",
    "PromptLearningClient": "burnish.prompt_learning_client",
    "PromptLearningJob": "burnish.prompt_learning",
    "PromptLearningJobConfig": "burnish.prompt_learning_config",
    "PromptLearningJobPoller": "burnish.prompt_learning_client",
    "PromptResults": "burnish.prompt_results",
    "Suite": "burnish.suite",
    "SuiteOptions": "burnish.suite",
    "optimize": "burnish.optimizer",
    "optimize_async": "burnish.optimizer",
    "write_artefacts": "burnish.artefacts",
}

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "BurnishError",
    "Client",
    "CreateOptions",
    "Job",
    "JobOutcome",
    "JobPoller",
    "JobSnapshot",
    "OptimizeOptions",
    "OptimizeResult",
    "PollOutcome",
    "Prompt",
    "PromptLearningClient",
    "PromptLearningJob",
    "PromptLearningJobConfig",
    "PromptLearningJobPoller",
    "PromptResults",
    "Suite",
    "SuiteOptions",
    "__version__",
    "optimize",
    "optimize_async",
    "write_artefacts",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module `burnish` has no attribute `{name}`")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
