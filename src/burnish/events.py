"""A job's events as dotted envelopes, the shape that Synth's clients read, and back.

An envelope is `{seq, type, message, data, level, ts, created_at, job_id}`. Its `data` holds the
field names that those clients look for, plus `kind` and `detail`: the event as the API has it, so
that nothing is lost on the way and an envelope can be turned back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from burnish.api.job.v1 import job_event_pb2
from burnish.errors import InvalidArgument
from burnish.plain import Plain, from_plain, to_plain

Envelope = dict[str, object]

_LEVELS = {"warning": "warn"}
_LEVELS_BACK = {"warn": "warning"}

_STATE_TYPES = {
    "pending": "prompt.learning.created",
    "running": "prompt.learning.running",
    "pausing": "prompt.learning.pausing",
    "paused": "prompt.learning.paused",
    "cancelling": "prompt.learning.cancelling",
    "succeeded": "prompt.learning.{algorithm}.complete",
    "failed": "prompt.learning.{algorithm}.failed",
    "cancelled": "prompt.learning.cancelled",
}
_TYPES = {
    "phase_changed": "prompt.learning.phase.changed",
    "progress": "prompt.learning.progress",
    "baseline_learned": "prompt.learning.baseline.learned",
    "baseline_evaluated": "prompt.learning.validation.scored",
    "bootstrap_completed": "{algorithm}.bootstrap.complete",
    "proposal_completed": "{algorithm}.proposal.complete",
    "proposal_refused": "{algorithm}.instruction.refused",
    "iteration_started": "{algorithm}.iteration.start",
    "iteration_completed": "{algorithm}.iteration.complete",
    "trial_started": "{algorithm}.trial.started",
    "trial_completed": "{algorithm}.trial.complete",
    "new_incumbent": "{algorithm}.new_incumbent",
    "full_evaluation_completed": "{algorithm}.fulleval.complete",
    "top_k_evaluated": "{algorithm}.topk.evaluated",
    "budget_updated": "{algorithm}.budget.update",
    "rollouts_unscored": "prompt.learning.rollouts.unscored",
    "winner_chosen": "prompt.learning.best.prompt",
}


def to_envelope(
    event: job_event_pb2.JobEvent, *, job_id: str, algorithm: str = "mipro"
) -> Envelope:
    """Returns an event as an envelope.

    Args:
        event: The event.
        job_id: Id of its job.
        algorithm: Search algorithm; `gepa` has names of its own, every other one those of MIPRO.
    """
    plain = to_plain(event)
    kind = event.WhichOneof("kind") or "unknown"
    detail = cast(Plain, plain.get(kind, {}))
    data: Plain = {"kind": kind, "detail": detail}
    if kind in _ALIASES:
        data.update(_ALIASES[kind](detail))
    level = str(plain["level"] or "info")
    family = "gepa" if algorithm == "gepa" else "mipro"
    return {
        "seq": event.sequence,
        "type": _type(kind, detail).format(algorithm=family),
        "message": event.message,
        "data": data,
        "level": _LEVELS.get(level, level),
        "ts": plain.get("event_time"),
        "created_at": plain.get("event_time"),
        "job_id": job_id,
    }


def from_envelope(envelope: Mapping[str, object]) -> job_event_pb2.JobEvent:
    """Returns the event of an envelope that `to_envelope` made.

    Raises:
        InvalidArgument: It holds no event of this API.
    """
    data = envelope.get("data")
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if not isinstance(kind, str):
        raise InvalidArgument(
            f"event `{envelope.get('type')}` has no `data.kind`; it was not made by Burnish",
            reason="EVENT_NOT_OURS",
        )
    level = str(envelope.get("level") or "")
    plain: Plain = {
        "sequence": envelope.get("seq"),
        "message": envelope.get("message"),
        "level": _LEVELS_BACK.get(level, level),
        "event_time": envelope.get("ts"),
        kind: cast(Mapping[str, object], data).get("detail"),
    }
    return from_plain(plain, job_event_pb2.JobEvent())


def _type(kind: str, detail: Plain) -> str:
    if kind == "state_changed":
        state = str(detail["to_state"])
        if state == "running" and detail["from_state"] == "pending":
            return "prompt.learning.started"
        return _STATE_TYPES.get(state, "prompt.learning.status")
    if kind == "component_added":
        added = cast(Plain, detail.get("component", {}))
        name = "instruction.proposed" if "instruction" in added else "demo_set.added"
        return "{algorithm}." + name
    if kind == "test_evaluated":
        return "{algorithm}.baseline.test" if detail["baseline"] else "prompt.learning.eval.summary"
    if kind == "search_ended":
        exhausted = detail["reason"] == "space_exhausted"
        name = "optimization.exhausted" if exhausted else "termination.triggered"
        return "{algorithm}." + name
    return _TYPES.get(kind, "prompt.learning.event")


def _mean(detail: Plain, key: str = "reward") -> float | None:
    found = detail.get(key)
    return cast(float, found["mean"]) if isinstance(found, dict) else None


def _best(value: float | None) -> Plain:
    return {} if value is None else {"best_score": value, "best_reward": value}


def _state(detail: Plain) -> Plain:
    data: Plain = {"status": detail["to_state"], "previous_status": detail["from_state"]}
    failure = detail.get("failure")
    if isinstance(failure, dict):
        data["error"] = failure["message"]
        data["reason"] = failure["reason"]
    return data


def _phase(detail: Plain) -> Plain:
    return {
        "from_phase": detail["from_phase"],
        "to_phase": detail["to_phase"],
        "phase_summary": {},
    }


def _progress(detail: Plain) -> Plain:
    done, planned = cast(int, detail["rollouts_completed"]), cast(int, detail["rollouts_planned"])
    spent = detail.get("usage")
    usage = spent if isinstance(spent, dict) else {}
    return {
        "rollouts_completed": done,
        "rollouts_total": planned,
        "percent_rollouts": done / planned if planned else 0.0,
        "transformations_tried": detail["trials_completed"],
        "transformations_planned": detail["trials_planned"],
        "percent_overall": detail["fraction"],
        "rollout_tokens_used": usage.get("input_tokens", 0) + usage.get("output_tokens", 0),
        "elapsed_seconds": detail.get("elapsed"),
        "eta_seconds": detail.get("remaining"),
        "step": detail["trials_completed"],
        "total_steps": detail["trials_planned"],
        **_best(_mean(detail, "best_reward")),
    }


def _baseline_evaluated(detail: Plain) -> Plain:
    mean = _mean(detail)
    return {
        "candidate_id": detail["candidate_id"],
        "accuracy": mean,
        "score": mean,
        "is_baseline": True,
        **_best(mean),
    }


def _component(detail: Plain) -> Plain:
    component = cast(Plain, detail.get("component", {}))
    data: Plain = {
        "iteration": detail["iteration"],
        "stage_id": component.get("stage_id"),
        "component_id": component.get("component_id"),
        "index": detail["index"],
    }
    instruction = component.get("instruction")
    if isinstance(instruction, dict):
        text = str(instruction["text"])
        data |= {
            "instruction_id": component.get("component_id"),
            "instruction_text": text,
            "instruction_lines": text.splitlines(),
            "instruction_index": detail["index"],
            "proposal_id": component.get("component_id"),
        }
    else:
        data["demo_index"] = detail["index"]
    return data


def _iteration_started(detail: Plain) -> Plain:
    return {"iteration": detail["iteration"], "num_iterations": detail["planned_count"]}


def _iteration_completed(detail: Plain) -> Plain:
    return {"iteration": detail["iteration"], "cumulative": detail["cumulative_trial_count"]}


def _trial_started(detail: Plain) -> Plain:
    return {
        "trial": detail["trial_index"],
        "iteration": detail["iteration"],
        "candidate_id": detail["candidate_id"],
        "num_seeds": detail["seed_count"],
    }


def _trial_completed(detail: Plain) -> Plain:
    mean = _mean(detail)
    return {
        **_trial_started(detail),
        "minibatch_score": mean,
        "score": mean,
        "reward": mean,
        "num_instances": cast(int, detail["seed_count"]) - cast(int, detail["unscored_count"]),
    }


def _incumbent(detail: Plain) -> Plain:
    mean = _mean(detail)
    return {
        "candidate_id": detail["candidate_id"],
        "minibatch_score": mean,
        "trial": detail["trial_index"],
        "iteration": detail["iteration"],
        "cumulative_trials": cast(int, detail["trial_index"]) + 1,
        **_best(mean),
    }


def _full_evaluation(detail: Plain) -> Plain:
    reward = detail.get("reward")
    rows = reward["row_count"] if isinstance(reward, dict) else 0
    return {
        "trial": detail["trial_index"],
        "iteration": detail["iteration"],
        "candidate_id": detail["candidate_id"],
        "score": _mean(detail),
        "reward": _mean(detail),
        "num_seeds": rows,
    }


def _top_k(detail: Plain) -> Plain:
    mean = _mean(detail)
    return {
        "rank": detail["rank"],
        "candidate_id": detail["candidate_id"],
        "validation_score": mean,
        "score": mean,
        "reward": mean,
    }


def _budget(detail: Plain) -> Plain:
    total = cast(Plain, detail.get("total", {}))
    roles = cast(dict[str, Plain], detail["by_role"])

    def tokens(usage: Plain) -> int:
        counts = (usage.get("input_tokens", 0), usage.get("output_tokens", 0))
        return sum(cast(int, count) for count in counts)

    return {
        "total_tokens": tokens(total),
        "policy_tokens": tokens(roles.get("task", {})),
        "proposer_tokens": tokens(roles.get("proposer", {})),
        "total_cost_usd": total.get("cost_usd"),
        "max_token_limit": detail["max_tokens"] or None,
        "max_spend_usd": detail.get("max_cost_usd"),
        "category_costs": {
            "rollout": roles.get("task", {}).get("cost_usd"),
            "proposal": roles.get("proposer", {}).get("cost_usd"),
        },
    }


def _test(detail: Plain) -> Plain:
    mean = _mean(detail)
    return {
        "candidate_id": detail["candidate_id"],
        "test_score": mean,
        "score": mean,
        "accuracy": mean,
        "is_baseline": detail["baseline"],
    }


def _winner(detail: Plain) -> Plain:
    return {
        "candidate_id": detail["candidate_id"],
        "is_baseline": detail["baseline"],
        "lift_absolute": _mean(detail, "test_difference"),
        "verdict": detail["verdict"],
    }


_ALIASES: dict[str, Callable[[Plain], Plain]] = {
    "state_changed": _state,
    "phase_changed": _phase,
    "progress": _progress,
    "baseline_evaluated": _baseline_evaluated,
    "component_added": _component,
    "iteration_started": _iteration_started,
    "iteration_completed": _iteration_completed,
    "trial_started": _trial_started,
    "trial_completed": _trial_completed,
    "new_incumbent": _incumbent,
    "full_evaluation_completed": _full_evaluation,
    "top_k_evaluated": _top_k,
    "budget_updated": _budget,
    "test_evaluated": _test,
    "winner_chosen": _winner,
}
