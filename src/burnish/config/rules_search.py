"""The rules of MIPRO, GEPA and stages: pools that must not meet, ids that must be unique."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from burnish import gepa_plan
from burnish.config.base import join
from burnish.config.enums import GepaProposerType, SearchEngine, SearchProtocol
from burnish.config.gepa import GEPAConfig
from burnish.config.mipro import MIPROConfig
from burnish.config.mipro_blocks import (
    MIPROModuleConfig,
    MIPROStageConfig,
    module_name,
    stage_ids,
)
from burnish.config.problems import Findings

if TYPE_CHECKING:
    from burnish.config.prompt_learning import PromptLearningConfig

MIN_FEEDBACK_SEEDS = gepa_plan.LEAST_FEEDBACK
MIN_PARETO_SEEDS = gepa_plan.LEAST_PARETO
_SHOWN = 5

Pool = Collection[int] | None


def check_disjoint(
    left: tuple[str, Pool], right: tuple[str, Pool], findings: Findings, *, refuse: bool
) -> None:
    """Reports seeds that two pools share: as a problem, or as a warning."""
    if not left[1] or not right[1]:
        return
    shared = sorted(set(left[1]) & set(right[1]))
    if not shared:
        return
    some = ", ".join(str(seed) for seed in shared[:_SHOWN])
    more = ", …" if len(shared) > _SHOWN else ""
    other = findings.names.written(right[0])
    message = f"shares {len(shared)} seeds with `{other}` ({some}{more})"
    if refuse:
        findings.problem(left[0], left[1], message, "make the two pools disjoint")
    else:
        findings.warn(left[0], f"{message}; what is learnt from a row is then scored on it")


def check_mipro(mipro: MIPROConfig, findings: Findings) -> None:
    """Checks MIPRO's pools and limits."""
    pools: dict[str, Pool] = {
        name: getattr(mipro, name)
        for name in (
            "bootstrap_train_seeds",
            "online_pool",
            "val_seeds",
            "test_pool",
            "reference_pool",
        )
    }
    for name, pool in pools.items():
        path = f"mipro.{name}"
        if pool is not None and not pool:
            findings.problem(path, pool, "is empty", "add seeds, or remove it to have it derived")
        if pool is not None and len(set(pool)) < len(pool):
            findings.warn(path, "holds a seed twice; it counts once")
    named = {name: (f"mipro.{name}", pool) for name, pool in pools.items()}
    for other in ("bootstrap_train_seeds", "online_pool", "val_seeds"):
        check_disjoint(named["test_pool"], named[other], findings, refuse=True)
    for other in ("bootstrap_train_seeds", "online_pool", "val_seeds", "test_pool"):
        check_disjoint(named["reference_pool"], named[other], findings, refuse=True)
    for other in ("online_pool", "val_seeds"):
        check_disjoint(named["bootstrap_train_seeds"], named[other], findings, refuse=False)
    _check_sizes(mipro, findings)
    if mipro.protocol is SearchProtocol.MIPROV2:
        _check_protocol(mipro, findings)
    objective = mipro.objective
    nearly = objective is not None and (objective.tolerance, objective.probability) != (None, None)
    if objective is not None and objective.weight is not None and nearly:
        findings.problem(
            "mipro.objective.weight",
            objective.weight,
            "weighs reward against cost, where tolerance and probability choose the cheapest of"
            " the nearly best",
            "give one or the other",
        )


def _check_protocol(mipro: MIPROConfig, findings: Findings) -> None:
    """Checks that nothing else asks for what MIPROv2's protocol does not have."""
    path, value = "mipro.protocol", mipro.protocol.value
    if mipro.engine is SearchEngine.RACE:
        findings.problem(
            path, value, "is of the engine `tpe`", "remove it, or `engine`, which is `race`"
        )
    later = [iteration for iteration in mipro.generate_at_iterations if iteration]
    if later or (mipro.meta_update is not None and mipro.meta_update.enabled):
        findings.problem(
            path,
            value,
            "searches what was proposed before it began, but later iterations propose, too",
            "remove it, or `generate_at_iterations` and `meta_update`",
        )


