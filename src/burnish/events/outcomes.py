"""What Synth's clients look for in the `data` of events that tell results and bills.

Each function takes an event's detail as plain values, as `burnish.plain` makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from burnish.events.numbers import (
    best_of,
    instance_scores,
    lift,
    mean_of,
    standing,
    test_scores,
    tokens,
)
from burnish.plain import Plain


def _budget(detail: Plain) -> Plain:
    total = cast(Plain, detail.get("total", {}))
    roles = cast(dict[str, Plain], detail["by_role"])
    return {
        "total_tokens": tokens(total),
        "policy_tokens": tokens(roles.get("task", {})),
        "proposer_tokens": tokens(roles.get("proposer", {})),
        "judge_tokens": tokens(roles.get("judge", {})),
        "total_cost_usd": total.get("cost_usd"),
        "max_token_limit": detail["max_tokens"] or None,
        "max_spend_usd": detail.get("max_cost_usd"),
        "category_costs": {
            "rollout": roles.get("task", {}).get("cost_usd"),
            "proposal": roles.get("proposer", {}).get("cost_usd"),
            "judge": roles.get("judge", {}).get("cost_usd"),
        },
    }


def _budget_warning(detail: Plain) -> Plain:
    return {
        "budget": detail["cap"],
        "percent_used": detail["percent"],
        "spent": detail["spent"],
        "limit": detail["limit"],
    }


def _test(detail: Plain) -> Plain:
    mean = mean_of(detail)
    return {
        "candidate_id": detail["candidate_id"],
        "test_score": mean,
        "score": mean,
        "accuracy": mean,
        "is_baseline": detail["baseline"],
        **test_scores(detail),
    }


def _winner(detail: Plain) -> Plain:
    return {
        **best_of(mean_of(detail)),
        "candidate_id": detail["candidate_id"],
        "is_baseline": detail["baseline"],
        "lift_absolute": mean_of(detail, "test_difference"),
        "verdict": detail["verdict"],
    }


def _top_k(detail: Plain) -> Plain:
    mean, baseline = mean_of(detail), mean_of(detail, "baseline")
    return {
        "rank": detail["rank"],
        "candidate_id": detail["candidate_id"],
        "train_score": mean_of(detail, "search"),
        "validation_score": mean,
        "score": mean,
        "reward": mean,
        **lift(mean, baseline),
        # The held-out rows are kept for the winner alone, which `eval.summary` tells of.
        "test_score": None,
        "test_seed_scores": [],
        "test_per_seed": {},
    }


def _billing_started(detail: Plain) -> Plain:
    return {"seconds": 0.0, "total_usd": 0.0, "max_spend_usd": detail.get("max_cost_usd")}


def _billing_ended(detail: Plain) -> Plain:
    total = cast(Plain, detail.get("total", {}))
    return {
        "seconds": detail.get("elapsed"),
        "total_usd": total.get("cost_usd"),
        "tokens_usd": total.get("cost_usd"),
        "sandbox_usd": 0.0,
    }


def _concluded(detail: Plain) -> Plain:
    roles = cast(dict[str, Plain], detail["usage_by_role"])
    task = roles.get("task", {})
    data: Plain = {
        "status": detail["state"],
        "usd_tokens_rollouts": task.get("cost_usd"),
        "usd_tokens_mutation": roles.get("proposer", {}).get("cost_usd"),
        "rollouts_prompt_tokens": task.get("input_tokens", 0),
        "rollouts_completion_tokens": task.get("output_tokens", 0),
        "rollouts_unknown_tokens": 0,
    }
    failure = detail.get("failure")
    if isinstance(failure, dict):
        data |= {"error": failure["message"], "reason": failure["reason"]}
    return data


def _validation(detail: Plain) -> Plain:
    mean = mean_of(detail)
    return {
        "candidate_id": detail["candidate_id"],
        "accuracy": mean,
        "score": mean,
        "rank": detail["rank"],
        "is_baseline": detail["baseline"],
        **instance_scores(detail),
    }


def _validations(detail: Plain) -> Plain:
    results = cast(list[Plain], detail["results"])
    return {
        "baseline": mean_of(detail, "baseline"),
        "results": [standing(one, "validation") for one in results],
    }


def _top_prompt(detail: Plain) -> Plain:
    return {
        "rank": detail["rank"],
        "train_accuracy": mean_of(detail, "search"),
        "val_accuracy": mean_of(detail, "validation"),
    }


def _final(detail: Plain) -> Plain:
    candidates = cast(list[Plain], detail["candidates"])
    return {
        **best_of(mean_of(detail, "best_reward")),
        "attempted_candidates": [standing(one, "search") for one in candidates],
        "optimized_candidates": [
            standing(one, "validation") for one in candidates if "validation" in one
        ],
        "validation": [standing(one, "test") for one in candidates if "test" in one],
        "version_tree": {},
    }


def _search_completed(detail: Plain) -> Plain:
    full = mean_of(detail, "best_full")
    return {
        **best_of(full),
        "best_full_score": full,
        "best_minibatch_score": mean_of(detail, "best_minibatch"),
        "total_trials": detail["trial_count"],
    }


def _baseline_evaluated(detail: Plain) -> Plain:
    mean = mean_of(detail)
    return {
        "candidate_id": detail["candidate_id"],
        "accuracy": mean,
        "score": mean,
        "is_baseline": True,
        "rank": None,
        **instance_scores(detail),
        **best_of(mean),
    }


READERS: dict[str, Callable[[Plain], Plain]] = {
    "baseline_evaluated": _baseline_evaluated,
    "top_k_evaluated": _top_k,
    "budget_updated": _budget,
    "budget_warning": _budget_warning,
    "test_evaluated": _test,
    "winner_chosen": _winner,
    "billing_started": _billing_started,
    "billing_ended": _billing_ended,
    "validation_scored": _validation,
    "validation_summarized": _validations,
    "top_prompt": _top_prompt,
    "final_results": _final,
    "search_completed": _search_completed,
    "job_concluded": _concluded,
}
