"""From a configuration to the `JobSpec` that is sent: the only bridge between the two."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from google.protobuf.json_format import ParseDict

from burnish import templates
from burnish.api.job.v1 import job_spec_pb2
from burnish.api.proposer.v1 import proposer_service_pb2
from burnish.api.types.v1 import candidate_pb2, model_pb2
from burnish.config import MIPROConfig
from burnish.config.resolved import (
    ResolvedBudget,
    ResolvedJob,
    ResolvedModel,
    ResolvedProposer,
    ResolvedStage,
)
from burnish.config.resolved_search import ResolvedGepa
from burnish.errors import InvalidArgument
from burnish.gepa_plan import initial_count
from burnish.proxy_spec import proxy_spec
from burnish.scoring_spec import model_spec, scoring_spec
from burnish.search_settings import algorithm_settings

LOCAL_META_MODEL = "local-proposer"

_WILDCARDS = {
    "REQUIRED": candidate_pb2.WILDCARD_KIND_REQUIRED,
    "OPTIONAL": candidate_pb2.WILDCARD_KIND_OPTIONAL,
}
# A metaprompt of this form takes the place of the shipped one; any other is added to it.
_WHOLE_PROMPT = re.compile(r"version: \d+\r?\n")
_INSTRUCTION_ROLES = frozenset({"system", "developer"})


def to_job_spec(job: ResolvedJob) -> job_spec_pb2.JobSpec:
    """Returns a settled job as the message that is sent.

    Raises:
        InvalidArgument: A pool that the job needs is not settled.
    """
    spec = job_spec_pb2.JobSpec(
        display_name=job.task_app_id or job.env_name or "",
        task_app=job_spec_pb2.TaskAppRef(uri=job.task_app_url or "", env_name=job.env_name or ""),
        stages=[_stage(stage) for stage in job.stages],
        scoring=scoring_spec(job.verifier),
        algorithm=job.algorithm,
        proposer=_proposer(job),
        budget=_budget(job.budget),
        random_seed=job.random_seed,
        max_concurrency=job.max_concurrent,
    )
    if job.promotion:
        ParseDict(job.promotion, spec.promotion)
    if job.env_config:
        ParseDict(job.env_config, spec.task_app.env_config)
    first = next((stage.model for stage in job.stages if stage.model is not None), None)
    if first is not None:
        spec.policy_model.CopyFrom(model_spec(first))
    ParseDict(algorithm_settings(job), spec.algorithm_settings)
    proxy = proxy_spec(job)
    if proxy is not None:
        spec.proxy.CopyFrom(proxy)
    if job.online is not None:
        spec.online.min_rewards_to_promote = job.online.min_rollouts
    else:
        spec.offline.CopyFrom(_offline(job))
    return spec


def seed_pool(seeds: Sequence[int]) -> model_pb2.SeedPool:
    """Returns a pool, as one range when the seeds are one."""
    if len(seeds) > 2:
        step = seeds[1] - seeds[0]
        if step >= 1 and all(b - a == step for a, b in pairwise(seeds)):
            covered = model_pb2.SeedRange(start=seeds[0], end=seeds[-1] + 1, step=step)
            return model_pb2.SeedPool(ranges=[covered])
    return model_pb2.SeedPool(seeds=seeds)


def _stage(stage: ResolvedStage) -> job_spec_pb2.StageSpec:
    messages = [(one.role, one.pattern) for one in stage.messages]
    if stage.baseline_instruction is not None:
        own = [i for i, (role, _) in enumerate(messages) if role in _INSTRUCTION_ROLES]
        if not own:
            messages.insert(0, ("system", stage.baseline_instruction))
    bound_by_instruction = any(
        templates.parse(text, names=stage.wildcards or None).names
        for role, text in messages
        if role in _INSTRUCTION_ROLES
    )
    spec = job_spec_pb2.StageSpec(
        template=candidate_pb2.PromptTemplate(
            stage_id=stage.stage_id,
            module_id=stage.module_id,
            messages=[
                candidate_pb2.MessagePattern(role=role, pattern=text) for role, text in messages
            ],
            wildcards={name: _WILDCARDS[kind] for name, kind in stage.wildcards.items()},
            mode=(
                candidate_pb2.SUBSTITUTION_MODE_PATTERN
                if bound_by_instruction
                else candidate_pb2.SUBSTITUTION_MODE_SYSTEM
            ),
        ),
        role=stage.description or "",
        module_description=stage.module_description or "",
        protected_texts=stage.protected,
        optimise_instruction=stage.optimize_instructions,
        optimise_demos=stage.optimize_demos,
    )
    if stage.model is not None:
        spec.model.CopyFrom(model_spec(stage.model))
    return spec


def _proposer(job: ResolvedJob) -> job_spec_pb2.ProposerSpec:
    proposer: ResolvedProposer = job.proposer
    wanted = any(stage.optimize_instructions for stage in job.stages)
    mipro = job.mipro
    spec = job_spec_pb2.ProposerSpec(
        effort=proposer_service_pb2.Effort.Value(f"EFFORT_{proposer.effort}"),
        output_tier=proposer_service_pb2.OutputTier.Value(f"OUTPUT_TIER_{proposer.output_tier}"),
        specification=proposer.spec_text or "",
        reference_texts=proposer.reference_texts,
        proposer=proposer.plugin or "",
        temperature=proposer.temperature,
        max_instruction_tokens=proposer.max_instruction_tokens or 0,
    )
    mutation = job.gepa.mutation_prompt if job.gepa is not None else None
    said = [text for text in (mutation, proposer.metaprompt) if text]
    spec.meta_prompt = next((text for text in said if _WHOLE_PROMPT.match(text)), "")
    spec.guidance = "\n\n".join(text for text in said if not _WHOLE_PROMPT.match(text))
    if job.gepa is not None:
        _write_population(spec, job, job.gepa)
    if mipro is not None:
        spec.instruction_count = (
            min(mipro.instructions_per_batch, mipro.max_instructions) if wanted else 0
        )
        spec.retry_limit = mipro.duplicate_retry_limit
        spec.max_instruction_count = mipro.max_instructions if wanted else 0
        spec.later_rounds_only = 0 not in mipro.generate_at_iterations
        update = mipro.meta_update
        if update is not None:
            spec.meta_update.CopyFrom(
                job_spec_pb2.MetaUpdate(
                    success_count=update.topk_success,
                    failure_count=update.topk_failure,
                    screen_row_count=update.validate_on_batch or 0,
                    max_kept_count=update.keep_k or 0,
                    duplicate_overlap=update.dedup_token_overlap,
                    temperature_decay=update.regen_temperature_decay,
                )
            )
    meta = proposer.model
    if meta is None and all(
        stage.model is not None and stage.model.provider == "local" for stage in job.stages
    ):
        meta = ResolvedModel(provider="local", model=LOCAL_META_MODEL)
    if meta is not None:
        spec.meta_model.CopyFrom(model_spec(meta))
    return spec


def _write_population(
    spec: job_spec_pb2.ProposerSpec, job: ResolvedJob, gepa: ResolvedGepa
) -> None:
    """Has GEPA's initial population written; what comes later its search asks for."""
    searched = sum(stage.optimize_instructions for stage in job.stages)
    first = initial_count(gepa.initial_size, stages=searched)
    # One that is too few is asked for all the same by briefs, which say their own number.
    spec.instruction_count = max(1, first) if searched else 0
    spec.later_rounds_only = first == 0
    spec.retry_limit = MIPROConfig().duplicate_retry_limit
    if gepa.max_prompt_tokens is not None and gepa.enforce_prompt_tokens:
        limits = (gepa.max_prompt_tokens, spec.max_instruction_tokens or gepa.max_prompt_tokens)
        spec.max_instruction_tokens = min(limits)


