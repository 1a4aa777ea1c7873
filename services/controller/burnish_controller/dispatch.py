"""Runs cells: task app, call ledger, verifier; one finished row per rollout, whatever happens.

The rollouts table is the idempotency point. A batch that runs again after a crash reads what is
finished and dispatches the rest; their calls replay from the ledger, so nothing is paid twice.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf import json_format

from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import Internal
from burnish_controller.context import JobContext
from burnish_controller.ledger.calls import Call, CallState, Scope
from burnish_controller.ledger.engine import CallLedger
from burnish_controller.ledger.store import CallStore
from burnish_controller.peers import Peers
from burnish_controller.scoring import Scorer
from burnish_controller.store.rollouts import FinishedRollout, RolloutStore
from burnish_controller.task_apps import AppResult, ModelChoice, RunRequest
from burnish_runtime.rollout_token import RolloutGrant, TokenSealer

MAX_ATTEMPTS = 8
UNREACHABLE_SECONDS = 90.0
_FIRST_DELAY = 0.25
_MAX_DELAY = 3.0
_AWAY = frozenset({"TASK_APP_UNREACHABLE", "TASK_APP_UNHEALTHY"})


class ResultMismatch(Internal):
    """An app answered a rollout with another one's result; the job cannot be trusted."""

    default_reason = "RESULT_MISMATCH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Cells to be run.

    Attributes:
        phase: Phase that runs them, such as `search`.
        cells: The cells, in canonical order.
        closing: Whether they are the closing test, which may use the share held back for it.
    """

    phase: str
    cells: Sequence[types_v1.Cell]
    closing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchServices:
    """What a dispatcher works with."""

    ledger: CallLedger
    calls: CallStore
    rollouts: RolloutStore
    peers: Peers
    sealer: TokenSealer
    interceptor_url: str


class Dispatcher:
    """Runs batches of cells for any job."""

    def __init__(self, services: DispatchServices) -> None:
        self._services = services

    async def run(self, job: JobContext, batch: Batch) -> list[FinishedRollout]:
        """Runs a batch and returns its finished rollouts in the order of the cells.

        Rollouts that were not begun because the job was cancelled are missing from the result.

        Raises:
            ResultMismatch: The app mixes rollouts up.
        """
        services = self._services
        ids = [job.rollout_id(cell) for cell in batch.cells]
        finished = await services.rollouts.by_ids(ids)
        missing = [(one, cell) for one, cell in zip(ids, batch.cells, strict=True)
                   if one not in finished]  # fmt: skip
        before = await services.calls.of_scopes([one for one, _ in missing]) if missing else {}
        scorer = Scorer(services.peers, job=job.job.name, graph=job.graph, weights=job.weights)
        gate = asyncio.Semaphore(job.concurrency)

        async def guarded(rollout_id: str, cell: types_v1.Cell) -> None:
            async with gate:
                if job.cancelled:
                    return
                scope = Scope(scope_id=rollout_id, job_id=job.job_id, closing=batch.closing)
                await services.ledger.open_scope(scope, before=rollout_id in before)
                finished[rollout_id] = await self._one(job, batch, cell, scope, scorer)

        try:
            async with asyncio.TaskGroup() as group:
                for rollout_id, cell in missing:
                    group.create_task(guarded(rollout_id, cell))
        except ExceptionGroup as failures:
            raise _first_reason(failures.exceptions) from None
        return [finished[one] for one in ids if one in finished]

    async def _one(
        self, job: JobContext, batch: Batch, cell: types_v1.Cell, scope: Scope, scorer: Scorer
    ) -> FinishedRollout:
        services = self._services
        try:
            attempt, returned, failure = await self._attempts(job, cell, scope)
        finally:
            services.ledger.close_scope(scope.scope_id)
        result = types_v1.RolloutResult(
            rollout_id=scope.scope_id,
            cell=cell,
            output=returned.output,
            reference=returned.reference,
            failure=failure,
        )
        if returned.environment_reward is not None:
            result.environment_reward = returned.environment_reward
        reward = None
        if failure is None:
            scored = await _scored(scorer, result)
            if scored.HasField("failure"):
                result.failure.CopyFrom(scored.failure)
            else:
                reward = scored.reward
        rollout = FinishedRollout(
            job_id=job.job_id,
            phase=batch.phase,
            attempt=attempt,
            result=result,
            reward=reward,
            cost_usd=_cost(list(scope.calls.values())),
        )
        await services.rollouts.save(rollout, graph=job.graph)
        return rollout

    async def _attempts(
        self, job: JobContext, cell: types_v1.Cell, scope: Scope
    ) -> tuple[int, AppResult, types_v1.Failure | None]:
        first = max((call.attempt for call in scope.calls.values()), default=0) + 1
        began = time.monotonic()
        delay = _FIRST_DELAY
        attempt = first
        while True:
            returned = await job.app.run(self._request(job, cell, scope.scope_id, attempt))
            failure = _failure(returned)
            if failure is not None and failure.reason == ResultMismatch.default_reason:
                raise ResultMismatch(failure.message, metadata=dict(failure.metadata))
            # An app whose call was refused says that inference failed: the ledger knows why.
            failure = _refusal(scope, attempt) or failure or call_failure(job, scope, attempt)
            if failure is None or not failure.retryable or job.cancelled:
                return attempt, returned, failure
            away = failure.reason in _AWAY
            if away and time.monotonic() - began > UNREACHABLE_SECONDS:
                return attempt, returned, failure
            if not away and attempt - first + 1 >= MAX_ATTEMPTS:
                return attempt, returned, failure
            await asyncio.sleep(delay)
            delay = min(2 * delay, _MAX_DELAY)
            attempt += 1

    def _request(
        self, job: JobContext, cell: types_v1.Cell, rollout_id: str, attempt: int
    ) -> RunRequest:
        services = self._services
        grant = RolloutGrant(
            rollout_id=rollout_id,
            attempt=attempt,
            policy=job.job_id,
            candidate_id=cell.candidate_id,
            expire_time=int(time.time() + 2 * job.rollout_seconds + 60),
        )
        app = job.spec.task_app
        model = job.stages[0].model if job.stages else job.spec.policy_model
        return RunRequest(
            rollout_id=rollout_id,
            attempt=attempt,
            seed=cell.seed,
            inference_url=f"{services.interceptor_url}/r/{services.sealer.seal(grant)}/v1",
            model=ModelChoice(
                model=model.model,
                provider=model.provider,
                temperature=model.temperature if model.HasField("temperature") else None,
                max_output_tokens=model.max_output_tokens or None,
            ),
            env_name=app.env_name,
            env_config=json_format.MessageToDict(app.env_config),
            max_seconds=job.rollout_seconds,
        )


def call_failure(job: JobContext, scope: Scope, attempt: int) -> types_v1.Failure | None:
    """Says why an attempt's calls leave its rollout without a reward, or None when they do not.

    A reward that an app gives after its model call failed, or after the call went through without
    the candidate, is no measurement of the candidate.
    """
    refusal = _refusal(scope, attempt)
    if refusal is not None:
        return refusal
    calls = scope.of_attempt(attempt)
    if not calls:
        return types_v1.Failure(
            reason="NO_CALLS",
            message="the app made no model call through the inference URL it was given",
            retryable=True,
        )
    if any(call.state is not CallState.DONE for call in calls):
        return types_v1.Failure(
            reason="CALL_FAILED", message="a model call of the rollout failed", retryable=True
        )
    if not job.learning and any(call.trace is None or not call.trace.stage_id for call in calls):
        return types_v1.Failure(
            reason="STAGE_UNMATCHED",
            message="a model call matched no stage, so it did not carry the candidate",
            retryable=False,
        )
    return None


async def _scored(scorer: Scorer, result: types_v1.RolloutResult) -> verifier_v1.ScoredRollout:
    """Has a rollout scored, again when the verifier says that the failure may pass."""
    delay = _FIRST_DELAY
    scored = await scorer.score(result)
    for _ in range(MAX_ATTEMPTS - 1):
        if not (scored.HasField("failure") and scored.failure.retryable):
            break
        await asyncio.sleep(delay)
        delay = min(2 * delay, _MAX_DELAY)
        scored = await scorer.score(result)
    return scored


def _first_reason(errors: Sequence[Exception]) -> Exception:
    """Returns the error to end a batch with: a mix-up of the app's before anything else."""
    return next((error for error in errors if isinstance(error, ResultMismatch)), errors[0])


