"""Asks a task app what it is, before a job is made for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from burnish import rpc
from burnish.errors import FailedPrecondition, InvalidArgument, Unavailable
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


class TaskAppUrlInvalid(InvalidArgument):
    """The address of the task app cannot be one."""

    default_reason = "TASK_APP_URL_INVALID"


def check_uri(uri: str) -> None:
    """Makes sure that a task app could have an address.

    Raises:
        TaskAppUrlInvalid: Its host is missing, or its port is none.
    """
    shown = uri.rpartition("@")[2]
    try:
        parts = urlsplit(uri)
        fault = "" if parts.hostname else "it has no host"
        if parts.port == 0:
            fault = "port 0 is none to call"
    except ValueError as error:
        fault = str(error)
    if fault:
        raise TaskAppUrlInvalid(
            f"task app `{shown}`: {fault}; give an address like http://127.0.0.1:8101, with a port "
            "from 1 to 65535",
            metadata={"url": shown},
        )


async def ask_task_info(uri: str, *, api_key: str | None = None) -> TaskInfo:
    """Gets what a task app tells about its task.

    Args:
        uri: `http://` or `https://` for the HTTP contract, `grpc://` for `TaskAppService`.
        api_key: Key that the app asks for; None sends none.

    Raises:
        TaskAppUrlInvalid: The address cannot be one.
        TaskAppUnreachable: Nothing answers there.
        TaskAppRefused: It answers with an error.
    """
    check_uri(uri)
    if uri.startswith(_GRPC):
        return await _ask_grpc(uri, api_key)
    return await _ask_http(uri.rstrip("/"), api_key)


async def _ask_grpc(uri: str, api_key: str | None) -> TaskInfo:
    from burnish.api.task.v1 import task_app_service_pb2, task_app_service_pb2_grpc

    async with rpc.connect(uri.removeprefix(_GRPC), token=api_key) as channel:
        stub = task_app_service_pb2_grpc.TaskAppServiceStub(channel)
        try:
            async with rpc.translated():
                reply = await stub.GetTaskInfo(
                    task_app_service_pb2.GetTaskInfoRequest(), timeout=_TIMEOUT_SECONDS
                )
        except Unavailable as error:
            # An app may give a reason of its own; without one, none was reached.
            if error.reason != Unavailable.default_reason:
                raise
            raise _unreachable(uri, "nothing is there") from None
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
        raise _unreachable(url, type(error).__name__) from None
    if optional:
        return {}
    hint = "; give its key as ENVIRONMENT_API_KEY" if status in {400, 401, 403} else ""
    raise TaskAppRefused(
        f"task app: `{url}` answers with status {status}{hint}; `burnish task check` tells more",
        metadata={"url": url, "status": str(status)},
    )


def _unreachable(url: str, why: str) -> TaskAppUnreachable:
    return TaskAppUnreachable(
        f"task app: `{url}` does not answer ({why}); start the app, or correct `task_app_url`",
        metadata={"url": url},
    )
