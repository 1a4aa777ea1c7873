"""Settles the stages of a job, wherever a file puts them."""

from __future__ import annotations

from dataclasses import dataclass

from burnish.config.gepa import GEPAConfig
from burnish.config.mipro import MIPROConfig
from burnish.config.mipro_blocks import (
    MIPROModuleConfig,
    MIPROStageConfig,
    module_name,
    stage_ids,
)
from burnish.config.policy import (
    MessagePatternConfig,
    PromptLearningPolicyConfig,
    PromptPatternConfig,
    placeholders,
)
from burnish.config.prompt_learning import PromptLearningConfig
from burnish.config.resolved import ResolvedMessage, ResolvedModel, ResolvedStage

_DEFAULT_MODULE = "default"
_DEFAULT_STAGE = "default_stage_0"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """A stage as found, with the module's settings to fall back on."""

    stage_id: str
    module_id: str
    stage: MIPROStageConfig
    module_description: str | None = None


def resolve_model(policy: PromptLearningPolicyConfig | None) -> ResolvedModel | None:
    """Returns the model of a policy table."""
    if policy is None or policy.provider is None:
        return None
    return ResolvedModel(
        provider=policy.provider.value,
        model=policy.model,
        temperature=policy.temperature,
        max_output_tokens=policy.max_completion_tokens,
        base_url=policy.upstream_base_url,
    )


def resolve_edges(config: PromptLearningConfig) -> tuple[tuple[str, str], ...]:
    """Returns every edge between stages, in the order of the file."""
    edges = list(config.edges)
    if config.mipro is not None:
        edges += config.mipro.edges
        for module in config.mipro.modules:
            edges += module.edges
    if config.gepa is not None:
        edges += config.gepa.edges
    return tuple(dict.fromkeys(edges))


def resolve_stages(
    config: PromptLearningConfig, default_model: ResolvedModel | None
) -> tuple[ResolvedStage, ...]:
    """Returns the stages of a job, at least one.

    Args:
        config: Checked.
        default_model: For stages that neither they nor the job name a model for.
    """
    sites = list(_sites(config))
    alone = len(sites) == 1
    base = resolve_model(config.policy)
    if base is None and config.mipro is not None:
        base = resolve_model(config.mipro.policy_config)
    mipro = config.mipro if config.algorithm != "gepa" else None
    demos = _demo_limit(mipro) if mipro is not None else 0
    return tuple(
        _resolve(
            site,
            prompt=config.initial_prompt if alone else None,
            model=resolve_model(site.stage.policy) or base or default_model,
            mipro=mipro,
            demos=demos,
        )
        for site in sites
    )


def _demo_limit(mipro: MIPROConfig) -> int:
    wanted = mipro.demo.max_few_shot_examples
    return mipro.max_demo_set_size if wanted is None else wanted


def _sites(config: PromptLearningConfig) -> list[_Site]:
    if config.stages:
        return _flat(config.stages)
    if config.algorithm == "gepa":
        if config.gepa is not None and config.gepa.modules:
            return _gepa(config.gepa, config.initial_prompt)
    elif config.mipro is not None and config.mipro.modules:
        texts = _module_texts(config.initial_prompt)
        modules = config.mipro.modules
        named_stages = zip(modules, stage_ids(modules), strict=True)
        return [
            site
            for index, (module, ids) in enumerate(named_stages)
            for site in _module(module_name(module, index), module, ids, texts)
        ]
    elif config.mipro is not None and config.mipro.stages:
        return _flat(config.mipro.stages)
    named = _module_texts(config.initial_prompt)
    if named:
        return [
            _Site(stage_id=name, module_id=name, stage=MIPROStageConfig(baseline_instruction=text))
            for name, text in named.items()
        ]
    return [_Site(stage_id=_DEFAULT_STAGE, module_id=_DEFAULT_MODULE, stage=MIPROStageConfig())]


def _flat(stages: list[MIPROStageConfig]) -> list[_Site]:
    return [
        _Site(
            stage_id=stage.stage_id or f"stage_{index}",
            module_id=stage.module_id or _DEFAULT_MODULE,
            stage=stage,
        )
        for index, stage in enumerate(stages)
    ]