def _refusal(scope: Scope, attempt: int) -> types_v1.Failure | None:
    refused = scope.refused.get(attempt)
    if not refused:
        return None
    return types_v1.Failure(
        reason=refused[0], message="a call of the rollout was refused", retryable=False
    )


def _failure(returned: AppResult) -> types_v1.Failure | None:
    failure = returned.failure
    if failure is None:
        return None
    return types_v1.Failure(
        reason=failure.reason, message=failure.message, retryable=failure.retryable
    )


def _cost(calls: Sequence[Call]) -> float | None:
    total = 0.0
    for call in calls:
        if call.usd is None or call.lost.usd is None:
            return None
        total += call.usd + call.lost.usd
    return total


def output_text(result: types_v1.RolloutResult) -> str:
    """Returns a rollout's output as text: its `answer` when it has one, else the whole JSON."""
    return _text(result.output)


def reference_text(result: types_v1.RolloutResult) -> str:
    """Returns what was wanted as text; empty when the app does not tell."""
    return _text(result.reference)


def stage_reference(result: types_v1.RolloutResult, stage_id: str) -> str:
    """Returns what a stage was wanted to say, from a reference with a key of its name; else "".

    An app with several stages tells so what each of them should have said.
    """
    value = json.loads(result.reference) if result.reference else None
    wanted = value.get(stage_id) if isinstance(value, dict) else None
    return wanted if isinstance(wanted, str) else ""


def _text(data: bytes) -> str:
    if not data:
        return ""
    value = json.loads(data)
    if isinstance(value, dict):
        for key in ("answer", "label", "predicted", "output"):
            if isinstance(value.get(key), str):
                return str(value[key])
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
