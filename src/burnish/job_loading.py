"""Reads a job from a file or a mapping, and settles what only the task app can tell."""

from __future__ import annotations

import contextlib
import logging
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from burnish.api.job.v1 import job_spec_pb2
from burnish.config import PromptLearningConfig
from burnish.config.pools import derive_pools
from burnish.config.resolve import resolve_job
from burnish.config.resolved import ResolvedJob, ResolvedModel
from burnish.errors import FailedPrecondition
from burnish.job_spec import to_job_spec

LOCAL_POLICY_MODEL = "local-reader"

_log = logging.getLogger("burnish.config")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedJob:
    """A job that is ready to be sent.

    Attributes:
        spec: What to do.
        resolved: The same in our own terms.
        task_app_api_key: Key that the task app asks for; empty when it asks for none.
        warnings: What the user should know.
    """

    spec: job_spec_pb2.JobSpec
    resolved: ResolvedJob
    task_app_api_key: str = field(repr=False)
    warnings: tuple[str, ...]

    def log_warnings(self) -> None:
        """Logs the warnings, for callers that show them nowhere else."""
        for warning in self.warnings:
            _log.warning("%s", warning)


async def load_job(
    source: ResolvedJob | PromptLearningConfig | Mapping[str, object] | str | Path,
    *,
    overrides: Mapping[str, object] | None = None,
    task_app_url: str | None = None,
    task_app_api_key: str | None = None,
) -> LoadedJob:
    """Reads a configuration, settles what it leaves open, and turns it into a `JobSpec`.

    A pool that the file does not give is drawn from the task app's data, so the app is asked how
    much it has.

    Args:
        source: Path of a TOML file, a mapping of that shape, a configuration, or a settled job.
        overrides: Dotted keys or nested tables that replace values of a file or mapping.
        task_app_url: Replaces the task app of a file or mapping, whatever its dialect.
        task_app_api_key: Key that the app asks for; the file and ENVIRONMENT_API_KEY come after it.

    Raises:
        ConfigError: With every problem of the configuration.
        FileNotFoundError: There is no such file.
        Unavailable: The app has to be asked, and does not answer.
    """
    if isinstance(source, ResolvedJob):
        resolved = source
    else:
        replaced = dict(overrides or {})
        if task_app_url is not None:
            replaced[_task_app_key(source)] = task_app_url
        config = _config(source, replaced)
        resolved = _with_default_model(resolve_job(config))
    key = task_app_api_key or resolved.task_app_api_key or os.environ.get("ENVIRONMENT_API_KEY", "")
    resolved = await _with_pools(resolved, key)
    return LoadedJob(
        spec=to_job_spec(resolved),
        resolved=resolved,
        task_app_api_key=key,
        warnings=resolved.warnings,
    )


def _task_app_key(source: PromptLearningConfig | Mapping[str, object] | str | Path) -> str:
    """Returns where a source keeps the task app's address."""
    data: Mapping[str, object] = {}
    if isinstance(source, Mapping):
        data = source
    elif isinstance(source, str | Path):
        with contextlib.suppress(tomllib.TOMLDecodeError, UnicodeDecodeError):
            data = tomllib.loads(Path(source).read_text(encoding="utf-8"))
    return (
        "job.task_app" if isinstance(data.get("job"), Mapping) else "prompt_learning.task_app_url"
    )


def _config(
    source: PromptLearningConfig | Mapping[str, object] | str | Path,
    overrides: Mapping[str, object] | None,
) -> PromptLearningConfig:
    if isinstance(source, PromptLearningConfig):
        return source
    if isinstance(source, Mapping):
        return PromptLearningConfig.from_mapping(source, overrides=overrides)
    return PromptLearningConfig.from_path(source, overrides=overrides)


def _with_default_model(job: ResolvedJob) -> ResolvedJob:
    if all(stage.model is not None for stage in job.stages):
        return job
    default = ResolvedModel(provider="local", model=LOCAL_POLICY_MODEL)
    return replace(
        job,
        stages=tuple(
            stage if stage.model is not None else replace(stage, model=default)
            for stage in job.stages
        ),
        warnings=(
            *job.warnings,
            f"`policy`: no model is given, so `local/{LOCAL_POLICY_MODEL}` answers the app's calls",
        ),
    )


async def _with_pools(job: ResolvedJob, api_key: str) -> ResolvedJob:
    if job.pools.complete or job.online is not None or job.task_app_url is None:
        return job
    pools = job.pools
    others = (pools.bootstrap, pools.online, pools.test, pools.reference)
    if pools.validation is None and None not in others:
        # It is the online pool then, whatever the size of the data.
        seeds = [seed for pool in others for seed in pool or ()]
        return derive_pools(job, max(seeds, default=0) + 1)
    from burnish.task_probe import ask_task_info

    info = await ask_task_info(job.task_app_url, api_key=api_key or None)
    if info.seed_count is not None:
        return derive_pools(job, info.seed_count)
    if job.pools.online is None or job.pools.bootstrap is None:
        raise FailedPrecondition(
            f"task app `{job.task_app_url}` does not tell how many rows it has, so the pools "
            "cannot be drawn; give `bootstrap_train_seeds`, `online_pool` and `test_pool`",
            reason="DATASET_SIZE_UNKNOWN",
            metadata={"task_app": job.task_app_url},
        )
    return job