def _module_texts(prompt: PromptPatternConfig | None) -> dict[str, str | None]:
    modules = prompt.metadata.pipeline_modules if prompt is not None else []
    return {module.name: module.instruction_text for module in modules}


def _module(
    name: str, module: MIPROModuleConfig, ids: list[str], texts: dict[str, str | None]
) -> list[_Site]:
    if not module.stages:
        text = module.baseline_instruction
        stage = MIPROStageConfig(
            baseline_instruction=texts.get(name) if text is None else text,
            max_instruction_slots=module.max_instruction_slots,
            max_demo_slots=module.max_demo_slots,
            policy=module.policy,
            description=module.description,
        )
        return [_Site(stage_id=name, module_id=name, stage=stage)]
    return [
        _Site(
            stage_id=stage_id,
            module_id=name,
            stage=_inherit(stage, module),
            module_description=module.description,
        )
        for stage_id, stage in zip(ids, module.stages, strict=True)
    ]


def _inherit(stage: MIPROStageConfig, module: MIPROModuleConfig) -> MIPROStageConfig:
    names = ("max_instruction_slots", "max_demo_slots", "policy", "baseline_instruction")
    missing = {name: getattr(module, name) for name in names if getattr(stage, name) is None}
    return stage.model_copy(update=missing)


def _gepa(gepa: GEPAConfig, prompt: PromptPatternConfig | None) -> list[_Site]:
    texts = _module_texts(prompt)
    return [
        _Site(
            stage_id=module.module_id,
            module_id=module.module_id,
            stage=MIPROStageConfig(
                baseline_instruction=module.baseline_instruction or texts.get(module.module_id),
                max_instruction_slots=module.max_instruction_slots,
                max_demo_slots=0,
                policy=module.policy,
            ),
        )
        for module in gepa.modules
    ]


def _resolve(
    site: _Site,
    *,
    prompt: PromptPatternConfig | None,
    model: ResolvedModel | None,
    mipro: MIPROConfig | None,
    demos: int,
) -> ResolvedStage:
    stage = site.stage
    messages = _messages(stage, prompt)
    instruction = stage.baseline_instruction
    if instruction is None:
        systems = [m.pattern for m in messages if m.role in ("system", "developer")]
        instruction = systems[0] if systems else None
    slots = demos if stage.max_demo_slots is None else stage.max_demo_slots
    wildcards = {name: "REQUIRED" for m in messages for name in placeholders(m.pattern)}
    given = dict(prompt.wildcards if prompt is not None else {}) | stage.wildcards
    wildcards |= {name: mode.value for name, mode in given.items() if name in wildcards}
    whole_demos = mipro is not None and mipro.optimize_demos
    whole_instructions = mipro is None or mipro.optimize_instructions
    own_demos, own_instructions = stage.optimize_demos, stage.optimize_instructions
    return ResolvedStage(
        stage_id=site.stage_id,
        module_id=site.module_id,
        messages=messages,
        wildcards=wildcards,
        baseline_instruction=instruction,
        model=model,
        max_instruction_slots=stage.max_instruction_slots or 1,
        max_demo_slots=slots,
        optimize_instructions=whole_instructions if own_instructions is None else own_instructions,
        optimize_demos=slots > 0 and (whole_demos if own_demos is None else own_demos),
        description=stage.description,
        module_description=site.module_description,
        protected=tuple(stage.protected),
    )


def _messages(
    stage: MIPROStageConfig, prompt: PromptPatternConfig | None
) -> tuple[ResolvedMessage, ...]:
    if stage.baseline_messages:
        return _ordered(stage.baseline_messages)
    if prompt is not None and prompt.messages:
        messages = _ordered(prompt.messages)
        if stage.baseline_instruction is None:
            return messages
        rest = tuple(m for m in messages if m.role not in ("system", "developer"))
        return (ResolvedMessage(role="system", pattern=stage.baseline_instruction), *rest)
    if stage.baseline_instruction is not None:
        return (ResolvedMessage(role="system", pattern=stage.baseline_instruction),)
    return ()


def _ordered(messages: list[MessagePatternConfig]) -> tuple[ResolvedMessage, ...]:
    ordered = sorted(messages, key=lambda message: message.order)
    return tuple(ResolvedMessage(role=m.role, pattern=m.pattern) for m in ordered)
