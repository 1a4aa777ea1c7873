"""The settings of a search algorithm, as its service reads them, from a settled job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

from burnish.config import TPEConfig
from burnish.config.resolved import ResolvedJob
from burnish.config.resolved_search import ResolvedMipro, ResolvedTpe


def algorithm_settings(job: ResolvedJob) -> dict[str, object]:
    """Returns the settings, without those that are not set."""
    if job.mipro is not None:
        settings = _mipro(job.mipro)
        if job.algorithm == "mipro":
            settings["engine"] = job.mipro.engine
            if job.mipro.protocol != "burnish":
                settings["protocol"] = job.mipro.protocol
            if job.mipro.repeats > 1:
                settings["repeats"] = job.mipro.repeats
        if job.mipro.objective is not None:
            settings["objective"] = job.mipro.objective
        own = job.mipro.engine == "tpe" and job.mipro.protocol == "burnish"
        if own and job.adaptive_pool is not None:
            settings["adaptive_pool"] = _set_only(job.adaptive_pool)
    elif job.gepa is not None:
        # What a proposer is to read is none of the search's business.
        settings = _set_only(asdict(replace(job.gepa, mutation_prompt=None)))
    else:
        settings = {}
    caps: dict[str, object] = {
        "max_trials": job.budget.max_trials,
        "max_trials_without_improvement": job.budget.max_trials_without_improvement,
        "target_reward": job.budget.target_score,
    }
    return {**settings, **_set_only(caps)}


def _set_only(settings: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in settings.items() if value is not None}


def _mipro(mipro: ResolvedMipro) -> dict[str, object]:
    settings: dict[str, object] = {
        "batch_size": mipro.batch_size,
        "full_eval_every_k": mipro.full_eval_every_k,
        "top_k": mipro.top_k,
        "max_parallel_trials": mipro.max_parallel_trials,
        "generate_at_iterations": list(mipro.generate_at_iterations),
        "instructions_per_batch": mipro.instructions_per_batch,
        "minibatch_source": mipro.minibatch_pool,
    }
    tpe = _tpe(mipro.tpe)
    if tpe:
        settings["tpe"] = tpe
    if mipro.preset is not None:
        return {**settings, "auto": mipro.preset.name}
    return {
        **settings,
        "num_iterations": mipro.num_iterations,
        "num_evaluations_per_iteration": mipro.num_evaluations_per_iteration,
    }


def _tpe(tpe: ResolvedTpe) -> dict[str, object]:
    """Returns what differs from the defaults: the search tunes its own."""
    usual = TPEConfig()
    chosen = {
        "gamma": (tpe.gamma, usual.gamma),
        "n_candidates": (tpe.n_candidates, usual.n_candidates),
        "n_startup_trials": (tpe.n_startup_trials, usual.n_startup_trials),
        "epsilon": (tpe.epsilon, usual.epsilon),
        "prior_weight": (tpe.prior_weight, usual.prior_weight),
    }
    return {key: given for key, (given, default) in chosen.items() if given != default}
