"""Metrics of the controller: what calls of every role cost, how rollouts ended, and lost traces.

No id is ever a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import Metric

from burnish.api.trace import v1 as trace_v1
from burnish_controller.ledger.calls import Call, CallState
from burnish_controller.ledger.store import CallStore
from burnish_controller.store.database import Database
from burnish_controller.store.rollouts import FinishedRollout, RolloutStore
from burnish_controller.store.writer import Writer
from burnish_runtime.plain_metrics import Buckets, Counts, counter, exposed, histogram

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

    def collect(self) -> Iterable[Metric]:
        """Returns everything as a scrape sees it."""
        models = ["role", "provider", "model"]
        for name, text, labels, counts in (
            ("burnish_llm_tokens", "Tokens paid.", ["role", "kind"], self._tokens),
            ("burnish_llm_cost_usd", "Cost of paid calls in US dollars.", models, self._cost),
            ("burnish_llm_unpriced_calls", "Paid calls of unknown price.", models, self._unpriced),
            ("burnish_llm_lost_calls", "Calls possibly paid.", ["role"], self._lost),
            ("burnish_rollouts", "Rollouts ended.", ["job_kind", "outcome"], self._rollouts),
            ("burnish_traces_stored", "Traces of online calls stored.", [], self._stored),
            ("burnish_traces_lost", "Traces that interceptors had to drop.", [], self._dropped),
        ):
            yield counter(name, text, labels, counts)
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


class MeteredCallStore(CallStore):
    """A call store that counts what it stores."""

    def __init__(
        self, database: Database, writer: Writer, *, tenant: str, metrics: ControllerMetrics
    ) -> None:
        super().__init__(database, writer, tenant=tenant)
        self._metrics = metrics

    async def save(self, call: Call) -> None:
        """Stores a call as it stands; durable on return."""
        await super().save(call)
        self._metrics.call_saved(call)


class MeteredRolloutStore(RolloutStore):
    """A rollout store that counts what it stores."""

    def __init__(
        self, database: Database, writer: Writer, *, tenant: str, metrics: ControllerMetrics
    ) -> None:
        super().__init__(database, writer, tenant=tenant)
        self._metrics = metrics

    async def save(self, rollout: FinishedRollout, *, graph: str) -> None:
        """Stores a finished rollout; one that is there already stays as it is."""
        await super().save(rollout, graph=graph)
        self._metrics.rollout_saved(rollout)
