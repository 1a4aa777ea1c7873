"""What Synth's clients call each kind of event: the dotted names of both generations."""

from __future__ import annotations

from typing import Literal

from burnish.api.job.v1 import job_event_pb2 as job

Generation = Literal[1, 2]

# Events that people are shown only when they ask for them.
HIDDEN_TYPES = frozenset({"mipro.tpe.update", "learning.policy.mipro.trial.updated"})

_STATES = {
    job.JOB_STATE_PENDING: "prompt.learning.created",
    job.JOB_STATE_RUNNING: "prompt.learning.running",
    job.JOB_STATE_PAUSING: "prompt.learning.pausing",
    job.JOB_STATE_PAUSED: "prompt.learning.paused",
    job.JOB_STATE_CANCELLING: "prompt.learning.cancelling",
    job.JOB_STATE_SUCCEEDED: "prompt.learning.{family}.complete",
    job.JOB_STATE_FAILED: "prompt.learning.{family}.failed",
    job.JOB_STATE_CANCELLED: "prompt.learning.cancelled",
}
_NAMES = {
    "phase_changed": "prompt.learning.phase.changed",
    "progress": "prompt.learning.progress",
    "baseline_learned": "prompt.learning.baseline.learned",
    "baseline_evaluated": "prompt.learning.validation.scored",
    "bootstrap_completed": "{family}.bootstrap.complete",
    "component_added": "{family}.demo_set.added",
    "proposal_completed": "{family}.proposal.complete",
    "proposal_refused": "{family}.instruction.refused",
    "proposal_settled": "{family}.proposal.settled",
    "proxy_changed": "{family}.proxy.updated",
    "iteration_started": "{family}.iteration.start",
    "iteration_completed": "{family}.iteration.complete",
    "trial_started": "{family}.trial.started",
    "trial_completed": "{family}.trial.complete",
    "new_incumbent": "{family}.new_incumbent",
    "full_evaluation_completed": "{family}.fulleval.complete",
    "top_k_evaluated": "{family}.topk.evaluated",
    "budget_updated": "{family}.budget.update",
    "budget_warning": "{family}.budget.warning",
    "search_ended": "{family}.termination.triggered",
    "test_evaluated": "prompt.learning.eval.summary",
    "rollouts_unscored": "prompt.learning.rollouts.unscored",
    "winner_chosen": "prompt.learning.best.prompt",
    "billing_started": "prompt.learning.billing.start",
    "billing_ended": "prompt.learning.billing.end",
    "rollouts_started": "prompt.learning.rollouts.start",
    "batch_scored": "prompt.learning.trial.results",
    "search_started": "{family}.job.started",
    "sampler_updated": "{family}.tpe.update",
    "candidate_evaluation_started": "prompt.learning.candidate.evaluation.started",
    "candidate_evaluated": "prompt.learning.candidate.evaluated",
    "validation_scored": "prompt.learning.validation.scored",
    "validation_summarized": "prompt.learning.validation.summary",
    "top_prompt": "prompt.learning.top.prompt.content",
    "final_results": "prompt.learning.final.results",
    "search_completed": "{family}.job.completed",
    "job_concluded": "prompt.learning.completed",
    "generation_started": "prompt.learning.gepa.generation.start",
    "generation_completed": "prompt.learning.gepa.generation.complete",
    "frontier_updated": "prompt.learning.gepa.frontier_updated",
    "transformation_proposed": "gepa.transformation.proposed",
    "reward_received": "mipro.reward.received",
    "stream_connected": "prompt.learning.stream.connected",
}
# Where GEPA has a name of its own for what every search does.
_GEPA_NAMES = {
    "baseline_evaluated": "prompt.learning.gepa.baseline",
    "new_incumbent": "prompt.learning.gepa.new_best",
    "candidate_evaluated": "prompt.learning.gepa.candidate.evaluated",
    "search_started": "prompt.learning.gepa.start",
    "search_ended": "prompt.learning.gepa.termination.triggered",
}
_PURPOSES = {
    job.EVALUATION_PURPOSE_PROPOSAL: "prompt.learning.proposal.scored",
    job.EVALUATION_PURPOSE_OPTIMIZED: "prompt.learning.optimized.scored",
}
_SECOND_STATES = {
    job.JOB_STATE_PENDING: "job.queued",
    job.JOB_STATE_RUNNING: "job.started",
    job.JOB_STATE_PAUSED: "job.paused",
    job.JOB_STATE_SUCCEEDED: "job.completed",
    job.JOB_STATE_FAILED: "job.failed",
    job.JOB_STATE_CANCELLED: "job.cancelled",
}
_SECOND_NAMES = {
    "phase_changed": "phase.started",
    "progress": "job.progress",
    "baseline_learned": "phase.progress",
    "baseline_evaluated": "candidate.evaluated",
    "bootstrap_completed": "phase.summary",
    "proposal_completed": "phase.progress",
    "proposal_refused": "candidate.failed",
    "proposal_settled": "phase.summary",
    "proxy_changed": "phase.progress",
    "iteration_started": "iteration.started",
    "iteration_completed": "iteration.completed",
    "trial_started": "trial.started",
    "trial_completed": "trial.completed",
    "new_incumbent": "candidate.new_best",
    "full_evaluation_completed": "trial.evaluated",
    "top_k_evaluated": "candidate.evaluated",
    "budget_updated": "billing.updated",
    "budget_warning": "billing.progress",
    "search_ended": "phase.completed",
    "test_evaluated": "validation.evaluated",
    "rollouts_unscored": "rollout.failed",
    "winner_chosen": "candidate.completed",
    "billing_started": "billing.started",
    "billing_ended": "billing.completed",
    "rollouts_started": "rollout.started",
    "batch_scored": "rollout.progress",
    "search_started": "phase.progress",
    "sampler_updated": "trial.updated",
    "candidate_evaluation_started": "candidate.started",
    "candidate_evaluated": "candidate.evaluated",
    "validation_scored": "validation.evaluated",
    "validation_summarized": "validation.summary",
    "top_prompt": "candidate.updated",
    "final_results": "job.summary",
    "search_completed": "phase.summary",
    "job_concluded": "job.updated",
    "generation_started": "generation.started",
    "generation_completed": "generation.completed",
    "frontier_updated": "frontier.updated",
    "reward_received": "rollout.completed",
}
# Names of the second generation that no algorithm is part of.
_SECOND_PLAIN = {
    "component_added": "candidate.added",
    "transformation_proposed": "candidate.added",
    "stream_connected": "stream.connected",
}


