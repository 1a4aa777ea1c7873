"""Brings the names of every release to one place: aliases, copies and the flat GEPA keys."""

from __future__ import annotations

from typing import Final

from burnish.config.base import Raw
from burnish.config.sizes import clamp, easy_sizes
from burnish.config.table import Table

EASY_KEYS: Final = ("top_k", "num_bootstrap_seeds", "num_instructions_per_module", "num_demos")
EASY_BUDGET: Final = 100
EASY_ITERATIONS: Final = 10
# The baseline's, the incumbent's and the winner's.
FULL_EVALUATIONS: Final = 3

_FLAT_GEPA: Final = {
    "rollout_budget": "rollout.budget",
    "budget": "rollout.budget",
    "max_concurrent_rollouts": "rollout.max_concurrent",
    "max_concurrent": "rollout.max_concurrent",
    "minibatch_size": "rollout.minibatch_size",
    "evaluation_seeds": "evaluation.seeds",
    "train_seeds": "evaluation.seeds",
    "seeds": "evaluation.seeds",
    "validation_seeds": "evaluation.validation_seeds",
    "val_seeds": "evaluation.validation_seeds",
    "test_pool": "evaluation.test_pool",
    "validation_pool": "evaluation.validation_pool",
    "validation_top_k": "evaluation.validation_top_k",
    "mutation_rate": "mutation.rate",
    "mutation_llm_model": "proposer.model",
    "mutation_llm_provider": "proposer.provider",
    "mutation_llm_inference_url": "proposer.upstream_base_url",
    "mutation.llm_model": "proposer.model",
    "mutation.llm_provider": "proposer.provider",
    "mutation.llm_inference_url": "proposer.upstream_base_url",
    "mutation_prompt": "mutation.prompt",
    "initial_population_size": "population.initial_size",
    "num_generations": "population.num_generations",
    "children_per_generation": "population.children_per_generation",
    "crossover_rate": "population.crossover_rate",
    "selection_pressure": "population.selection_pressure",
    "patience_generations": "population.patience_generations",
    "archive_size": "archive.size",
    "pareto_set_size": "archive.pareto_set_size",
    "pareto_eps": "archive.pareto_eps",
    "feedback_fraction": "archive.feedback_fraction",
    "max_token_limit": "token.max_limit",
    "token_counting_model": "token.counting_model",
    "enforce_pattern_token_limit": "token.enforce_pattern_limit",
    "max_spend_usd": "token.max_spend_usd",
}
_NOT_DEPRECATED_GEPA: Final = frozenset({"num_generations", "children_per_generation"})
_META_KEYS: Final = {
    "meta_model": "model",
    "meta_model_provider": "provider",
    "meta_model_inference_url": "upstream_base_url",
    "meta_model_temperature": "temperature",
    "meta_model_max_tokens": "max_tokens",
}
_POOLS: Final = {
    "bootstrap_train_seeds": "bootstrap_train_seeds",
    "online_pool": "online_pool",
    "test_pool": "test_pool",
    "reference_pool": "reference_pool",
    "val_seeds": "val_seeds",
    "validation_seeds": "val_seeds",
    "train_seeds": "online_pool",
    "evaluation_seeds": "online_pool",
}
_TERMINATION: Final = {
    "budget": "max_rollouts",
    "max_time_seconds": "max_seconds",
    "max_total_spend_usd": "max_cost_usd",
    "max_trials_allowed": "max_trials",
    "target_reward": "target_score",
}


def normalize(table: Table) -> None:
    """Brings a whole Synth section to canonical names, in place."""
    for alias in ("localapi_url", "container_url"):
        table.move(alias, "task_app_url")
    for alias in ("localapi_api_key", "container_api_key"):
        table.move(alias, "task_app_api_key")
    for level in ("", "mipro.", "gepa."):
        table.move(f"{level}verifier", f"{level}judge")
        _normalize_judge(table, f"{level}judge")
    for key in ("task_app_url", "task_app_api_key", "task_app_id"):
        for algorithm in ("mipro", "gepa"):
            table.move(f"{algorithm}.{key}", key)
    for algorithm in ("mipro", "gepa"):
        if table.get("proxy_models") is not None and table.get(f"{algorithm}.proxy_models"):
            table.findings.warn(
                f"{algorithm}.proxy_models", "is ignored, because the top level has proxy_models"
            )
            table.drop(f"{algorithm}.proxy_models")
        table.move(f"{algorithm}.proxy_models", "proxy_models")
    _normalize_termination(table)
    _copy_pools(table)
    if isinstance(table.get("mipro"), dict):
        normalize_mipro(table)
    if isinstance(table.get("gepa"), dict):
        normalize_gepa(table)


