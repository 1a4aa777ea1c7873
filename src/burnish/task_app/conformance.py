"""Checks that a task app keeps the contract, with a fix for every way in which it does not.

The app is spoken to as a job would speak to it, but its model calls go to a probe model in this
process (`burnish.task_app.probe`), so nothing is paid. A check passes, fails or is skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from burnish.errors import BurnishError, InvalidArgument
from burnish.task_app.model import (
    Example,
    ModelChoice,
    RewardInvalid,
    RolloutReply,
    RolloutRequest,
    TaskInfo,
)
from burnish.task_app.probe import ProbeModel
from burnish.task_app.probing import GrpcProber, HttpProber, Prober, ProbeRefused

State = Literal["passed", "failed", "skipped"]
_MODEL = "gpt-4o-mini"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Outcome of one check.

    Attributes:
        name: Name of the check.
        state: Whether it passed, failed or was skipped.
        message: What was seen.
        fix: What to change; empty unless it failed.
    """

    name: str
    state: State
    message: str
    fix: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing has to be fixed."""
        return self.state != "failed"


class _Failed(Exception):
    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class _Skipped(Exception):
    pass


async def check_app(
    uri: str, api_key: str | None = None, *, timeout_seconds: float = 60.0
) -> list[CheckResult]:
    """Checks a task app.

    Args:
        uri: `http://`, `https://` or `grpc://host:port`.
        api_key: The app's key; None for an app that is open on this machine.
        timeout_seconds: Most seconds for one question or rollout.

    Returns:
        One result per check, in order. After a failed first check the rest is skipped.
    """
    prober: Prober
    if uri.startswith("grpc://"):
        prober = GrpcProber(uri, api_key=api_key, seconds=timeout_seconds)
    elif uri.startswith(("http://", "https://")):
        prober = HttpProber(uri, api_key=api_key, seconds=timeout_seconds)
    else:
        raise InvalidArgument(f"task app URI {uri!r}: use http://, https:// or grpc://")
    model = ProbeModel()
    await model.start()
    try:
        return await _Conformance(prober, model).run()
    finally:
        await model.stop()
        await prober.close()


class _Conformance:
    def __init__(self, prober: Prober, model: ProbeModel) -> None:
        self._prober = prober
        self._model = model
        self._info: TaskInfo | None = None

    async def run(self) -> list[CheckResult]:
        checks: list[tuple[str, Callable[[], Awaitable[str]]]] = [
            ("health", self._health),
            ("key", self._key),
            ("info", self._describes),
            ("seeds", self._seeds),
            ("examples", self._examples),
            ("program", self._program),
            ("rollout", self._rollout),
            ("older_request", self._older_request),
            ("concurrency", self._concurrency),
            ("failing_model", self._failing_model),
            ("done", self._done),
        ]
        results: list[CheckResult] = []
        for name, check in checks:
            if results and results[0].state == "failed":
                results.append(
                    CheckResult(name=name, state="skipped", message="the app is not well")
                )
            else:
                results.append(await self._result(name, check))
        return results

    async def _result(self, name: str, check: Callable[[], Awaitable[str]]) -> CheckResult:
        try:
            return CheckResult(name=name, state="passed", message=await check())
        except _Skipped as skipped:
            return CheckResult(name=name, state="skipped", message=str(skipped))
        except _Failed as failed:
            return CheckResult(name=name, state="failed", message=failed.message, fix=failed.fix)
        except ProbeRefused as refused:
            return CheckResult(name=name, state="failed", message=refused.message, fix=refused.fix)
        except BurnishError as error:
            fix = "answer in one of the shapes that docs/task-apps.md shows"
            return CheckResult(name=name, state="failed", message=error.message, fix=fix)

    async def _health(self) -> str:
        await self._prober.health()
        return "the app is well"

    async def _key(self) -> str:
        refused = await self._prober.refuses_wrong_key()
        if refused is None:
            raise _Skipped("the app asks for no key; fine on this machine only")
        if not refused:
            raise _Failed(
                "a wrong key is accepted, though the app says that it asks for one",
                fix="compare X-API-Key with ENVIRONMENT_API_KEY and answer 401 when it differs",
            )
        return "a wrong key is refused"

    async def _describes(self) -> str:
        self._info = await self._prober.info()
        if not self._info.task:
            raise _Failed(
                "the app does not say what its task is called",
                fix='answer `/info` with {"service": {"task": {"id": …}}}',
            )
        if self._info.seed_count is None:
            raise _Failed(
                f"task `{self._info.task}` does not say how many seeds it has",
                fix='answer `/task_info` without a seed with {"taskset": {"size": …}}',
            )
        return f"task `{self._info.task}` with {self._info.seed_count} seeds"

    async def _seeds(self) -> str:
        shown = await self._prober.seed_shapes(self._some_seeds())
        if shown is None:
            raise _Skipped("gRPC apps tell of single seeds by their examples")
        return f"{shown} seeds are described, in order"

    async def _examples(self) -> str:
        seeds = self._some_seeds()
        examples = await self._prober.examples(seeds)
        if examples is None:
            raise _Skipped("the app shows no labels; labelled demos are not offered")
        if [example.seed for example in examples] != seeds or not all(map(_filled, examples)):
            raise _Failed(
                "examples are missing, out of order or without inputs",
                fix="give one example per seed asked for, in order, each with inputs and output",
            )
        return f"{len(examples)} labelled examples"

    async def _program(self) -> str:
        program = await self._prober.program()
        if program is None:
            raise _Skipped("the app tells nothing of its program; proposals do without")
        return f"{len(program.code)} characters of source"

    async def _rollout(self) -> str:
        before = len(self._model.calls)
        reply = await self._prober.rollout(self._request("probe_rollout", seed=0), older=False)
        reward = self._scored(reply, rollout_id="probe_rollout", seed=0)
        if len(self._model.calls) == before:
            raise _Failed(
                "the app did not call the model at the inference URL it was given",
                fix="point the OpenAI client's base URL at `policy.config.inference_url`",
            )
        stray = [path for path in self._model.calls[before:] if not path.startswith("/r/")]
        if stray:
            raise _Failed(
                f"the app called {stray[0]!r}, which is not under the inference URL",
                fix="keep the whole path of the inference URL, and append to it",
            )
        return f"seed 0 ran with reward {reward}"

    async def _older_request(self) -> str:
        if not self._prober.has_older:
            raise _Skipped("there is one generation of the gRPC contract")
        reply = await self._prober.rollout(self._request("probe_older", seed=0), older=True)
        self._scored(reply, rollout_id="probe_older", seed=0)
        return "a request of the first generation is understood"

    async def _concurrency(self) -> str:
        seeds = self._some_seeds()
        self._model.latency_seconds = 0.05
        try:
            replies = await asyncio.gather(
                *(
                    self._prober.rollout(self._request(f"probe_many_{seed}", seed=seed))
                    for seed in seeds
                )
            )
        finally:
            self._model.latency_seconds = 0.0
        for seed, reply in zip(seeds, replies, strict=True):
            self._scored(reply, rollout_id=f"probe_many_{seed}", seed=seed)
        return f"{len(seeds)} rollouts at once kept apart"

    async def _failing_model(self) -> str:
        self._model.status = 500
        try:
            reply = await self._prober.rollout(self._request("probe_failing", seed=0))
        except ProbeRefused as refused:
            if refused.status is not None and refused.status >= 500:
                return f"a failing model is reported by status {refused.status}"
            raise
        finally:
            self._model.status = 200
        if reply.failure is None and (reply.result is None or reply.result.reward is not None):
            raise _Failed(
                "a failing model was scored as if it had answered",
                fix='report it: `success_status` "network_error" and no reward; a reward of 0 '
                "would blame the prompt",
            )
        return "a failing model leaves the rollout unscored"

    async def _done(self) -> str:
        if not await self._prober.done():
            raise _Skipped("the app has no `/done`; nothing depends on it")
        return "the app takes note of the end"

    def _scored(self, reply: RolloutReply, *, rollout_id: str, seed: int) -> float | None:
        if reply.rollout_id and reply.rollout_id != rollout_id:
            raise _Failed(
                f"asked for {rollout_id}, the app answered for another rollout",
                fix="echo `trace_correlation_id` of the request that is answered",
            )
        if reply.seed is not None and reply.seed != seed:
            raise _Failed(
                f"asked for seed {seed}, the app answered for seed {reply.seed}",
                fix="run `env.seed`, and echo it",
            )
        if reply.failure is not None:
            raise _Failed(
                f"seed {seed} failed: {reply.failure.reason}: {reply.failure.message}",
                fix="run the seed with a model that answers at once, and see the app's log",
            )
        reward = None if reply.result is None else reply.result.reward
        if reward is not None and self._info is not None:
            try:
                self._info.reward_range.to_unit(reward)
            except RewardInvalid as error:
                fix = "return a reward in [0, 1], or tell the `reward_range`"
                raise _Failed(error.message, fix=fix) from None
        return reward

    def _some_seeds(self) -> list[int]:
        count = None if self._info is None else self._info.seed_count
        return list(range(min(4, count if count is not None else 1)))

    def _request(self, rollout_id: str, *, seed: int) -> RolloutRequest:
        return RolloutRequest(
            rollout_id=rollout_id,
            seed=seed,
            inference_url=f"{self._model.base_url}/r/{rollout_id}/v1",
            model=ModelChoice(
                model=_MODEL, provider="openai", temperature=0.0, max_output_tokens=64
            ),
        )


def _filled(example: Example) -> bool:
    return bool(example.inputs) and all(isinstance(name, str) for name in example.inputs)
