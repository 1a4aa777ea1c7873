"""Asks a task app what it is, before a job is made for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from burnish import rpc
from burnish.errors import FailedPrecondition, Unavailable
from burnish.task_app.info_body import parse_info
from burnish.task_app.model import RewardRange, Split, TaskInfo

_TIMEOUT_SECONDS = 10.0
_GRPC = "grpc://"


class TaskAppUnreachable(Unavailable):
    """The task app does not answer. Retry once it runs."""

    default_reason = "TASK_APP_UNREACHABLE"


class TaskAppRefused(FailedPrecondition):
    """The task app answers, but not with a description of itself."""

    default_reason = "TASK_APP_UNHEALTHY"


async def ask_task_info(uri: str, *, api_key: str | None = None) -> TaskInfo:
    """Gets what a task app tells about its task.

    Args:
        uri: `http://` or `https://` for the HTTP contract, `grpc://` for `TaskAppService`.
        api_key: Key that the app asks for; None sends none.

    Raises:
        TaskAppUnreachable: Nothing answers there.
        TaskAppRefused: It answers with an error.
    """
    if uri.startswith(_GRPC):
        return await _ask_grpc(uri, api_key)
    return await _ask_http(uri.rstrip("/"), api_key)


async def _ask_grpc(uri: str, api_key: str | None) -> TaskInfo:
    from burnish.api.task.v1 import task_app_service_pb2, task_app_service_pb2_grpc

    async with rpc.connect(uri.removeprefix(_GRPC), token=api_key) as channel:
        stub = task_app_service_pb2_grpc.TaskAppServiceStub(channel)
        async with rpc.translated():
            reply = await stub.GetTaskInfo(
                task_app_service_pb2.GetTaskInfoRequest(), timeout=_TIMEOUT_SECONDS
            )
    ranged = (reply.reward_min, reply.reward_max) != (0.0, 0.0)
    return TaskInfo(
        task=reply.task,
        description=reply.description,
        seed_count=reply.seed_count or None,
        stage_ids=tuple(reply.stage_ids),
        splits=tuple(Split(name=one.name, start=one.start, end=one.end) for one in reply.splits),
        rubrics=json.loads(reply.rubrics) if reply.rubrics else None,
        reward_range=(
            RewardRange(low=reply.reward_min, high=reply.reward_max) if ranged else RewardRange()
        ),
    )


async def _ask_http(url: str, api_key: str | None) -> TaskInfo:
    headers = {"X-API-Key": api_key, "Authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        taskset = await _get(session, f"{url}/task_info")
        info = await _get(session, f"{url}/info", optional=True)
    return parse_info(info, taskset)


async def _get(
    session: aiohttp.ClientSession, url: str, *, optional: bool = False
) -> Mapping[str, Any]:
    try:
        async with session.get(url) as response:
            if response.status == 200:
                body = await response.json(content_type=None)
                return body if isinstance(body, dict) else {}
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise TaskAppUnreachable(
            f"task app: `{url}` does not answer ({type(error).__name__}); start the app, or "
            "correct `task_app_url`",
            metadata={"url": url},
        ) from None
    if optional:
        return {}
    hint = "; give its key as ENVIRONMENT_API_KEY" if status in {400, 401, 403} else ""
    raise TaskAppRefused(
        f"task app: `{url}` answers with status {status}{hint}; `burnish task check` tells more",
        metadata={"url": url, "status": str(status)},
    )
