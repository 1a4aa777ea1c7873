"""The controller's side of a task app: one protocol, spoken over HTTP or gRPC."""

from __future__ import annotations

from burnish_controller.task_apps.address import AppAddress
from burnish_controller.task_apps.base import (
    AppExample,
    AppFailure,
    AppInfo,
    AppOptions,
    AppProgram,
    AppResult,
    ModelChoice,
    RunRequest,
    TaskAppClient,
    TaskAppUnhealthy,
)
from burnish_controller.task_apps.patience import UNREACHABLE_SECONDS, ask

__all__ = [
    "UNREACHABLE_SECONDS",
    "AppAddress",
    "AppExample",
    "AppFailure",
    "AppInfo",
    "AppOptions",
    "AppProgram",
    "AppResult",
    "ModelChoice",
    "RunRequest",
    "TaskAppClient",
    "TaskAppUnhealthy",
    "ask",
    "connect",
]

_DEFAULT_OPTIONS = AppOptions()


def connect(
    uri: str, *, api_key: str | None = None, options: AppOptions = _DEFAULT_OPTIONS
) -> TaskAppClient:
    """Returns a client for a task app; the connection itself is made by the first call.

    Args:
        uri: `http://` or `https://` for the HTTP contract, `grpc://` for `TaskAppService`.
        api_key: The app's key; None for an app that is open on this machine.
        options: Limits, and a reward range that overrides the app's own.

    Raises:
        TaskAppUriInvalid: The URI is none of these.
    """
    address = AppAddress.parse(uri)
    if address.scheme == "grpc":
        from burnish_controller.task_apps.grpc import GrpcTaskApp

        return GrpcTaskApp(address, api_key=api_key, options=options)
    from burnish_controller.task_apps.http import HttpTaskApp

    return HttpTaskApp(address, api_key=api_key, options=options)
