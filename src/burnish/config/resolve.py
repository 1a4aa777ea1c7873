"""Settles a checked configuration into a `ResolvedJob`, the only form that a controller needs."""

from __future__ import annotations

from burnish.config.adaptive import AdaptivePoolConfig
from burnish.config.enums import JobMode
from burnish.config.gepa import GEPAConfig
from burnish.config.mipro import MIPROConfig
from burnish.config.pools import derive_pools, fit_to_pools
from burnish.config.problems import ConfigError, Findings, PathNames
from burnish.config.prompt_learning import PromptLearningConfig
from burnish.config.resolve_proposer import resolve_proposer
from burnish.config.resolve_proxy import resolve_proxy
from burnish.config.resolve_search import resolve_gepa, resolve_mipro
from burnish.config.resolve_stages import resolve_edges, resolve_stages
from burnish.config.resolve_verifier import resolve_verifier
from burnish.config.resolved import (
    ResolvedBudget,
    ResolvedJob,
    ResolvedModel,
    ResolvedOnline,
    ResolvedPools,
    ResolvedStage,
)

_ROLE_OF_CATEGORY = {"rollout": "task", "proposal": "proposer", "verification": "judge"}


def resolve_job(
    config: PromptLearningConfig,
    *,
    dataset_size: int | None = None,
    default_model: ResolvedModel | None = None,
) -> ResolvedJob:
    """Settles everything that a file leaves open.

    Args:
        config: From `from_path`, `from_mapping` or built by hand; the latter is checked here.
        dataset_size: Rows of the task app's data; None leaves missing pools open, to be settled
            by `derive_pools`.
        default_model: For stages without a model.

    Returns:
        The job. Its warnings are the configuration's and those found here.

    Raises:
        ConfigError: With every problem.
    """
    config = config.validated()
    findings = Findings(names=PathNames())
    gepa = config.gepa if config.algorithm == "gepa" else None
    mipro = None if gepa is not None else config.mipro
    section = gepa or mipro or MIPROConfig()
    stages = resolve_stages(config, default_model)
    _check_searched(stages, findings)
    adaptive = _adaptive(section.adaptive_pool)
    job = ResolvedJob(
        algorithm=config.algorithm.removeprefix("plugin:"),
        task_app_url=config.task_app_url,
        task_app_api_key=(
            config.task_app_api_key.get_secret_value() if config.task_app_api_key else None
        ),
        task_app_id=config.task_app_id,
        env_name=section.env_name or config.env_name or config.task_app_id,
        env_config={**(config.env_config or {}), **(section.env_config or {})},
        stages=stages,
        edges=resolve_edges(config),
        pools=_pools(mipro, gepa),
        mipro=resolve_mipro(mipro, stages) if mipro is not None else None,
        gepa=resolve_gepa(gepa) if gepa is not None else None,
        online=_online(mipro),
        proposer=resolve_proposer(section, config.base_dir, findings),
        verifier=resolve_verifier(config, findings),
        budget=_budget(config, mipro, gepa),
        max_concurrent=gepa.rollout.max_concurrent if gepa else _concurrency(mipro),
        adaptive_pool=adaptive,
        proxy_models=resolve_proxy(
            config.proxy_models, stages, findings, anchored=adaptive is not None
        ),
        promotion=config.promotion.model_dump(exclude_none=True),
        random_seed=_seed(config, mipro, gepa),
        results_folder=config.results_folder,
        warnings=(*config.warnings, *findings.warnings),
    )
    if findings.problems:
        raise ConfigError(findings.problems)
    if dataset_size is not None:
        return derive_pools(job, dataset_size)
    return fit_to_pools(job)


def _check_searched(stages: tuple[ResolvedStage, ...], findings: Findings) -> None:
    if not any(stage.optimize_instructions or stage.optimize_demos for stage in stages):
        findings.problem(
            "stages", stages, "leave nothing to search", "let one of them be optimised"
        )


def _concurrency(mipro: MIPROConfig | None) -> int:
    return mipro.max_concurrent if mipro is not None else MIPROConfig().max_concurrent


def _seed(config: PromptLearningConfig, mipro: MIPROConfig | None, gepa: GEPAConfig | None) -> int:
    own = mipro.random_seed if mipro is not None else gepa.rng_seed if gepa is not None else None
    given = own if own is not None else config.random_seed
    return given if given is not None else 0


def _unique(pool: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return tuple(dict.fromkeys(pool)) if pool is not None else None


def _pools(mipro: MIPROConfig | None, gepa: GEPAConfig | None) -> ResolvedPools:
    if gepa is not None:
        evaluation = gepa.evaluation
        return ResolvedPools(
            bootstrap=(),
            online=_unique(evaluation.seeds),
            validation=_unique(evaluation.validation_seeds),
            test=_unique(evaluation.test_pool),
            reference=_unique(evaluation.reference_pool),
        )
    if mipro is None:
        return ResolvedPools()
    return ResolvedPools(
        bootstrap=_unique(mipro.bootstrap_train_seeds),
        online=_unique(mipro.online_pool),
        validation=_unique(mipro.val_seeds),
        test=_unique(mipro.test_pool),
        reference=_unique(mipro.reference_pool),
    )


def _online(mipro: MIPROConfig | None) -> ResolvedOnline | None:
    if mipro is None or mipro.mode is not JobMode.ONLINE:
        return None
    return ResolvedOnline(
        proposer_mode=mipro.online_proposer_mode or "inline",
        min_rollouts=mipro.online_proposer_min_rollouts,
        rollouts_per_candidate=mipro.online_rollouts_per_candidate,
        max_candidates=mipro.online_proposer_max_candidates,
        system_id=mipro.system_id,
        system_name=mipro.system_name,
    )


def _budget(
    config: PromptLearningConfig, mipro: MIPROConfig | None, gepa: GEPAConfig | None
) -> ResolvedBudget:
    caps = config.termination_config
    rollouts, costs = [caps.max_rollouts], [caps.max_cost_usd]
    tokens, seconds = [caps.max_tokens], [caps.max_seconds]
    if mipro is not None:
        costs.append(mipro.max_spend_usd)
        tokens.append(mipro.max_total_tokens)
        tokens.append(mipro.max_token_limit if mipro.enforce_token_limit else None)
        seconds.append(mipro.max_wall_clock_seconds)
    if gepa is not None:
        rollouts.append(gepa.rollout.budget)
        costs.append(gepa.token.max_spend_usd)
    return ResolvedBudget(
        max_rollouts=min((cap for cap in rollouts if cap is not None), default=None),
        max_cost_usd=min((cap for cap in costs if cap is not None), default=None),
        max_tokens=min((cap for cap in tokens if cap is not None), default=None),
        max_seconds=min((cap for cap in seconds if cap is not None), default=None),
        max_trials=caps.max_trials,
        max_trials_without_improvement=caps.max_trials_without_improvement,
        target_score=caps.target_score,
        max_category_costs_usd={
            _ROLE_OF_CATEGORY.get(name, name): cap
            for name, cap in sorted(caps.max_category_costs_usd.items())
        },
        max_error_rate=caps.max_error_rate,
        max_consecutive_errors=caps.max_consecutive_errors,
        pessimism_enabled=caps.pessimism_enabled,
    )


def _adaptive(pool: AdaptivePoolConfig | None) -> dict[str, object] | None:
    return pool.model_dump(mode="json") if pool is not None and pool.enabled else None
