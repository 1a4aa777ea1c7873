"""Metrics of the controller: what calls of every role cost, how rollouts ended, and lost traces.

No id is ever a label.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import Metric

from burnish.api.job import v1 as job_v1
from burnish.api.trace import v1 as trace_v1
from burnish_controller.ledger.calls import Call, CallState, KeptKey
from burnish_controller.ledger.store import CallStore
from burnish_controller.store.database import Database
from burnish_controller.store.events import FINAL_STATES, EventLog
from burnish_controller.store.rollouts import FinishedRollout, RolloutStore
from burnish_controller.store.writer import Writer
from burnish_runtime.plain_metrics import Buckets, Counts, counter, exposed, gauge, histogram

_REWARD_BOUNDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_OFFLINE = "offline"
_TASK = "task"


class ControllerMetrics:
    """Counts since the start of the process."""

    def __init__(self) -> None:
        self._tokens = Counts()
        self._cost = Counts()
        self._unpriced = Counts()
        self._lost = Counts()
        self._rollouts = Counts()
        self._rewards = Buckets(_REWARD_BOUNDS)
        self._candidates = Counts()
        self._budgets: dict[str, float] = {}
        self._stored = Counts()
        self._dropped = Counts()
        self._exposed = ExitStack()

    def call_saved(self, call: Call) -> None:
        """Counts a journaled call once it has ended."""
        model = (call.role, call.model.provider, call.model.model)
        if call.state is CallState.DONE:
            self._spent(model, call.input_tokens, call.output_tokens, call.usd)
        elif call.state is CallState.LOST:
            self._lost.add((call.role,))

    def traces_stored(self, traces: Sequence[trace_v1.Trace], *, dropped: int) -> None:
        """Counts a batch of traces of online calls, and those that were lost on their way."""
        self._stored.add((), len(traces))
        self._dropped.add((), dropped)
        for trace in traces:
            if trace.HasField("usage"):
                usage = trace.usage
                dollars = usage.cost_usd if usage.HasField("cost_usd") else None
                model = (_TASK, trace.provider, trace.model)
                self._spent(model, usage.input_tokens, usage.output_tokens, dollars)

    def rollout_saved(self, rollout: FinishedRollout) -> None:
        """Counts a rollout that will not run again."""
        fused = rollout.fused
        self._rollouts.add((_OFFLINE, "unscored" if fused is None else "scored"))
        if fused is not None:
            self._rewards.observe(fused)

    def event_logged(self, job_id: str, event: job_v1.JobEvent) -> None:
        """Counts what an event says of candidates and of what is left of a job's budget."""
        kind = event.WhichOneof("kind")
        if kind == "budget_updated":
            left = remaining(event.budget_updated)
            if left is not None:
                self._budgets[job_id] = left
        elif kind == "state_changed" and event.state_changed.to_state in FINAL_STATES:
            self._budgets.pop(job_id, None)
        elif kind == "proposal_completed":
            self._candidates.add(("accepted",), event.proposal_completed.accepted_count)
            self._candidates.add(("refused",), event.proposal_completed.refused_count)
        elif kind == "winner_chosen":
            won = not event.winner_chosen.baseline
            self._candidates.add(("won" if won else "baseline_kept",))

    def collect(self) -> Iterable[Metric]:
        """Returns everything as a scrape sees it."""
        models = ["role", "provider", "model"]
        for name, text, labels, counts in (
            ("burnish_llm_tokens", "Tokens paid.", ["role", "kind"], self._tokens),
            ("burnish_llm_cost_usd", "Cost of paid calls in US dollars.", models, self._cost),
            ("burnish_llm_unpriced_calls", "Paid calls of unknown price.", models, self._unpriced),
            ("burnish_llm_lost_calls", "Calls possibly paid.", ["role"], self._lost),
            ("burnish_rollouts", "Rollouts ended.", ["job_kind", "outcome"], self._rollouts),
            ("burnish_candidates", "Proposals and winners.", ["verdict"], self._candidates),
            ("burnish_traces_stored", "Traces of online calls stored.", [], self._stored),
            ("burnish_traces_lost", "Traces that interceptors had to drop.", [], self._dropped),
        ):
            yield counter(name, text, labels, counts)
        yield gauge(
            "burnish_budget_remaining_ratio",
            "Share of its cap that the running job nearest to its cap has left; 1 without one.",
            min(list(self._budgets.values()), default=1.0),
        )
        yield histogram("burnish_reward", "Fused rewards of rollouts.", {(): self._rewards})

    def expose(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Shows everything to the process's scrapes until `close`."""
        self._exposed.enter_context(exposed(self.collect, registry=registry))

    def close(self) -> None:
        """Takes the metrics out of the scrapes."""
        self._exposed.close()

    def _spent(
        self, model: tuple[str, str, str], read: int, written: int, dollars: float | None
    ) -> None:
        self._tokens.add((model[0], "input"), read)
        self._tokens.add((model[0], "output"), written)
        if dollars is None:
            self._unpriced.add(model)
        else:
            self._cost.add(model, dollars)


def remaining(budget: job_v1.BudgetUpdated) -> float | None:
    """Returns the share of a job's caps that is left, in [0, 1]; None when it has none."""
    total = budget.total
    left = []
    known = total.HasField("cost_usd") and budget.HasField("reserved_usd")
    if budget.HasField("max_cost_usd") and budget.max_cost_usd > 0 and known:
        left.append(1.0 - (total.cost_usd + budget.reserved_usd) / budget.max_cost_usd)
    if budget.max_tokens > 0:
        left.append(1.0 - (total.input_tokens + total.output_tokens) / budget.max_tokens)
    return max(0.0, min(left)) if left else None


class MeteredCallStore(CallStore):
    """A call store that counts what it stores."""

    def __init__(
        self, database: Database, writer: Writer, *, tenant: str, metrics: ControllerMetrics
    ) -> None:
        super().__init__(database, writer, tenant=tenant)
        self._metrics = metrics

    def put(self, call: Call, *, kept: KeptKey | None = None) -> asyncio.Future[None]:
        """Queues a call as it stands; durable when the future is done."""
        self._metrics.call_saved(call)
        return super().put(call, kept=kept)


class MeteredRolloutStore(RolloutStore):
    """A rollout store that counts what it stores."""

    def __init__(
        self, database: Database, writer: Writer, *, tenant: str, metrics: ControllerMetrics
    ) -> None:
        super().__init__(database, writer, tenant=tenant)
        self._metrics = metrics

    async def save(self, rollout: FinishedRollout) -> None:
        """Stores a finished rollout; one that is there already stays as it is."""
        await super().save(rollout)
        self._metrics.rollout_saved(rollout)


class MeteredEventLog(EventLog):
    """An event log that counts what it logs."""

    def __init__(
        self, database: Database, writer: Writer, *, tenant: str, metrics: ControllerMetrics
    ) -> None:
        super().__init__(database, writer, tenant=tenant)
        self._metrics = metrics

    async def append(self, job_id: str, key: str, event: job_v1.JobEvent) -> int:
        """Appends an event and returns its sequence; a key that is there changes nothing."""
        sequence = await super().append(job_id, key, event)
        self._metrics.event_logged(job_id, event)
        return sequence

    async def append_state(self, job_id: str, event: job_v1.JobEvent) -> int:
        """Appends a change of state and returns its sequence; the last one is not repeated."""
        sequence = await super().append_state(job_id, event)
        self._metrics.event_logged(job_id, event)
        return sequence