def _offline(job: ResolvedJob) -> job_spec_pb2.OfflineMode:
    pools = job.pools
    if pools.online is None:
        raise InvalidArgument(
            "the `online` pool is not settled; give `online_pool`, or derive it from the size of "
            "the task app's data",
            reason="POOL_MISSING",
        )
    mode = job_spec_pb2.OfflineMode(
        bootstrap_pool=seed_pool(pools.bootstrap or ()),
        online_pool=seed_pool(pools.online),
        validation_pool=seed_pool(pools.validation or pools.online),
        test_pool=seed_pool(pools.test or ()),
        reference_pool=seed_pool(pools.reference or ()),
    )
    if job.gepa is not None:
        mode.bootstrap.max_demo_sets = 1
    if job.mipro is not None:
        demos = any(stage.optimize_demos for stage in job.stages)
        mode.bootstrap.min_reward = job.mipro.few_shot_score_threshold
        mode.bootstrap.min_demo_count = job.mipro.min_bootstrap_demos
        mode.bootstrap.strict = job.mipro.strict_bootstrap
        mode.bootstrap.max_bootstrapped_demos = job.mipro.max_demo_set_size if demos else 0
        mode.bootstrap.max_labelled_demos = job.mipro.max_demo_set_size if demos else 0
        mode.bootstrap.max_demo_sets = job.mipro.max_demo_sets if demos else 1
    return mode


def _budget(budget: ResolvedBudget) -> job_spec_pb2.Budget:
    message = job_spec_pb2.Budget(
        max_rollouts=budget.max_rollouts or 0,
        max_cost_usd=budget.max_cost_usd,
        max_tokens=budget.max_tokens or 0,
        max_trials=budget.max_trials or 0,
        max_trials_without_improvement=budget.max_trials_without_improvement or 0,
        target_reward=budget.target_score,
        max_cost_usd_by_role=budget.max_category_costs_usd,
    )
    if budget.max_seconds is not None:
        message.max_duration.FromNanoseconds(round(budget.max_seconds * 1e9))
    return message