def _check_sizes(mipro: MIPROConfig, findings: Findings) -> None:
    bootstrap, online = mipro.bootstrap_train_seeds, mipro.online_pool
    if bootstrap and mipro.min_bootstrap_demos > len(set(bootstrap)):
        findings.problem(
            "mipro.min_bootstrap_demos",
            mipro.min_bootstrap_demos,
            f"is above the {len(set(bootstrap))} bootstrap seeds",
            "lower it, or add bootstrap seeds",
        )
    given = mipro.auto is None and mipro.batch_size != MIPROConfig().batch_size
    if online and given and mipro.batch_size > len(set(online)):
        findings.warn(
            "mipro.batch_size", f"is above the {len(set(online))} online seeds; all are used"
        )
    if not mipro.optimize_instructions and not mipro.optimize_demos:
        findings.problem(
            "mipro.optimize_demos",
            mipro.optimize_demos,
            "leaves nothing to search, because optimize_instructions is off too",
            "switch one of the two on",
        )
    for index, iteration in enumerate(mipro.generate_at_iterations):
        if mipro.auto is None and iteration >= mipro.num_iterations:
            findings.warn(
                f"mipro.generate_at_iterations[{index}]",
                f"never comes: there are {mipro.num_iterations} iterations, from 0",
            )


def check_stages(config: PromptLearningConfig, findings: Findings) -> None:
    """Checks ids, slots and edges of stages and modules in every place that may hold them."""
    seen: dict[str, str] = {}
    _check_stage_list("stages", config.stages, config, findings, seen)
    _check_edges("edges", config.edges, [_stage_ids(config.stages)], findings)
    mipro = config.mipro
    if mipro is not None:
        _check_stage_list("mipro.stages", mipro.stages, config, findings, seen)
        if mipro.stages and mipro.modules:
            findings.problem(
                "mipro.stages", mipro.stages, "stand beside modules", "put them into a module"
            )
        modules: dict[str, str] = {}
        named = stage_ids(mipro.modules)
        for index, module in enumerate(mipro.modules):
            path = f"mipro.modules[{index}]"
            _unique(f"{path}.module_id", module_name(module, index), modules, findings)
            _check_module(path, module, config, findings, seen)
            _check_edges(f"{path}.edges", module.edges, [named[index]], findings)
        everywhere = [_stage_ids(mipro.stages), *named]
        _check_edges("mipro.edges", mipro.edges, everywhere, findings)
    if config.gepa is not None:
        _check_gepa_modules(config, config.gepa, findings)


def _stage_ids(stages: Sequence[MIPROStageConfig]) -> list[str]:
    return [stage.stage_id or f"stage_{index}" for index, stage in enumerate(stages)]


def _check_module(
    path: str,
    module: MIPROModuleConfig,
    config: PromptLearningConfig,
    findings: Findings,
    seen: dict[str, str],
) -> None:
    _check_stage_list(f"{path}.stages", module.stages, config, findings, seen)
    if not module.stages:
        _unique(f"{path}.module_id", module.module_id or path, seen, findings)
        _check_slots(path, (module.max_instruction_slots, module.max_demo_slots), config, findings)


def _check_stage_list(
    path: str,
    stages: Sequence[MIPROStageConfig],
    config: PromptLearningConfig,
    findings: Findings,
    seen: dict[str, str],
) -> None:
    for index, stage in enumerate(stages):
        here = join(path, index)
        if stage.stage_id is not None:
            _unique(f"{here}.stage_id", stage.stage_id, seen, findings)
        _check_slots(here, (stage.max_instruction_slots, stage.max_demo_slots), config, findings)
        text = " ".join(message.pattern for message in stage.baseline_messages)
        for name in stage.wildcards:
            if stage.baseline_messages and f"{{{name}}}" not in text:
                findings.warn(f"{here}.wildcards.{name}", "no message has this placeholder")


def _unique(path: str, value: str, seen: dict[str, str], findings: Findings) -> None:
    if value in seen and seen[value] != path:
        other = findings.names.written(seen[value])
        findings.problem(path, value, f"is the id of `{other}` too", "give every one its own id")
    seen.setdefault(value, path)