def _normalize_judge(table: Table, path: str) -> None:
    for alias in ("backend_rubric_id", "verifier_graph_id"):
        table.move(f"{path}.{alias}", f"{path}.synth_verifier_id")


def _normalize_termination(table: Table) -> None:
    path = "termination_config"
    for alias, name in _TERMINATION.items():
        table.move(f"{path}.{alias}", f"{path}.{name}")
    minutes = table.get(f"{path}.max_duration_minutes")
    if isinstance(minutes, int | float) and not isinstance(minutes, bool):
        table.drop(f"{path}.max_duration_minutes")
        table.put(f"{path}.__minutes", minutes * 60)
        table.findings.names.record(f"{path}.__minutes", f"{path}.max_duration_minutes")
        table.move(f"{path}.__minutes", f"{path}.max_seconds")


def _copy_pools(table: Table) -> None:
    algorithm = table.get("algorithm")
    if isinstance(algorithm, str) and algorithm.strip().lower() == "gepa":
        for key in ("train_seeds", "evaluation_seeds", "online_pool"):
            table.copy_down(key, "gepa.evaluation.seeds")
        for key in ("validation_seeds", "val_seeds"):
            table.copy_down(key, "gepa.evaluation.validation_seeds")
        for key in ("test_pool", "reference_pool"):
            table.copy_down(key, f"gepa.evaluation.{key}")
        return
    if not isinstance(table.get("mipro"), dict):
        return
    for key, name in _POOLS.items():
        table.copy_down(key, f"mipro.{name}")


def normalize_mipro(table: Table) -> None:
    """Brings `mipro` to canonical names, in place."""
    move = table.move
    move("mipro.execution_mode", "mipro.mode")
    move("mipro.few_shot_reward_threshold", "mipro.few_shot_score_threshold")
    move("mipro.validation_seeds", "mipro.val_seeds")
    move("mipro.train_seeds", "mipro.online_pool")
    for key in ("proposer_effort", "proposer_output_tokens"):
        move(f"mipro.instructions.{key}", f"mipro.{key}")
    if table.get("mipro.instructions") == {}:
        table.drop("mipro.instructions")
    seeds = table.get("mipro.seeds")
    if isinstance(seeds, list) or (isinstance(seeds, dict) and "end" in seeds):
        move("mipro.seeds", "mipro.online_pool")
    elif isinstance(seeds, dict):
        for key, name in (
            ("bootstrap", "bootstrap_train_seeds"),
            ("online", "online_pool"),
            ("validation", "val_seeds"),
            ("val", "val_seeds"),
            ("test", "test_pool"),
            ("reference", "reference_pool"),
        ):
            move(f"mipro.seeds.{key}", f"mipro.{name}")
        if table.get("mipro.seeds") == {}:
            table.drop("mipro.seeds")
    for key, name in _META_KEYS.items():
        move(f"mipro.{key}", f"mipro.proposer.{name}", deprecated=True)
    for name in ("model", "provider", "temperature", "max_tokens"):
        move(f"mipro.meta.{name}", f"mipro.proposer.{name}", deprecated=True)
    move("mipro.meta.inference_url", "mipro.proposer.upstream_base_url", deprecated=True)
    if table.get("mipro.meta") == {}:
        table.drop("mipro.meta")
    for key in ("generate_at_iterations", "instructions_per_batch"):
        move(f"mipro.proposer.{key}", f"mipro.{key}")
    for key, name in (("tpe_gamma", "gamma"), ("tpe_n_candidates", "n_candidates")):
        move(f"mipro.{key}", f"mipro.tpe.{name}")
    _size_easy(table)
    adaptive = table.get("mipro.adaptive_pool")
    if isinstance(adaptive, str):
        table.put("mipro.adaptive_pool", {"level": adaptive})


