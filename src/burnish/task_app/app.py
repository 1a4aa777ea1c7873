"""A task app: the user's data, and the user's function that runs one row of it.

The same `TaskApp` is served over HTTP (`burnish.task_app.http`) and over gRPC
(`burnish.task_app.grpc`). The function sees a `Rollout`, makes its model calls through it, and
returns a `Result`. It never sees a candidate.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from burnish.errors import FailedPrecondition, InvalidArgument
from burnish.task_app.chat import RETRIED_STATUSES, ChatClient, ChatReply
from burnish.task_app.model import (
    Example,
    Program,
    Result,
    RewardRange,
    RolloutFailed,
    RolloutFailure,
    RolloutRequest,
    Split,
    TaskInfo,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_log = logging.getLogger("burnish.task_app")
_Handler = TypeVar("_Handler", bound="Callable[[Rollout], Awaitable[Result] | Result]")


class TaskAppInvalid(InvalidArgument):
    """A task app that is not put together right. Do not retry."""

    default_reason = "TASK_APP_INVALID"


class SeedUnknown(InvalidArgument):
    """A seed that the app has no row for. Do not retry."""

    default_reason = "SEED_UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One seed being run.

    Attributes:
        request: What was asked.
        row: The app's row for the seed; the seed itself when the app has only a seed count.
        calls: Makes the model calls.
    """

    request: RolloutRequest
    row: Any
    calls: ChatClient = field(repr=False)

    @property
    def seed(self) -> int:
        """Index into the app's data."""
        return self.request.seed

    @property
    def model(self) -> str:
        """Model to ask for."""
        return self.request.model.model

    @property
    def temperature(self) -> float | None:
        """Temperature to ask for; None leaves it to the app."""
        return self.request.model.temperature

    @property
    def max_output_tokens(self) -> int | None:
        """Output limit to ask for; None leaves it to the app."""
        return self.request.model.max_output_tokens

    @property
    def inference_url(self) -> str:
        """Base URL for model calls."""
        return self.request.inference_url

    @property
    def env_config(self) -> Mapping[str, Any]:
        """Free-form settings of the job."""
        return self.request.env_config

    async def chat(self, messages: Sequence[Mapping[str, Any]], **options: object) -> ChatReply:
        """Makes a chat completion: the cheap way, over one shared connection pool.

        Args:
            messages: OpenAI chat messages.
            **options: Further fields of the request body, such as `tools`. They win over the
                model, temperature and output limit that the job asks for.

        Raises:
            ChatFailed: No usable answer came; let it pass, and the rollout is unscored.
        """
        body: dict[str, Any] = {"model": self.model, "messages": list(messages)}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.max_output_tokens is not None:
            body["max_completion_tokens"] = self.max_output_tokens
        return await self.calls.post(self.inference_url, {**body, **options})

    def openai(self) -> AsyncOpenAI:
        """Returns an official OpenAI client that talks to the inference URL.

        Raises:
            MissingExtra: Package `openai` is not installed.
        """
        return self.calls.official(self.inference_url)