def _check_slots(
    path: str,
    slots: tuple[int | None, int | None],
    config: PromptLearningConfig,
    findings: Findings,
) -> None:
    if config.mipro is None:
        return
    limits = (
        ("max_instruction_slots", slots[0], "max_instruction_sets"),
        ("max_demo_slots", slots[1], "max_demo_sets"),
    )
    for name, value, limit_name in limits:
        limit: int = getattr(config.mipro, limit_name)
        if value is not None and value > limit:
            findings.problem(
                join(path, name), value, f"is above {limit_name} ({limit})", f"give {limit} or less"
            )


def _check_edges(
    path: str,
    edges: Sequence[tuple[str, str]],
    known: Sequence[Sequence[str]],
    findings: Findings,
) -> None:
    ids = {name for group in known for name in group}
    for index, edge in enumerate(edges):
        for name in edge:
            if name not in ids:
                findings.problem(
                    join(path, index),
                    name,
                    "is not the id of a stage here",
                    f"use one of {', '.join(sorted(ids)) or '(none)'}",
                )
        if edge[0] == edge[1]:
            findings.problem(join(path, index), edge[0], "leads to itself", "remove the edge")


def _check_gepa_modules(config: PromptLearningConfig, gepa: GEPAConfig, findings: Findings) -> None:
    seen: dict[str, str] = {}
    for index, module in enumerate(gepa.modules):
        path = f"gepa.modules[{index}]"
        _unique(f"{path}.module_id", module.module_id, seen, findings)
        tools = module.allowed_tools
        if tools is not None and len(set(tools)) < len(tools):
            findings.problem(
                f"{path}.allowed_tools", tools, "names a tool twice", "name every tool once"
            )
    _check_edges("gepa.edges", gepa.edges, [list(seen)], findings)
    prompt = config.initial_prompt
    if prompt is None or config.algorithm != "gepa":
        return
    for named in prompt.metadata.pipeline_modules:
        if named.name not in seen:
            findings.missing(
                "gepa.modules", f"add one with module_id = {named.name!r}, as pipeline_modules says"
            )


def check_gepa(config: PromptLearningConfig, gepa: GEPAConfig, findings: Findings) -> None:
    """Checks GEPA's pools and archive, after ranges are expanded."""
    evaluation = gepa.evaluation
    seeds, test = evaluation.seeds, evaluation.test_pool
    for name in ("seeds", "validation_seeds", "test_pool", "reference_pool"):
        pool = getattr(evaluation, name)
        if pool is not None and not pool:
            findings.problem(
                f"gepa.evaluation.{name}", pool, "is empty", "add seeds, or remove the key"
            )
    check_disjoint(
        ("gepa.evaluation.test_pool", test), ("gepa.evaluation.seeds", seeds), findings, refuse=True
    )
    validation = ("gepa.evaluation.validation_seeds", evaluation.validation_seeds)
    check_disjoint(("gepa.evaluation.test_pool", test), validation, findings, refuse=True)
    check_disjoint(("gepa.evaluation.seeds", seeds), validation, findings, refuse=False)
    reference = ("gepa.evaluation.reference_pool", evaluation.reference_pool)
    others = (("gepa.evaluation.seeds", seeds), validation, ("gepa.evaluation.test_pool", test))
    for other in others:
        check_disjoint(reference, other, findings, refuse=True)
    if gepa.proposer_type is GepaProposerType.SPEC and gepa.spec_path is None:
        findings.missing(
            "gepa.spec_path", 'name the spec, or use another proposer_type than "spec"'
        )
    if seeds:
        _check_pareto(gepa, len(set(seeds)), findings)


def _check_pareto(gepa: GEPAConfig, total: int, findings: Findings) -> None:
    wanted = gepa.archive.pareto_set_size
    if total < MIN_PARETO_SEEDS + MIN_FEEDBACK_SEEDS:
        findings.problem(
            "gepa.evaluation.seeds",
            total,
            f"are too few for a Pareto set of {MIN_PARETO_SEEDS} and {MIN_FEEDBACK_SEEDS} others",
            f"give {MIN_PARETO_SEEDS + MIN_FEEDBACK_SEEDS} training seeds or more",
        )
    elif wanted is not None and wanted > total - MIN_FEEDBACK_SEEDS:
        findings.problem(
            "gepa.archive.pareto_set_size",
            wanted,
            f"leaves fewer than {MIN_FEEDBACK_SEEDS} of {total} training seeds for feedback",
            f"give {total - MIN_FEEDBACK_SEEDS} or less, or remove it",
        )
