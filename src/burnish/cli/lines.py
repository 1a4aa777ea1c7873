"""A job's events as lines of plain text, the same in a terminal, a pipe and a log file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from burnish.api.job.v1 import job_event_pb2
from burnish.api.types.v1 import rollout_pb2
from burnish.plain import enum_name

RULE = "=" * 40
_PHASE_TITLES = {
    job_event_pb2.JOB_PHASE_BASELINE: "Phase 1: Bootstrap",
    job_event_pb2.JOB_PHASE_SEARCH: "Phase 2: TPE Optimization",
    job_event_pb2.JOB_PHASE_TEST: "Phase 3: Test on held-out rows",
}
_ALGORITHM_TITLES = {job_event_pb2.JOB_PHASE_SEARCH: "Phase 2: {name} search"}
_ENGINE_TITLES = {("race", job_event_pb2.JOB_PHASE_SEARCH): "Phase 2: Race Optimization"}
_ACRONYMS = {"gepa": "GEPA"}


def header(*, algorithm: str, job_id: str, state: str) -> list[str]:
    """Returns what is shown before the first event."""
    return [
        RULE,
        f"{algorithm.upper()} Prompt Optimization",
        RULE,
        f"Job ID: {job_id}",
        f"Status: {state}",
        "",
    ]


@dataclass(slots=True, kw_only=True)
class EventLines:
    """Turns events into lines, in order.

    Attributes:
        algorithm: Search algorithm of the job.
        engine: Its engine; empty for the algorithm's own.
    """

    algorithm: str = "mipro"
    engine: str = ""
    _iterations: int = 0
    _iteration: int = 0
    _open: bool = False
    _iteration_best: float | None = None
    _best: float | None = None
    _proposed: int = 0

    def lines(self, event: job_event_pb2.JobEvent) -> list[str]:
        """Returns the lines for the next event; most kinds have one, some none."""
        kind = event.WhichOneof("kind")
        if kind == "trial_completed":
            return self._trial(event)
        handlers: dict[str | None, Callable[[Any], list[str]]] = {
            "state_changed": self._state,
            "phase_changed": self._phase,
            "progress": self._progress,
            "baseline_learned": _learned,
            "baseline_evaluated": self._baseline,
            "bootstrap_completed": _bootstrap,
            "component_added": self._component,
            "proposal_completed": _proposals,
            "proposal_refused": _refusal,
            "proposal_settled": _settled,
            "proxy_changed": _proxy,
            "iteration_started": self._iteration_started,
            "iteration_completed": lambda _: self._iteration_completed(),
            "generation_started": self._generation_started,
            "generation_completed": _generation,
            "new_incumbent": self._incumbent,
            "full_evaluation_completed": _full_evaluation,
            "top_k_evaluated": _top_k,
            "search_ended": self._search_ended,
            "test_evaluated": _test,
            "rollouts_unscored": _unscored,
            "winner_chosen": _winner,
            "budget_warning": _budget_warning,
        }
        handler = handlers.get(kind)
        return [] if handler is None or kind is None else handler(getattr(event, kind))

    def _state(self, changed: job_event_pb2.StateChanged) -> list[str]:
        state = enum_name(job_event_pb2.JobState.DESCRIPTOR, changed.to_state)
        if changed.HasField("failure"):
            return [f"Failed: {changed.failure.reason}: {changed.failure.message}"]
        return [f"Status: {state}"] if state in {"pausing", "paused", "cancelling"} else []

    def _phase(self, changed: job_event_pb2.PhaseChanged) -> list[str]:
        if changed.to_phase == job_event_pb2.JOB_PHASE_PROPOSE:
            return ["  Generating instruction candidates..."]
        title = _PHASE_TITLES.get(changed.to_phase)
        if title is None:
            return []
        title = _ENGINE_TITLES.get((self.engine, changed.to_phase), title)
        if self.algorithm != "mipro" and changed.to_phase in _ALGORITHM_TITLES:
            title = _ALGORITHM_TITLES[changed.to_phase].format(
                name=_ACRONYMS.get(self.algorithm, self.algorithm)
            )
        lines = ["", title] if changed.to_phase != job_event_pb2.JOB_PHASE_BASELINE else [title]
        if changed.to_phase == job_event_pb2.JOB_PHASE_TEST:
            lines.append("Validation Summary:")
        return lines

    def _component(self, added: job_event_pb2.ComponentAdded) -> list[str]:
        if added.component.WhichOneof("content") != "instruction" or not added.author:
            return []
        self._proposed += 1
        return [f"  - Instruction {self._proposed} by {added.author}"]

    def _trial(self, event: job_event_pb2.JobEvent) -> list[str]:
        trial = event.trial_completed
        stamp = event.event_time.ToDatetime().strftime("%H:%M:%S")
        if not trial.HasField("reward"):
            return [f"  [{stamp}] [Trial {trial.trial_index}] Score: none N=0"]
        mean = trial.reward.mean
        self._iteration_best = max(mean, self._iteration_best or 0.0)
        best = self._best if self._best is not None else mean
        return [
            f"  [{stamp}] [Trial {trial.trial_index}] Score: {mean:.4f} "
            f"(Best: {best:.4f}) N={trial.seed_count - trial.unscored_count}"
        ]

    def _iteration_started(self, started: job_event_pb2.IterationStarted) -> list[str]:
        lines = self._iteration_completed()
        self._iterations = started.planned_count
        if 0 < started.planned_count <= started.iteration:
            # What comes after the planned iterations is the last look at the best of them.
            return [*lines, "  Evaluating the best candidates once more..."]
        self._iteration, self._open, self._iteration_best = started.iteration, True, None
        return lines

    def _generation_started(self, started: job_event_pb2.GenerationStarted) -> list[str]:
        self._iterations = started.planned_count
        # Generation 0 is no step of its own among those that were planned.
        self._iteration = max(started.generation - 1, 0)
        name = f"Generation {started.generation}/{started.planned_count}"
        if not started.generation:
            return [f"  {name}: the initial population"]
        return [f"  {name}: parents out of {started.population_count}"]

    def _iteration_completed(self) -> list[str]:
        """Closes the iteration, once, whichever event says that it is over."""
        if not self._open:
            return []
        self._open = False
        shown = "none" if self._iteration_best is None else f"{self._iteration_best:.2f}"
        count = self._iterations or "?"
        return [f"  Iteration {self._iteration + 1}/{count}... score: {shown}"]

    def _incumbent(self, found: job_event_pb2.NewIncumbent) -> list[str]:
        self._best = found.reward.mean
        return [f"  New best: {_interval(found.reward)}"]

    def _baseline(self, evaluated: job_event_pb2.BaselineEvaluated) -> list[str]:
        self._best = evaluated.reward.mean
        return [f"  Baseline: {_interval(evaluated.reward)}"]

    def _search_ended(self, ended: job_event_pb2.SearchEnded) -> list[str]:
        reason = enum_name(job_event_pb2.TerminationReason.DESCRIPTOR, ended.reason)
        return [*self._iteration_completed(), f"  Search ended: {reason.replace('_', ' ')}"]

    def _progress(self, progress: job_event_pb2.JobProgress) -> list[str]:
        tokens = progress.usage.input_tokens + progress.usage.output_tokens
        parts = [
            f"Progress: {progress.fraction:.0%} complete",
            f"trials={progress.trials_completed}/{progress.trials_planned or '?'}",
            f"iter={self._iteration + 1}/{self._iterations or '?'}",
            f"rollouts={progress.rollouts_completed}/{progress.rollouts_planned or '?'}",
            f"tokens={tokens / 1e6:.3f}M",
            f"cost={money(progress.usage)}",
            f"elapsed={clock(progress.elapsed.ToTimedelta().total_seconds())}",
        ]
        if progress.HasField("remaining"):
            parts.append(f"eta={clock(progress.remaining.ToTimedelta().total_seconds())}")
        if progress.rollouts_unscored:
            parts.append(f"unscored={progress.rollouts_unscored}")
        return ["  " + " ".join(parts)]


def clock(seconds: float) -> str:
    """Returns a span as `m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def money(usage: rollout_pb2.Usage) -> str:
    """Returns what was spent; `unknown` when a price is."""
    return f"${usage.cost_usd:.4f}" if usage.HasField("cost_usd") else "unknown"


def _learned(learned: job_event_pb2.BaselineLearned) -> list[str]:
    return [f"  Prompt of `{learned.template.stage_id}` learnt from {learned.call_count} calls"]


def _bootstrap(done: job_event_pb2.BootstrapCompleted) -> list[str]:
    return [
        "  Sampling demonstrations...",
        f"  - Demo pool size: {done.passed_count} of {done.rollout_count} rollouts "
        f"reached {done.min_reward:g}",
        f"  - Demo sets: {done.demo_set_count}",
        "  ✓ Bootstrap complete",
    ]


def _generation(done: job_event_pb2.GenerationCompleted) -> list[str]:
    best = f", best {done.best_reward.mean:.4f}" if done.HasField("best_reward") else ""
    return [f"  - {done.accepted_count} of {done.proposed_count} children accepted{best}"]


def _proposals(done: job_event_pb2.ProposalCompleted) -> list[str]:
    refused = f", {done.refused_count} refused" if done.refused_count else ""
    return [f"  Total instructions: {done.accepted_count}{refused} ({done.description})"]


def _refusal(refused: job_event_pb2.ProposalRefused) -> list[str]:
    return [f"  - refused: {refused.reason} ({refused.message})"]


def _settled(settled: job_event_pb2.ProposalSettled) -> list[str]:
    parts = [f"{len(settled.joined_component_ids)} joined the search"]
    if settled.screen_row_count:
        out = len(settled.screened_component_ids)
        parts.append(f"{out} screened out on {settled.screen_row_count} rows")
    if settled.retired_component_ids:
        parts.append(f"{len(settled.retired_component_ids)} retired")
    return [f"  New instructions: {', '.join(parts)}"]


def _proxy(summary: job_event_pb2.ProxySummary) -> list[str]:
    fit = f" (R2 {summary.r2:.2f})" if summary.HasField("r2") else ""
    if summary.state == job_event_pb2.PROXY_STATE_ON:
        return [f"  Cheap model stands in{fit}"]
    if summary.state == job_event_pb2.PROXY_STATE_STOPPED:
        return [f"  Cheap model given up: {summary.reason}"]
    return []


def _full_evaluation(done: job_event_pb2.FullEvaluationCompleted) -> list[str]:
    return [f"Full eval: Score={done.reward.mean:.4f}"]


def _top_k(ranked: job_event_pb2.TopKEvaluated) -> list[str]:
    name = f"Candidate {ranked.rank}" if ranked.rank else "Top candidate"
    return [f"  {name}: {_interval(ranked.reward)}"]


def _test(tested: job_event_pb2.TestEvaluated) -> list[str]:
    who = "Baseline" if tested.baseline else "Candidate 1"
    return [f"  {who}: {_interval(tested.reward)}"]


def _unscored(unscored: job_event_pb2.RolloutsUnscored) -> list[str]:
    counts = sorted(unscored.count_by_reason.items())
    return ["  Not scored: " + ", ".join(f"{count} x {reason}" for reason, count in counts)]


def _winner(chosen: job_event_pb2.WinnerChosen) -> list[str]:
    return [f"  {chosen.verdict}"] if chosen.verdict else []


def _budget_warning(warning: job_event_pb2.BudgetWarning) -> list[str]:
    spent, limit = f"${warning.spent:.4f}", f"${warning.limit:.4f}"
    if warning.cap == "max_tokens":
        spent, limit = f"{warning.spent:,.0f}", f"{warning.limit:,.0f}"
    return [f"  Budget: {warning.percent} % of {warning.cap} is spent ({spent} of {limit})"]


def _interval(estimate: rollout_pb2.Estimate) -> str:
    return (
        f"{estimate.mean:.4f} [{estimate.lower:.4f}, {estimate.upper:.4f}] n={estimate.row_count}"
    )
