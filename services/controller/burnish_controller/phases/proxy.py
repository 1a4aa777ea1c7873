"""Minibatches on the cheap model: which models run them, and what is told of them.

What is decided for an ask depends on the rollouts of the asks before it and on nothing else, so a
step that runs again decides the same. Only minibatches are ever left to the cheap model: full
evaluations, the final re-score and the closing test are the dear model's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import JobContext
from burnish_controller.phases.base import PhaseServices
from burnish_controller.proxies.fit import Fit
from burnish_controller.proxies.models import LOW, proxy_of
from burnish_controller.proxies.run import Look, Measured, Mode, ProxyRun, State
from burnish_controller.store.rollouts import FinishedRollout

PHASE = "proxy"
_CONFIDENCE = 0.95
_QUANTILE = 1.96
_STATES = {
    State.CALIBRATING: job_v1.PROXY_STATE_CALIBRATING,
    State.ON: job_v1.PROXY_STATE_ON,
    State.STOPPED: job_v1.PROXY_STATE_STOPPED,
}
Rollouts = Mapping[str, FinishedRollout]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which models run the trials of a work.

    Attributes:
        trials: The trials.
        modes: For each trial.
        fit: What predictions are made by; None while there are none.
    """

    trials: Sequence[search_v1.Trial]
    modes: Sequence[Mode]
    fit: Fit | None

    def cells(self) -> list[types_v1.Cell]:
        """Returns the cells to run, trial by trial."""
        pairs = zip(self.trials, self.modes, strict=True)
        return [cell for trial, mode in pairs for cell in _cells(trial, mode)]

    def cells_of(self, trial: search_v1.Trial) -> list[types_v1.Cell]:
        """Returns the cells that a trial's reward comes from."""
        mode = self._mode(trial)
        return _cells(trial, mode if mode is Mode.LOW else Mode.HIGH)

    def predictions(self, job: JobContext, by_id: Rollouts) -> list[types_v1.Observation]:
        """Returns what is told of the rows that only the cheap model ran.

        What it cost is not told: that says nothing of what the candidate costs on the dear model.
        """
        found = []
        for trial, mode in zip(self.trials, self.modes, strict=True):
            if mode is not Mode.LOW or self.fit is None:
                continue
            cells = zip(trial.cells, _cells(trial, mode), strict=True)
            ran = [(cell, by_id.get(job.rollout_id(low))) for cell, low in cells]
            scored = [one.fused for _, one in ran if one is not None and one.fused is not None]
            rewards = iter(self.fit.rewards(scored))
            for cell, one in ran:
                if one is None:
                    continue
                told = types_v1.Observation(cell=cell, predicted=True)
                if one.fused is None:
                    told.failure.CopyFrom(one.result.failure)
                else:
                    told.reward = next(rewards)
                found.append(told)
        return found

    def predicted(
        self, trial: search_v1.Trial, rollouts: Sequence[FinishedRollout]
    ) -> types_v1.Estimate | None:
        """Returns what a trial is expected to earn on the dear model; None when that ran it."""
        scored = [one.fused for one in rollouts if one.fused is not None]
        if self._mode(trial) is not Mode.LOW or self.fit is None or not scored:
            return None
        mean = self.fit.at(math.fsum(scored) / len(scored))
        half = _QUANTILE * math.sqrt(self.fit.residual_variance)
        return types_v1.Estimate(
            mean=mean,
            row_count=len(scored),
            lower=max(mean - half, 0.0),
            upper=min(mean + half, 1.0),
            confidence=_CONFIDENCE,
        )

    def _mode(self, trial: search_v1.Trial) -> Mode:
        places = (place for place, one in enumerate(self.trials) if one is trial)
        return self.modes[next(places)]