@dataclass(slots=True, kw_only=True)
class TaskApp:
    """A task app.

    Attributes:
        id: Task id.
        description: What the task is, in prose.
        rows: The data; seed `n` is `rows[n]`.
        seed_count: Number of seeds of an app without `rows`.
        example: Makes the labelled example of a row; None when the app shows no labels.
        splits: Named parts of the data.
        program: What the app tells about its program.
        stage_ids: Stages in the order they run.
        reward_range: Range of the app's rewards.
        rubrics: Rubrics, as a JSON value.
        version: Version of the task, for people.
    """

    id: str
    description: str = ""
    rows: Sequence[Any] | None = None
    seed_count: int | None = None
    example: Callable[[Any], Example] | None = None
    splits: Sequence[Split] = ()
    program: Program | None = None
    stage_ids: Sequence[str] = ()
    reward_range: RewardRange = field(default_factory=RewardRange)
    rubrics: object = None
    version: str = "1"
    _handler: Callable[[Rollout], Awaitable[Result] | Result] | None = field(
        default=None, init=False, repr=False
    )

    def __post_init__(self) -> None:
        """Refuses an app without an id or with no way to count its seeds."""
        problems = []
        if not self.id:
            problems.append("`id` is empty; name the task")
        if (self.rows is None) == (self.seed_count is None):
            problems.append("give either `rows` or `seed_count`")
        if self._size() <= 0:
            problems.append("there are no seeds; give at least one row")
        problems += [
            f"split `{split.name}` [{split.start}, {split.end}) is not inside [0, {self._size()})"
            for split in self.splits
            if not 0 <= split.start <= split.end <= self._size()
        ]
        if problems:
            raise TaskAppInvalid(f"task app {self.id!r}: " + "; ".join(problems))

    def rollout(self, function: _Handler) -> _Handler:
        """Registers the function that runs one seed. Use as a decorator."""
        self._handler = function
        return function

    def info(self) -> TaskInfo:
        """Describes the task."""
        return TaskInfo(
            task=self.id,
            description=self.description,
            seed_count=self._size(),
            stage_ids=tuple(self.stage_ids),
            splits=tuple(self.splits),
            rubrics=self.rubrics,
            reward_range=self.reward_range,
        )

    def check_seed(self, seed: int) -> int:
        """Returns the seed when the app has a row for it.

        Raises:
            SeedUnknown: It has none.
        """
        if not 0 <= seed < self._size():
            raise SeedUnknown(
                f"seed {seed} is not in [0, {self._size()}); the app has {self._size()} rows",
                metadata={"seed": str(seed), "seed_count": str(self._size())},
            )
        return seed

    def example_of(self, seed: int) -> Example | None:
        """Returns the labelled example of a seed, or None when the app shows no labels.

        Raises:
            SeedUnknown: The app has no row for the seed.
        """
        self.check_seed(seed)
        if self.example is None:
            return None
        made = self.example(self._row(seed))
        return Example(
            inputs=made.inputs,
            output=made.output,
            answer_messages=made.answer_messages,
            seed=seed,
        )

    async def run(self, request: RolloutRequest, calls: ChatClient) -> Result | RolloutFailure:
        """Runs one seed. A failure is a value: it leaves the rollout unscored.

        Raises:
            SeedUnknown: The app has no row for the seed.
            FailedPrecondition: No function is registered.
        """
        if self._handler is None:
            raise FailedPrecondition(
                f"task app {self.id!r} has no rollout function; decorate one with `@app.rollout`",
                reason="TASK_APP_INVALID",
            )
        task = Rollout(request=request, row=self._row(self.check_seed(request.seed)), calls=calls)
        try:
            async with asyncio.timeout(request.max_seconds):
                return self._checked(await _call(self._handler, task))
        except Exception as error:
            return _failure(error, task=self.id, seed=request.seed)

    def _checked(self, result: object) -> Result:
        if not isinstance(result, Result):
            raise RolloutFailed(
                f"the rollout function returned {type(result).__name__}; return a `Result`",
                reason="RESULT_INVALID",
                retryable=False,
            )
        if result.reward is not None:
            self.reward_range.to_unit(result.reward)
        return result

    def _size(self) -> int:
        return len(self.rows) if self.rows is not None else self.seed_count or 0

    def _row(self, seed: int) -> object:
        return self.rows[seed] if self.rows is not None else seed


async def _call(handler: Callable[[Rollout], Awaitable[Result] | Result], task: Rollout) -> object:
    if inspect.iscoroutinefunction(handler):
        return await handler(task)
    return await asyncio.to_thread(handler, task)


def _failure(error: Exception, *, task: str, seed: int) -> RolloutFailure:
    if isinstance(error, RolloutFailed | InvalidArgument):
        return RolloutFailure(reason=error.reason, message=error.message, retryable=error.retryable)
    if isinstance(error, TimeoutError):
        return RolloutFailure(
            reason="TASK_APP_TIMEOUT", message="the rollout ran out of time", retryable=True
        )
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    status = _provider_status(error)
    if status is not None:
        return RolloutFailure(
            reason="INFERENCE_FAILED",
            message=f"model call was answered with status {status}",
            retryable=status in RETRIED_STATUSES,
        )
    if _is_network(error):
        return RolloutFailure(
            reason="TASK_APP_NETWORK_ERROR",
            message=f"the rollout function raised {name}",
            retryable=True,
        )
    _log.exception("rollout function failed (task %s, seed %d)", task, seed)
    return RolloutFailure(
        reason="TASK_APP_RUNTIME_ERROR",
        message=f"the rollout function raised {name}; the app's log has the traceback",
        retryable=False,
    )


def _provider_status(error: Exception) -> int | None:
    """Returns the HTTP status in an official client's error, without importing the client."""
    for package in ("openai", "groq"):
        module = sys.modules.get(package)
        if module is not None and isinstance(error, module.APIStatusError):
            return int(error.status_code)
    return None


def _is_network(error: Exception) -> bool:
    roots = {cls.__module__.partition(".")[0] for cls in type(error).__mro__}
    return isinstance(error, OSError) or bool(roots & {"aiohttp", "httpx", "openai", "groq"})
