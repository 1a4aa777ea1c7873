"""Runs cells: task app, call ledger, verifier; one finished row per rollout, whatever happens.

The rollouts table is the idempotency point. A batch that runs again after a crash reads what is
finished and dispatches the rest; their calls replay from the ledger, so nothing is paid twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from google.protobuf import json_format

from burnish.api.types import v1 as types_v1
from burnish.errors import Internal
from burnish_controller.context import JobContext
from burnish_controller.failures import BUDGET_EXHAUSTED, app_failure, attempt_failure
from burnish_controller.ledger.calls import Call, Scope
from burnish_controller.ledger.engine import CallLedger
from burnish_controller.ledger.store import CallStore
from burnish_controller.peers import Peers
from burnish_controller.proxies.models import policy_id
from burnish_controller.scoring import (
    Scorer,
    ScoringOrder,
    calls_of,
    judgement_scope,
    with_score,
)
from burnish_controller.store.rollouts import FinishedRollout, RolloutStore
from burnish_controller.task_apps import UNREACHABLE_SECONDS, AppResult, ModelChoice, RunRequest
from burnish_controller.waves import ROLES as CAPPED_ROLES
from burnish_controller.waves import Waves
from burnish_runtime.rollout_token import RolloutGrant, TokenSealer

MAX_ATTEMPTS = 8
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


@dataclass(frozen=True, slots=True)
class _Ran:
    rollout: FinishedRollout
    calls: list[Call]
    saved: bool


_Cell = tuple[str, types_v1.Cell]


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
        cells = [(job.rollout_id(cell), cell) for cell in batch.cells]
        finished = await services.rollouts.by_ids([one for one, _ in cells])
        account = await services.ledger.account(job.job_id)
        if account.binds(*CAPPED_ROLES):
            await self._in_waves(job, batch, cells, finished)
        else:
            missing = [(one, cell) for one, cell in cells if one not in finished]
            before = await calls_of(services.calls, job, [one for one, _ in missing])
            ran = await self._together(job, batch, missing, before=before.keys())
            finished |= {rollout_id: one.rollout for rollout_id, one in ran.items()}
        return [finished[one] for one, _ in cells if one in finished]

    async def _in_waves(
        self,
        job: JobContext,
        batch: Batch,
        pending: list[_Cell],
        finished: dict[str, FinishedRollout],
    ) -> None:
        """Runs cells whose calls a cap may refuse, so that only their order decides which."""
        services = self._services
        ids = [rollout_id for rollout_id, _ in pending]
        used = await calls_of(services.calls, job, ids)
        scopes = frozenset(ids) | {judgement_scope(job.job_id, one) for one in ids}
        waves = Waves(
            await services.ledger.account(job.job_id),
            closing=batch.closing,
            dearest=await services.calls.dearest(job.job_id, without=scopes),
            used=used,
        )
        begun, alone = set(used), 0
        while pending and not job.cancelled:
            width = 1 if alone else waves.width()
            alone = max(0, alone - 1)
            wave, pending = pending[:width], pending[width:]
            missing = [(one, cell) for one, cell in wave if one not in finished]
            ran = await self._together(job, batch, missing, before=begun, final=width == 1)
            begun |= ran.keys()
            refused = []
            for rollout_id, cell in wave:
                if rollout_id not in ran or ran[rollout_id].saved:
                    calls = ran[rollout_id].calls if rollout_id in ran else used.get(rollout_id, [])
                    waves.passed(rollout_id, calls)
                else:
                    refused.append((rollout_id, cell))
            finished |= {one: found.rollout for one, found in ran.items() if found.saved}
            # Which of a wave were refused is luck; in order and alone it is not.
            pending, alone = refused + pending, alone + len(refused)
            if width == 1 and _over_budget(finished.get(wave[0][0])):
                rest = [(one, cell) for one, cell in pending if one not in finished]
                finished |= await self._leave_out(job, batch, rest)
                return

    async def _together(
        self,
        job: JobContext,
        batch: Batch,
        cells: Sequence[_Cell],
        *,
        before: Collection[str],
        final: bool = True,
    ) -> dict[str, _Ran]:
        """Runs cells, as many at a time as the job allows; those not begun are missing.

        Args:
            job: Job that they are of.
            batch: Batch that they are of.
            cells: Rollout ids and cells.
            before: Rollouts whose calls may have rows already.
            final: Whether a rollout that the budget refused is saved as unscored.
        """
        services = self._services
        order = ScoringOrder(
            job_id=job.job_id,
            graph=job.graph,
            weights=job.weights,
            judge_options=job.judge_options,
        )
        scorer = Scorer(services.peers, services.ledger, order)
        gate = asyncio.Semaphore(job.concurrency)
        ran: dict[str, _Ran] = {}

        async def guarded(rollout_id: str, cell: types_v1.Cell) -> None:
            async with gate:
                if job.cancelled:
                    return
                scope = Scope(scope_id=rollout_id, job_id=job.job_id, closing=batch.closing)
                known = rollout_id in before
                await services.ledger.open_scope(scope, before=known)
                result, attempt = await self._result(job, cell, scope)
                calls = list(scope.calls.values())
                rollout = _finished(job, batch, result, attempt=attempt, calls=calls)
                if not result.HasField("failure"):
                    scoring = await scorer.score(result, closing=batch.closing, before=known)
                    rollout = with_score(rollout, scoring.scored)
                    calls += scoring.calls
                saved = final or not _over_budget(rollout)
                if saved:
                    await services.rollouts.save(rollout)
                ran[rollout_id] = _Ran(rollout, calls, saved)

        try:
            async with asyncio.TaskGroup() as group:
                for rollout_id, cell in cells:
                    group.create_task(guarded(rollout_id, cell))
        except ExceptionGroup as failures:
            raise _first_reason(failures.exceptions) from None
        return ran

    async def _leave_out(
        self, job: JobContext, batch: Batch, cells: Sequence[_Cell]
    ) -> dict[str, FinishedRollout]:
        """Ends cells unscored that come after one which the budget refused."""
        left = {}
        for rollout_id, cell in cells:
            failure = types_v1.Failure(
                reason=BUDGET_EXHAUSTED,
                message="the budget refused a rollout before this one, so it was not begun",
                retryable=False,
            )
            result = types_v1.RolloutResult(rollout_id=rollout_id, cell=cell, failure=failure)
            left[rollout_id] = FinishedRollout(
                job_id=job.job_id,
                phase=batch.phase,
                attempt=1,
                result=result,
                reward=None,
                cost_usd=0.0,
                graph=job.graph,
            )
            await self._services.rollouts.save(left[rollout_id])
        return left

    async def _result(
        self, job: JobContext, cell: types_v1.Cell, scope: Scope
    ) -> tuple[types_v1.RolloutResult, int]:
        """Runs one cell and returns its result, and the attempt that gave it."""
        try:
            attempt, returned, failure = await self._attempts(job, cell, scope)
        finally:
            self._services.ledger.close_scope(scope.scope_id)
        result = types_v1.RolloutResult(
            rollout_id=scope.scope_id,
            cell=cell,
            output=returned.output,
            reference=returned.reference,
            failure=failure,
        )
        if returned.environment_reward is not None:
            result.environment_reward = returned.environment_reward
        return result, attempt

    async def _attempts(
        self, job: JobContext, cell: types_v1.Cell, scope: Scope
    ) -> tuple[int, AppResult, types_v1.Failure | None]:
        first = max((call.attempt for call in scope.calls.values()), default=0) + 1
        began = time.monotonic()
        delay = _FIRST_DELAY
        attempt = first
        while True:
            returned = await job.app.run(self._request(job, cell, scope.scope_id, attempt))
            failure = app_failure(returned)
            if failure is not None and failure.reason == ResultMismatch.default_reason:
                raise ResultMismatch(failure.message, metadata=dict(failure.metadata))
            failure = attempt_failure(job, scope, attempt, returned)
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
        now = time.time()
        grant = RolloutGrant(
            rollout_id=rollout_id,
            attempt=attempt,
            policy=policy_id(job.job_id, cell.fidelity),
            candidate_id=cell.candidate_id,
            expire_time=int(now + 2 * job.rollout_seconds + 60),
            issue_time=now,
        )
        app = job.spec.task_app
        model = job.first_model(cell.fidelity)
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


def _finished(
    job: JobContext,
    batch: Batch,
    result: types_v1.RolloutResult,
    *,
    attempt: int,
    calls: Sequence[Call],
) -> FinishedRollout:
    """Returns a rollout that ran and is not scored yet."""
    return FinishedRollout(
        job_id=job.job_id,
        phase=batch.phase,
        attempt=attempt,
        result=result,
        reward=None,
        cost_usd=_cost(calls),
        graph=job.graph,
        weights=job.weights,
        tokens=sum(call.input_tokens + call.output_tokens for call in calls),
    )


def _first_reason(errors: Sequence[Exception]) -> Exception:
    """Returns the error to end a batch with: a mix-up of the app's before anything else."""
    return next((error for error in errors if isinstance(error, ResultMismatch)), errors[0])


def _over_budget(rollout: FinishedRollout | None) -> bool:
    return rollout is not None and rollout.result.failure.reason == BUDGET_EXHAUSTED


def _cost(calls: Sequence[Call]) -> float | None:
    total = 0.0
    for call in calls:
        if call.usd is None or call.lost.usd is None:
            return None
        total += call.usd + call.lost.usd
    return total