async def planned(services: PhaseServices, job: JobContext, work: search_v1.Work) -> Plan:
    """Returns which models run the trials of a work."""
    run = await _before(services, job, work.ask_index)
    trials = list(work.evaluation.trials)
    fit = None if run is None else run.fit
    return Plan(trials=trials, modes=_modes(run, trials), fit=fit)


async def log_change(services: PhaseServices, job: JobContext, ask_index: int) -> None:
    """Notes how the cheap model does after an ask, and logs when it began or was given up."""
    run = await _before(services, job, ask_index + 1)
    if run is None:
        return
    summary = summary_of(run)
    job.job.proxy.CopyFrom(summary)
    if run.state is State.CALIBRATING:
        return
    message = "the cheap model stands in from now on"
    if run.state is State.STOPPED:
        message = f"the cheap model is given up: {run.reason}"
    await services.events.append(
        job.job_id,
        f"proxy/{run.state.value}",
        job_v1.JobEvent(message=message, proxy_changed=summary),
    )


def summary_of(run: ProxyRun) -> job_v1.ProxySummary:
    """Returns how a cheap model does."""
    summary = job_v1.ProxySummary(
        state=_STATES[run.state],
        reason=run.reason,
        pair_count=len(run.pairs),
        predicted_trial_count=run.predicted_trials,
        net_gain_usd=run.net_gain_usd,
    )
    if run.fit is not None:
        summary.r2, summary.residual_variance = run.fit.r2, run.fit.residual_variance
        summary.intercept, summary.slope = run.fit.intercept, run.fit.slope
    return summary


async def _before(services: PhaseServices, job: JobContext, ask_index: int) -> ProxyRun | None:
    """Returns what was known of the cheap model when an ask was made; None without one."""
    if not job.spec.HasField("proxy"):
        return None
    if job.proxy is None or job.proxy_asks > ask_index:
        job.proxy, job.proxy_asks = proxy_of(job.spec), 0
    session = services.session(job)
    while job.proxy is not None and job.proxy_asks < ask_index:
        work = await session.asked(job.proxy_asks)
        if work is not None and work.HasField("evaluation"):
            trials = list(work.evaluation.trials)
            modes = _modes(job.proxy, trials)
            plan = Plan(trials=trials, modes=modes, fit=None)
            by_id = await services.rollouts.by_ids([job.rollout_id(one) for one in plan.cells()])
            pairs = zip(trials, modes, strict=True)
            job.proxy.take(
                [_look(job, trial, mode, by_id) for trial, mode in pairs if _may_be_low(trial)]
            )
        job.proxy_asks += 1
    return job.proxy


def _modes(run: ProxyRun | None, trials: Sequence[search_v1.Trial]) -> list[Mode]:
    if run is None:
        return [Mode.HIGH] * len(trials)
    decided = iter(run.modes(sum(map(_may_be_low, trials))))
    return [next(decided) if _may_be_low(trial) else Mode.HIGH for trial in trials]


def _may_be_low(trial: search_v1.Trial) -> bool:
    return trial.kind == search_v1.TRIAL_KIND_MINIBATCH


def _cells(trial: search_v1.Trial, mode: Mode) -> list[types_v1.Cell]:
    cells = [] if mode is Mode.LOW else list(trial.cells)
    if mode is not Mode.HIGH:
        for cell in trial.cells:
            low = types_v1.Cell()
            low.CopyFrom(cell)
            low.fidelity = LOW
            cells.append(low)
    return cells


def _look(job: JobContext, trial: search_v1.Trial, mode: Mode, by_id: Rollouts) -> Look:
    high: dict[str, Measured] = {}
    low: dict[str, Measured] = {}
    for cell in _cells(trial, mode):
        one = by_id.get(job.rollout_id(cell))
        if one is not None:
            side = low if cell.fidelity else high
            key = f"{cell.candidate_id}/{cell.pool}/{cell.seed}/{cell.repeat}"
            side[key] = Measured(reward=one.fused, cost_usd=one.cost_usd)
    return Look(mode=mode, high=high, low=low)
