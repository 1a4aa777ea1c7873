"""A job's events as lines of plain text, the same in a terminal, a pipe and a log file."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    algorithm: str = "mipro"
    _iterations: int = 0
    _iteration: int = 0
    _open: bool = False
    _iteration_best: float | None = None
    _best: float | None = None
    _proposed: int = 0

    def lines(self, event: job_event_pb2.JobEvent) -> list[str]:
        """Returns the lines for the next event; most kinds have one, some none."""
        match event.WhichOneof("kind"):
            case "state_changed":
                return self._state(event.state_changed)
            case "phase_changed":
                return self._phase(event.phase_changed)
            case "progress":
                return [self._progress(event.progress)]
            case "baseline_learned":
                learned = event.baseline_learned
                stage = learned.template.stage_id
                return [f"  Prompt of `{stage}` learnt from {learned.call_count} calls"]
            case "baseline_evaluated":
                reward = event.baseline_evaluated.reward
                self._best = reward.mean
                return [f"  Baseline: {_interval(reward)}"]
            case "bootstrap_completed":
                done = event.bootstrap_completed
                return [
                    "  Sampling demonstrations...",
                    f"  - Demo pool size: {done.passed_count} of {done.rollout_count} rollouts "
                    f"reached {done.min_reward:g}",
                    f"  - Demo sets: {done.demo_set_count}",
                    "  ✓ Bootstrap complete",
                ]
            case "component_added":
                return self._component(event.component_added)
            case "proposal_completed":
                proposed = event.proposal_completed
                refused_too = (
                    f", {proposed.refused_count} refused" if proposed.refused_count else ""
                )
                return [
                    f"  Total instructions: {proposed.accepted_count}{refused_too} "
                    f"({proposed.description})"
                ]
            case "proposal_refused":
                refused = event.proposal_refused
                return [f"  - refused: {refused.reason} ({refused.message})"]
            case "iteration_started":
                return self._iteration_started(event.iteration_started)
            case "trial_completed":
                return self._trial(event)
            case "iteration_completed":
                return self._iteration_completed()
            case "new_incumbent":
                return self._incumbent(event.new_incumbent)
            case "full_evaluation_completed":
                return [f"Full eval: Score={event.full_evaluation_completed.reward.mean:.4f}"]
            case "top_k_evaluated":
                ranked = event.top_k_evaluated
                return [f"  Candidate {ranked.rank}: {_interval(ranked.reward)}"]
            case "search_ended":
                reason = enum_name(
                    job_event_pb2.TerminationReason.DESCRIPTOR, event.search_ended.reason
                )
                ended = f"  Search ended: {reason.replace('_', ' ')}"
                return [*self._iteration_completed(), ended]
            case "test_evaluated":
                tested = event.test_evaluated
                who = "Baseline" if tested.baseline else "Candidate 1"
                return [f"  {who}: {_interval(tested.reward)}"]
            case "rollouts_unscored":
                counts = sorted(event.rollouts_unscored.count_by_reason.items())
                listed = ", ".join(f"{count} x {reason}" for reason, count in counts)
                return [f"  Not scored: {listed}"]
            case "winner_chosen":
                return [f"  {event.winner_chosen.verdict}"] if event.winner_chosen.verdict else []
            case _:
                return []

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
        if self.algorithm != "mipro" and changed.to_phase in _ALGORITHM_TITLES:
            title = _ALGORITHM_TITLES[changed.to_phase].format(name=self.algorithm)
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
        self._iteration, self._iterations = started.iteration, started.planned_count
        self._open, self._iteration_best = True, None
        return lines

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

    def _progress(self, progress: job_event_pb2.JobProgress) -> str:
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
        return "  " + " ".join(parts)


def clock(seconds: float) -> str:
    """Returns a span as `m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def money(usage: rollout_pb2.Usage) -> str:
    """Returns what was spent; `unknown` when a price is."""
    return f"${usage.cost_usd:.4f}" if usage.HasField("cost_usd") else "unknown"


def _interval(estimate: rollout_pb2.Estimate) -> str:
    return (
        f"{estimate.mean:.4f} [{estimate.lower:.4f}, {estimate.upper:.4f}] n={estimate.row_count}"
    )
