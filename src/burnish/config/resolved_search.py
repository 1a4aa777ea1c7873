"""The settled numbers of a search, part of a `ResolvedJob`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTpe:
    """Settings of the Parzen estimator, as `TPEConfig` documents them."""

    gamma: float
    n_candidates: int
    n_startup_trials: int
    epsilon: float
    alpha: float
    prior_weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPreset:
    """What a MIPROv2 preset stands for in this job.

    Attributes:
        name: `light`, `medium` or `heavy`.
        candidate_count: Instructions and demo sets together follow from it.
        instruction_count: Instructions per stage, the baseline included.
        demo_set_count: Demo sets per stage, zero-shot included.
        trial_count: Minibatch trials.
        validation_size: Most validation seeds.
        minibatch_size: Seeds per trial, when the validation pool is larger than `full_below`.
        full_below: A validation pool up to this size is evaluated whole in every trial.
        full_eval_every_k: Trials between two full evaluations.
    """

    name: str
    candidate_count: int
    instruction_count: int
    demo_set_count: int
    trial_count: int
    validation_size: int
    minibatch_size: int = 35
    full_below: int = 50
    full_eval_every_k: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedMetaUpdate:
    """How later rounds of proposals go, as `MetaUpdateConfig` documents it."""

    every_iterations: int
    topk_success: int
    topk_failure: int
    validate_on_batch: int | None = None
    keep_k: int | None = None
    dedup_token_overlap: float | None = None
    regen_temperature_decay: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedMipro:
    """Settings of the search; also of `random` and of plug-ins.

    Attributes:
        num_iterations: Iterations.
        num_evaluations_per_iteration: Trials in each.
        batch_size: Seeds per trial, never more than its pool holds once pools are settled.
        minibatch_pool: Pool that minibatches are drawn from.
        few_shot_score_threshold: Least reward in [0, 1] of a rollout that becomes a demo.
        min_bootstrap_demos: Fewest demos that have to pass.
        strict_bootstrap: Whether fewer of them end the job.
        bootstrap_rounds: Rounds of bootstrapping.
        max_demo_set_size: Demos in the largest set; 0 builds none.
        max_demo_sets: Demo sets per stage, zero-shot included.
        include_empty_demos: Whether zero-shot is always offered.
        max_instruction_sets: Instructions per stage, the baseline included.
        instructions_per_batch: Proposals per stage and round.
        proposals_per_call: Proposals per call of the proposer; None: all at once.
        max_instructions: Proposed instructions per stage, the baseline not counted.
        duplicate_retry_limit: How often a refused proposal is asked for again.
        generate_at_iterations: Iterations, from 0, that propose.
        full_eval_every_k: Trials between two full evaluations of the incumbent.
        top_k: Candidates that are scored again at the end.
        max_parallel_trials: Trials at a time.
        tpe: Of the sampler.
        engine: What chooses candidates and rows: `race` or `tpe`.
        protocol: Of `tpe`: our own, or MIPROv2's trial by trial.
        preset: None without one.
        meta_update: How later rounds of proposals go; None: as the first.
        repeats: Most times that a cell runs.
        objective: The second objective and its rule; None: reward alone chooses.
    """

    num_iterations: int
    num_evaluations_per_iteration: int
    batch_size: int
    minibatch_pool: Literal["online", "validation"]
    few_shot_score_threshold: float
    min_bootstrap_demos: int
    strict_bootstrap: bool
    bootstrap_rounds: int
    max_demo_set_size: int
    max_demo_sets: int
    include_empty_demos: bool
    max_instruction_sets: int
    instructions_per_batch: int
    proposals_per_call: int | None
    max_instructions: int
    duplicate_retry_limit: int
    generate_at_iterations: tuple[int, ...]
    full_eval_every_k: int
    top_k: int
    max_parallel_trials: int
    tpe: ResolvedTpe
    engine: Literal["race", "tpe"] = "tpe"
    protocol: Literal["burnish", "miprov2"] = "burnish"
    preset: ResolvedPreset | None = None
    meta_update: ResolvedMetaUpdate | None = None
    repeats: int = 1
    objective: dict[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedGepa:
    """Settings of GEPA, as `docs/configuration.md` documents them.

    `pareto_set_size` is None until the training seeds are known, unless the file gives it.
    """

    proposer_type: str
    minibatch_size: int
    validation_pool: str | None
    validation_top_k: int | None
    mutation_rate: float
    mutation_prompt: str | None
    initial_size: int
    num_generations: int
    children_per_generation: int
    crossover_rate: float
    selection_pressure: float
    patience_generations: int
    archive_size: int
    pareto_set_size: int | None
    pareto_eps: float
    feedback_fraction: float
    max_prompt_tokens: int | None
    enforce_prompt_tokens: bool
    adaptive_batch: dict[str, object] | None = None
