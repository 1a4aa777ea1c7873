"""Serves a task app as `TaskAppService`: the same app, the same meaning, over gRPC."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from burnish.api.task import v1 as task_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import (
    DOMAIN,
    BurnishError,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    Unauthenticated,
    Unimplemented,
)
from burnish.task_app.app import TaskApp
from burnish.task_app.auth import AppKeys, is_loopback, offered_keys
from burnish.task_app.chat import ChatClient
from burnish.task_app.jsonwire import parse_object
from burnish.task_app.model import (
    Example,
    ModelChoice,
    Result,
    RolloutFailure,
    RolloutRequest,
)

_MAX_MESSAGE = 16 * 1024 * 1024
_MAX_SEEDS = 1000
_GRACE_SECONDS = 5.0
_OPTIONS = (
    ("grpc.max_send_message_length", _MAX_MESSAGE),
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.so_reuseport", 0),
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
)
_Reply = TypeVar("_Reply")
_Context = grpc.aio.ServicerContext[Any, Any]
_log = logging.getLogger("burnish.task_app")


@dataclass(frozen=True, slots=True)
class GrpcServer:
    """A task app being served over gRPC.

    Attributes:
        url: Where it listens, as `grpc://host:port`.
    """

    url: str
    _server: grpc.aio.Server
    _calls: ChatClient

    async def stop(self) -> None:
        """Finishes what runs, then closes everything."""
        await self._server.stop(_GRACE_SECONDS)
        await self._calls.close()


async def start_grpc(
    app: TaskApp, *, host: str = "127.0.0.1", port: int = 0, keys: AppKeys | None = None
) -> GrpcServer:
    """Starts serving a task app.

    Args:
        app: The app.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        keys: Accepted keys; None reads them from the environment.
    """
    calls = ChatClient()
    server = grpc.aio.server(options=_OPTIONS)
    guard = _Guard(
        keys=AppKeys.from_environment() if keys is None else keys, local=is_loopback(host)
    )
    task_v1.add_TaskAppServiceServicer_to_server(_Servicer(app, calls, guard), server)
    bound = server.add_insecure_port(f"{host}:{port}")
    await server.start()
    return GrpcServer(f"grpc://{host}:{bound}", server, calls)


class _Servicer(task_v1.TaskAppServiceServicer):
    def __init__(self, app: TaskApp, calls: ChatClient, guard: _Guard) -> None:
        self._app = app
        self._calls = calls
        self._guard = guard

    async def GetTaskInfo(
        self, request: task_v1.GetTaskInfoRequest, context: _Context
    ) -> task_v1.GetTaskInfoResponse:
        async def answer() -> task_v1.GetTaskInfoResponse:
            info = self._app.info()
            return task_v1.GetTaskInfoResponse(
                task=info.task,
                description=info.description,
                seed_count=info.seed_count or 0,
                stage_ids=info.stage_ids,
                splits=[
                    task_v1.Split(name=split.name, start=split.start, end=split.end)
                    for split in info.splits
                ],
                rubrics=_json(info.rubrics),
                reward_min=info.reward_range.low,
                reward_max=info.reward_range.high,
            )

        return await self._guard.answered(context, answer)

    async def GetProgram(
        self, request: task_v1.GetProgramRequest, context: _Context
    ) -> task_v1.GetProgramResponse:
        async def answer() -> task_v1.GetProgramResponse:
            program = self._app.program
            if program is None:
                raise Unimplemented(f"task app {self._app.id!r} tells nothing of its program")
            return task_v1.GetProgramResponse(
                program_code=program.code,
                module_path=program.module_path,
                description=program.description,
            )

        return await self._guard.answered(context, answer)

    async def ListExamples(
        self, request: task_v1.ListExamplesRequest, context: _Context
    ) -> task_v1.ListExamplesResponse:
        async def answer() -> task_v1.ListExamplesResponse:
            if len(request.seeds) > _MAX_SEEDS:
                raise InvalidArgument(
                    f"{len(request.seeds)} seeds asked for; ask for at most {_MAX_SEEDS}"
                )
            if self._app.example is None:
                raise Unimplemented(f"task app {self._app.id!r} shows no labels")
            found = (self._app.example_of(seed) for seed in request.seeds)
            return task_v1.ListExamplesResponse(
                examples=[_example(made) for made in found if made is not None]
            )

        return await self._guard.answered(context, answer)

    async def RunRollout(
        self, request: task_v1.RunRolloutRequest, context: _Context
    ) -> task_v1.RunRolloutResponse:
        async def answer() -> task_v1.RunRolloutResponse:
            asked = _request(request, seconds=context.time_remaining())
            return _response(asked, await self._app.run(asked, self._calls))

        return await self._guard.answered(context, answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guard:
    """Asks for a key, and turns errors into statuses that keep their reason."""

    keys: AppKeys
    local: bool

    async def answered(self, context: _Context, answer: Callable[[], Awaitable[_Reply]]) -> _Reply:
        try:
            self._authorise(context)
            return await answer()
        except BurnishError as error:
            known = error
        except Exception:
            _log.exception("call failed")
            known = Internal("the task app failed; see its log")
        await _abort(context, known)
        raise known

    def _authorise(self, context: _Context) -> None:
        if not self.keys.required:
            if self.local:
                return
            raise FailedPrecondition(
                "the app has no key and is not open; set ENVIRONMENT_API_KEY for it",
                reason="MISSING_ENVIRONMENT_API_KEY",
            )
        metadata = context.invocation_metadata() or ()
        headers = {key: value for key, value in metadata if isinstance(value, str)}
        if not self.keys.accept(offered_keys(headers)):
            raise Unauthenticated(
                "the key is missing or wrong; send the app's ENVIRONMENT_API_KEY as bearer token"
            )


async def _abort(context: _Context, error: BurnishError) -> None:
    detail = any_pb2.Any()
    detail.Pack(
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    )
    status = status_pb2.Status(code=int(error.code), message=error.message, details=[detail])
    codes = {code.value[0]: code for code in grpc.StatusCode}
    await context.abort(
        codes[int(error.code)],
        error.message,
        (("grpc-status-details-bin", status.SerializeToString()),),
    )


def _request(request: task_v1.RunRolloutRequest, *, seconds: float | None) -> RolloutRequest:
    model = request.model
    return RolloutRequest(
        rollout_id=request.rollout_id,
        seed=request.seed,
        inference_url=request.inference_url,
        attempt=max(request.attempt, 1),
        model=ModelChoice(
            model=model.model,
            provider=model.provider,
            temperature=model.temperature if model.HasField("temperature") else None,
            max_output_tokens=model.max_output_tokens or None,
        ),
        env_name=request.env_name,
        env_config=(
            parse_object(request.env_config, what="env_config") if request.env_config else {}
        ),
        max_seconds=seconds,
    )


def _response(
    request: RolloutRequest, outcome: Result | RolloutFailure
) -> task_v1.RunRolloutResponse:
    response = task_v1.RunRolloutResponse(rollout_id=request.rollout_id, seed=request.seed)
    if isinstance(outcome, RolloutFailure):
        response.failure.CopyFrom(
            types_v1.Failure(
                reason=outcome.reason,
                message=outcome.message,
                retryable=outcome.retryable,
                metadata=outcome.metadata,
            )
        )
        return response
    if outcome.reward is not None:
        response.reward = outcome.reward
    response.output = _json(outcome.output)
    response.reference = _json(outcome.reference)
    return response


def _example(example: Example) -> task_v1.Example:
    return task_v1.Example(
        seed=example.seed,
        inputs=example.inputs,
        output=example.output,
        answer_messages=[_json(dict(message)) for message in example.answer_messages],
    )


def _json(value: object) -> bytes:
    return b"" if value is None else json.dumps(value, separators=(",", ":")).encode()
