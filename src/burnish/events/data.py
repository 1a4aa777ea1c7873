"""What Synth's clients look for in an event's `data`: their field names for our numbers.

Each function takes an event's detail as plain values, as `burnish.plain` makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from burnish.events import outcomes
from burnish.events.numbers import best_of, mean_of, row_count
from burnish.plain import Plain

# Their words for our phases; the others are called as ours are.
_PHASES = {"search": "optimization", "propose": "optimization"}


def data_of(kind: str, detail: Plain) -> Plain:
    """Returns the fields of an event's data; empty for a kind that Synth does not have.

    Args:
        kind: Which kind of event, such as `trial_completed`.
        detail: The event's own message as plain values.
    """
    reader = _READERS.get(kind) or outcomes.READERS.get(kind)
    return {} if reader is None else reader(detail)


def _state(detail: Plain) -> Plain:
    data: Plain = {"status": detail["to_state"], "previous_status": detail["from_state"]}
    failure = detail.get("failure")
    if isinstance(failure, dict):
        data["error"] = failure["message"]
        data["reason"] = failure["reason"]
    return data | best_of(mean_of(detail, "best_reward"))


def _phase(detail: Plain) -> Plain:
    before, after = str(detail["from_phase"]), str(detail["to_phase"])
    return {
        "from_phase": _PHASES.get(before, before),
        "to_phase": _PHASES.get(after, after),
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
        **best_of(mean_of(detail, "best_reward")),
    }


def _component(detail: Plain) -> Plain:
    component = cast(Plain, detail.get("component", {}))
    data: Plain = {
        "iteration": detail["iteration"],
        "stage_id": component.get("stage_id"),
        "module_id": detail["module_id"] or None,
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
            "demo_indices": [],
            "proposal_id": detail["proposal_id"] or component.get("component_id"),
        }
    else:
        data["demo_index"] = detail["index"]
    return data


def _iteration_started(detail: Plain) -> Plain:
    return {
        "iteration": detail["iteration"],
        "num_iterations": detail["planned_count"],
        "num_trials_per_iteration": detail["trials_per_iteration"],
        "batch_size": detail["batch_size"],
        "max_trials": detail["max_trials"] or None,
        "max_rollouts": detail["max_rollouts"] or None,
        "max_time_seconds": detail.get("max_duration"),
    }


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
    mean = mean_of(detail)
    return {
        **_trial_started(detail),
        "minibatch_score": mean,
        "score": mean,
        "reward": mean,
        "num_instances": cast(int, detail["seed_count"]) - cast(int, detail["unscored_count"]),
    }


def _incumbent(detail: Plain) -> Plain:
    mean, previous = mean_of(detail), mean_of(detail, "previous")
    return {
        "candidate_id": detail["candidate_id"],
        "minibatch_score": mean,
        "trial": detail["trial_index"],
        "iteration": detail["iteration"],
        "cumulative_trials": cast(int, detail["trial_index"]) + 1,
        "num_seeds": row_count(detail),
        "accuracy": mean,
        "previous_best_score": previous,
        "improvement": None if mean is None or previous is None else mean - previous,
        "version_id": detail["candidate_id"],
        **best_of(mean),
    }


def _full_evaluation(detail: Plain) -> Plain:
    return {
        "trial": detail["trial_index"],
        "iteration": detail["iteration"],
        "candidate_id": detail["candidate_id"],
        "score": mean_of(detail),
        "reward": mean_of(detail),
        "num_seeds": row_count(detail),
    }


def _rollouts_started(detail: Plain) -> Plain:
    phase = str(detail["phase"])
    return {"train_seeds": detail["seeds"], "phase": _PHASES.get(phase, phase)}


def _batch(detail: Plain) -> Plain:
    return {
        "mean": mean_of(detail),
        "completed": detail["completed_count"],
        "total": detail["total_count"],
    }


def _search_started(detail: Plain) -> Plain:
    return {
        "num_iterations": detail["iteration_count"],
        "num_trials_per_iteration": detail["trials_per_iteration"],
        "batch_size": detail["batch_size"],
    }


def _sampler(detail: Plain) -> Plain:
    return {
        "num_observations": detail["observation_count"],
        "num_good": detail["good_count"],
        "num_bad": detail["bad_count"],
        "gamma": detail["gamma"],
    }


def _evaluation_started(detail: Plain) -> Plain:
    return {
        "candidate_id": detail["candidate_id"],
        "num_seeds": detail["seed_count"],
        "status": "evaluating",
    }


def _evaluated(detail: Plain) -> Plain:
    mean = mean_of(detail)
    return {
        "candidate_id": detail["candidate_id"],
        "status": detail["status"],
        "accuracy": mean,
        "score": mean,
        "reward": mean,
    }


def _generation(detail: Plain) -> Plain:
    return {"generation": detail["generation"], **best_of(mean_of(detail, "best_reward"))}


def _frontier(detail: Plain) -> Plain:
    return {
        "frontier": detail["candidate_ids"],
        "added": detail["added_candidate_ids"],
        "removed": detail["removed_candidate_ids"],
        "frontier_size": len(cast(list[str], detail["candidate_ids"])),
        **best_of(mean_of(detail, "best_reward")),
    }


def _transformation(detail: Plain) -> Plain:
    parents = cast(list[str], detail["parent_candidate_ids"])
    texts = cast(dict[str, str], detail["text_by_stage"])
    return {
        "generation": detail["generation"],
        "mutation_type": detail["mutation_type"] or "unknown",
        "operator": detail["operator"],
        "transformation_id": detail["transformation_id"],
        "parent_id": parents[0] if parents else None,
        "parent_ids": parents,
        "candidate_id": detail["candidate_id"],
        "transformation_text": "\n\n".join(texts.values()),
        "transformation_dict": {
            "text_replacements": [
                {"apply_to_role": "system", "stage_id": stage, "new_text": text}
                for stage, text in texts.items()
            ]
        },
        "mutation_params": detail["parameters"],
    }


def _rewarded(detail: Plain) -> Plain:
    return {name: detail[name] for name in ("rollout_id", "candidate_id", "reward")}


def _connected(detail: Plain) -> Plain:
    return {
        "cursor": detail["cursor"],
        "heartbeat_interval_seconds": detail.get("heartbeat_interval"),
    }


_READERS: dict[str, Callable[[Plain], Plain]] = {
    "state_changed": _state,
    "phase_changed": _phase,
    "progress": _progress,
    "component_added": _component,
    "iteration_started": _iteration_started,
    "iteration_completed": _iteration_completed,
    "trial_started": _trial_started,
    "trial_completed": _trial_completed,
    "new_incumbent": _incumbent,
    "full_evaluation_completed": _full_evaluation,
    "rollouts_started": _rollouts_started,
    "batch_scored": _batch,
    "search_started": _search_started,
    "sampler_updated": _sampler,
    "candidate_evaluation_started": _evaluation_started,
    "candidate_evaluated": _evaluated,
    "generation_started": _generation,
    "generation_completed": _generation,
    "frontier_updated": _frontier,
    "transformation_proposed": _transformation,
    "reward_received": _rewarded,
    "stream_connected": _connected,
}
