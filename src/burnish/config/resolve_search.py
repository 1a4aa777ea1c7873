"""Settles the numbers of a search, and what the presets of MIPROv2 stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from burnish.config.enums import SearchEngine, SearchProtocol
from burnish.config.gepa import GEPAConfig
from burnish.config.mipro import MIPROConfig
from burnish.config.resolved import ResolvedStage
from burnish.config.resolved_search import (
    ResolvedGepa,
    ResolvedMetaUpdate,
    ResolvedMipro,
    ResolvedPreset,
    ResolvedTpe,
)

DEFAULT_TOP_K: Final = 2
DEFAULT_SETS_PER_SIZE: Final = 4
_PRESET_DEMOS: Final = 4
# Candidates and most validation seeds of MIPROv2's `auto`.
_PRESETS: Final = {"light": (6, 100), "medium": (12, 300), "heavy": (18, 1000)}


def resolve_preset(name: str, stages: Sequence[ResolvedStage]) -> ResolvedPreset:
    """Returns MIPROv2's numbers for a program.

    Trials are max(2 V log2 n, 1.5 n), where V counts the searched variables: one per stage, two
    where demos are searched as well.
    """
    count, validation = _PRESETS[name]
    with_demos = any(stage.optimize_demos for stage in stages)
    variables = len(stages) * (2 if with_demos else 1)
    return ResolvedPreset(
        name=name,
        candidate_count=count,
        instruction_count=count // 2 if with_demos else count,
        demo_set_count=count if with_demos else 1,
        trial_count=int(max(2 * variables * math.log2(count), 1.5 * count)),
        validation_size=validation,
    )


def resolve_mipro(mipro: MIPROConfig, stages: Sequence[ResolvedStage]) -> ResolvedMipro:
    """Returns the settings of a search over the stages given."""
    preset = resolve_preset(mipro.auto.value, stages) if mipro.auto is not None else None
    own = mipro.protocol is SearchProtocol.MIPROV2
    size = max((stage.max_demo_slots for stage in stages if stage.optimize_demos), default=0)
    if preset is None:
        size = min(size, mipro.max_demo_sets) if size else 0
        per_size = mipro.demo.sets_per_size or DEFAULT_SETS_PER_SIZE
        sets = min(mipro.max_demo_sets, int(mipro.demo.include_empty) + size * per_size)
    else:
        size, sets = min(size, _PRESET_DEMOS), preset.demo_set_count
    most = mipro.max_instruction_sets - 1
    per_batch = mipro.instructions_per_batch
    if preset is not None:
        most, per_batch = preset.instruction_count - 1, preset.instruction_count - 1
    if mipro.max_instructions is not None:
        most = min(most, mipro.max_instructions)
    return ResolvedMipro(
        num_iterations=preset.trial_count if preset is not None else mipro.num_iterations,
        num_evaluations_per_iteration=(
            1 if preset is not None else mipro.num_evaluations_per_iteration
        ),
        batch_size=preset.minibatch_size if preset is not None else mipro.batch_size,
        minibatch_pool="online" if preset is None and not own else "validation",
        few_shot_score_threshold=mipro.few_shot_score_threshold,
        min_bootstrap_demos=mipro.min_bootstrap_demos,
        strict_bootstrap=mipro.strict_bootstrap,
        bootstrap_rounds=mipro.num_bootstrap_seeds or 1,
        max_demo_set_size=size,
        max_demo_sets=max(1, sets),
        include_empty_demos=mipro.demo.include_empty,
        max_instruction_sets=mipro.max_instruction_sets,
        instructions_per_batch=min(per_batch, most),
        proposals_per_call=mipro.grounding.n,
        max_instructions=most,
        duplicate_retry_limit=mipro.duplicate_retry_limit,
        generate_at_iterations=_iterations(mipro),
        full_eval_every_k=(
            preset.full_eval_every_k if preset is not None else mipro.full_eval_every_k
        ),
        top_k=mipro.top_k if mipro.top_k is not None else DEFAULT_TOP_K,
        max_parallel_trials=mipro.max_parallel_trials,
        tpe=ResolvedTpe(
            gamma=mipro.tpe.gamma,
            n_candidates=mipro.tpe.n_candidates,
            n_startup_trials=mipro.tpe.n_startup_trials,
            epsilon=mipro.tpe.epsilon,
            alpha=mipro.tpe.alpha,
            prior_weight=mipro.tpe.prior_weight,
        ),
        engine="tpe" if mipro.engine is SearchEngine.TPE else "race",
        protocol="miprov2" if own else "burnish",
        preset=preset,
        meta_update=_meta_update(mipro),
        repeats=mipro.repeats,
        objective=(
            None
            if mipro.objective is None
            else mipro.objective.model_dump(mode="json", exclude_none=True)
        ),
    )


def _meta_update(mipro: MIPROConfig) -> ResolvedMetaUpdate | None:
    update = mipro.meta_update
    if update is None or not update.enabled:
        return None
    return ResolvedMetaUpdate(
        every_iterations=update.every_iterations,
        topk_success=update.topk_success,
        topk_failure=update.topk_failure,
        validate_on_batch=update.validate_on_batch,
        keep_k=update.keep_k,
        dedup_token_overlap=update.dedup_token_overlap,
        regen_temperature_decay=update.regen_temperature_decay,
    )


def _iterations(mipro: MIPROConfig) -> tuple[int, ...]:
    update = mipro.meta_update
    again = (
        range(0)
        if update is None or not update.enabled
        else range(update.every_iterations, mipro.num_iterations, update.every_iterations)
    )
    return tuple(sorted({*mipro.generate_at_iterations, *again}))


def resolve_gepa(gepa: GEPAConfig) -> ResolvedGepa:
    """Returns GEPA's settings."""
    evaluation, population, archive = gepa.evaluation, gepa.population, gepa.archive
    pool = evaluation.validation_pool
    return ResolvedGepa(
        proposer_type=gepa.proposer_type.value,
        minibatch_size=gepa.rollout.minibatch_size,
        validation_pool=pool.value if pool is not None else None,
        validation_top_k=evaluation.validation_top_k,
        mutation_rate=gepa.mutation.rate,
        mutation_prompt=gepa.mutation.prompt,
        initial_size=population.initial_size,
        num_generations=population.num_generations,
        children_per_generation=population.children_per_generation,
        crossover_rate=population.crossover_rate,
        selection_pressure=population.selection_pressure,
        patience_generations=population.patience_generations,
        archive_size=archive.size,
        pareto_set_size=archive.pareto_set_size,
        pareto_eps=archive.pareto_eps,
        feedback_fraction=archive.feedback_fraction,
        max_prompt_tokens=gepa.token.max_limit,
        enforce_prompt_tokens=gepa.token.enforce_pattern_limit,
        adaptive_batch=(
            gepa.adaptive_batch.model_dump(mode="json")
            if gepa.adaptive_batch is not None and gepa.adaptive_batch.enabled
            else None
        ),
    )
