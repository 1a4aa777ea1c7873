"""Burnish: a self-hosted suite of gRPC services that makes prompts better, measured by rewards."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from burnish.client import AsyncClient
    from burnish.errors import BurnishError
    from burnish.jobs import AsyncJob, CreateOptions
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
    "JobSnapshot": "burnish.results",
    "Prompt": "burnish.prompts",
    "Suite": "burnish.suite",
    "SuiteOptions": "burnish.suite",
}

__all__ = [
    "AsyncClient",
    "AsyncJob",
    "BurnishError",
    "Client",
    "CreateOptions",
    "Job",
    "JobOutcome",
    "JobSnapshot",
    "Prompt",
    "Suite",
    "SuiteOptions",
    "__version__",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module `burnish` has no attribute `{name}`")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