def dotted_name(event: job.JobEvent, *, algorithm: str, generation: Generation = 1) -> str:
    """Returns an event's type.

    Args:
        event: The event.
        algorithm: Search algorithm; `gepa` has names of its own, every other one those of MIPRO.
        generation: Which of Synth's schemas.
    """
    family = "gepa" if algorithm == "gepa" else "mipro"
    kind = event.WhichOneof("kind") or ""
    if generation == 1:
        return _first(event, kind, gepa=family == "gepa").format(family=family)
    if kind in _SECOND_PLAIN:
        return _SECOND_PLAIN[kind]
    return f"learning.policy.{family}.{_second(event, kind)}"


def _first(event: job.JobEvent, kind: str, *, gepa: bool) -> str:
    match kind:
        case "state_changed":
            change = event.state_changed
            begun = (change.from_state, change.to_state)
            if begun == (job.JOB_STATE_PENDING, job.JOB_STATE_RUNNING):
                return "prompt.learning.started"
            return _STATES.get(change.to_state, "prompt.learning.status")
        case "component_added" if event.component_added.component.HasField("instruction"):
            return "{family}.instruction.proposed"
        case "test_evaluated" if event.test_evaluated.baseline:
            return "{family}.baseline.test"
        case "budget_updated" if event.budget_updated.final:
            return "{family}.budget.summary"
        case "job_concluded" if event.job_concluded.state == job.JOB_STATE_FAILED:
            return "prompt.learning.failed"
        case "candidate_evaluated" if event.candidate_evaluated.purpose in _PURPOSES:
            return _PURPOSES[event.candidate_evaluated.purpose]
        case "search_ended" if event.search_ended.reason == job.TERMINATION_REASON_SPACE_EXHAUSTED:
            return "{family}.optimization.exhausted"
    names = {**_NAMES, **_GEPA_NAMES} if gepa else _NAMES
    return names.get(kind, "prompt.learning.event")


def _second(event: job.JobEvent, kind: str) -> str:
    match kind:
        case "state_changed":
            return _SECOND_STATES.get(event.state_changed.to_state, "job.progress")
        case "budget_updated" if event.budget_updated.final:
            return "billing.summary"
    return _SECOND_NAMES.get(kind, "job.updated")