def _size_easy(table: Table) -> None:
    """Gives the walkthrough's keys their meaning, and a search that fits its budget."""
    for easy, name in (
        ("num_instructions_per_module", "grounding.n"),
        ("num_demos", "demo.max_few_shot_examples"),
    ):
        value = table.get(f"mipro.{easy}")
        if value is not None and table.get(f"mipro.{name}") is None:
            table.put(f"mipro.{name}", value)
            table.findings.names.record(f"mipro.{name}", f"mipro.{easy}")
    rounds = _whole(table.get("mipro.num_bootstrap_seeds"), 1)
    per_round = _whole(table.get("mipro.num_instructions_per_module"), 0)
    if per_round and table.get("mipro.instructions_per_batch") is None:
        table.put("mipro.instructions_per_batch", rounds * per_round)
        table.findings.names.record(
            "mipro.instructions_per_batch", "mipro.num_instructions_per_module"
        )
    given = table.get("mipro.grounding.n")
    if given is not None and table.get("mipro.instructions_per_batch") is None:
        table.put("mipro.instructions_per_batch", given)
        table.findings.names.record("mipro.instructions_per_batch", "mipro.grounding.n")
    easy_form = any(table.get(f"mipro.{key}") is not None for key in EASY_KEYS)
    shaped = ("batch_size", "num_evaluations_per_iteration", "auto", "online_pool")
    if not easy_form or any(table.get(f"mipro.{key}") is not None for key in shaped):
        return
    budget = _whole(table.get("termination_config.max_rollouts"), 0)
    if not budget:
        budget = EASY_BUDGET
        table.put("termination_config.max_rollouts", budget)
        table.findings.warn(
            "termination_config.max_rollouts", f"is absent; the default of {budget} applies"
        )
    iterations = _whole(table.get("mipro.num_iterations"), EASY_ITERATIONS)
    sizes = easy_sizes(budget)
    spare = budget - sizes["bootstrap"] - FULL_EVALUATIONS * sizes["validation"]
    table.put("mipro.num_iterations", iterations)
    table.put("mipro.num_evaluations_per_iteration", 1)
    table.put("mipro.batch_size", clamp(spare // iterations, 1, 32))


def _whole(value: object, default: int) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if whole and isinstance(value, int) else default


def normalize_gepa(table: Table) -> None:
    """Brings `gepa` to canonical names, in place."""
    _expand_minimal(table)
    table.move("gepa.prompt_budget", "gepa.token")
    table.move("gepa.proposed_prompt_max_tokens", "gepa.token.max_limit")
    for alias, name in (
        ("train_seeds", "seeds"),
        ("val_seeds", "validation_seeds"),
    ):
        table.move(f"gepa.evaluation.{alias}", f"gepa.evaluation.{name}")
    for flat, nested in _FLAT_GEPA.items():
        table.move(f"gepa.{flat}", f"gepa.{nested}", deprecated=flat not in _NOT_DEPRECATED_GEPA)
    for key in ("adaptive_pool", "adaptive_batch"):
        level = table.get(f"gepa.{key}")
        if isinstance(level, str):
            table.put(f"gepa.{key}", {"level": level})


def _expand_minimal(table: Table) -> None:
    """Expands the minimal form, in which `total_seeds` stands for both pools and all sizes."""
    if table.get("total_seeds") is not None:
        table.move("total_seeds", "gepa.total_seeds")
    total = table.get("gepa.total_seeds")
    if total is None:
        return
    if isinstance(total, bool) or not isinstance(total, int) or not 19 <= total <= 1_000_000:
        table.findings.problem(
            "gepa.total_seeds",
            total,
            "has to leave 13 training seeds of a 70 / 30 split",
            "give a whole number from 19 to 1000000",
        )
        table.drop("gepa.total_seeds")
        return
    train = total * 7 // 10
    table.drop("gepa.total_seeds")
    table.drop("gepa.defaults_version")
    initial = max(10, min(train // 10, 30))
    derived: Raw = {
        "gepa.evaluation.seeds": {"start": 0, "end": train},
        "gepa.evaluation.validation_seeds": {"start": train, "end": total},
        "gepa.population.initial_size": initial,
        "gepa.archive.size": 2 * initial,
        "gepa.archive.pareto_set_size": max(10, min(2 * initial, train - 3)),
        "termination_config.max_cost_usd": 1000.0,
        "termination_config.max_trials": 100_000,
    }
    for path, value in derived.items():
        if table.get(path) is None:
            table.put(path, value)
            table.findings.names.record(path, "gepa.total_seeds")
    if train < 20:
        table.findings.warn("gepa.evaluation.seeds", f"holds only {train}; give 20 or more")
