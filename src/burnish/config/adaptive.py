"""Adaptive pools and batches: level presets, overrides, and sizes that always fit the pool."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Final, TypeVar

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from burnish import adaptive_levels
from burnish.config.base import (
    ConfigModel,
    Fraction,
    NonNegFloat,
    NonNegInt,
    Number,
    PosInt,
    Raw,
    read_alone,
    read_model,
    unknown_keys,
)
from burnish.config.enums import (
    AdaptiveBatchLevel,
    AdaptiveCurriculumLevel,
    AnchorSelectionMethod,
    CandidateSelectionStrategy,
    ExplorationStrategy,
    HeatupSchedule,
    HeatupTrigger,
    ValEvaluationMode,
)
from burnish.config.problems import Findings, nearest
from burnish.config.seeds import Seeds

LevelT = TypeVar("LevelT", AdaptiveCurriculumLevel, AdaptiveBatchLevel)
HolderT = TypeVar("HolderT", bound=ConfigModel)


class AdaptivePoolConfig(ConfigModel):
    """An evaluation pool that shrinks to its most informative seeds.

    Attributes:
        level: Preset that the sizes came from; NONE switches the pool off.
        anchor_size: Seeds that are always evaluated; at most `pool_min_size`.
        pool_init_size: Seeds at the start; absent for all of them.
        pool_min_size: Seeds at the end; absent for `pool_init_size`.
        warmup_iters: Iterations before the pool shrinks.
        anneal_stop_iter: Iteration at which it has reached its end; above `warmup_iters`.
        pool_update_period: Iterations between two updates.
        min_evals_per_example: Evaluations before a seed's informativeness counts.
        k_info_prompts: Best prompts whose scores measure informativeness.
        info_buffer_factor: Share of informativeness to preserve, in [0, 1]; other places explore.
        info_epsilon: Least informativeness that there is to preserve a share of.
        anchor_selection_method: How anchors are chosen.
        exploration_strategy: How the rest is chosen.
        heatup_reserve_pool: Seeds that may come back, none of the test pool; absent: all left out.
        heatup_trigger: When they come back.
        heatup_size: How many come back.
        heatup_cooldown_trials: Trials until they leave again, and until the next come; 0: never.
        heatup_schedule: Whether that repeats.
    """

    level: AdaptiveCurriculumLevel = AdaptiveCurriculumLevel.LOW
    anchor_size: NonNegInt = 30
    pool_init_size: NonNegInt | None = None
    pool_min_size: NonNegInt | None = None
    warmup_iters: NonNegInt = 5
    anneal_stop_iter: NonNegInt = 20
    pool_update_period: PosInt = 3
    min_evals_per_example: PosInt = 3
    k_info_prompts: NonNegInt = 10
    info_buffer_factor: Fraction = 0.9
    info_epsilon: NonNegFloat = 1e-6
    anchor_selection_method: AnchorSelectionMethod = AnchorSelectionMethod.CLUSTERING
    exploration_strategy: ExplorationStrategy = ExplorationStrategy.DIVERSITY
    heatup_reserve_pool: Seeds | None = None
    heatup_trigger: HeatupTrigger = HeatupTrigger.AFTER_MIN_SIZE
    heatup_size: PosInt = 20
    heatup_cooldown_trials: NonNegInt = 50
    heatup_schedule: HeatupSchedule = HeatupSchedule.REPEAT

    @property
    def enabled(self) -> bool:
        """Whether the pool adapts at all."""
        return self.level is not AdaptiveCurriculumLevel.NONE


class GEPAAdaptiveBatchConfig(ConfigModel):
    """Smaller minibatches and sub-sampled validation for GEPA.

    Attributes:
        level: Preset that the sizes came from; NONE switches it off.
        reflection_minibatch_size: Seeds per reflection.
        min_local_improvement: Gain on the minibatch that a child has to be above.
        val_evaluation_mode: Whether a child is validated on all validation seeds.
        val_subsample_size: Validation seeds when not on all.
        candidate_selection_strategy: How parents are drawn.
    """

    level: AdaptiveBatchLevel = AdaptiveBatchLevel.MODERATE
    reflection_minibatch_size: PosInt = 3
    min_local_improvement: Number = 0.0
    val_evaluation_mode: ValEvaluationMode = ValEvaluationMode.SUBSAMPLE
    val_subsample_size: PosInt = 64
    candidate_selection_strategy: CandidateSelectionStrategy = CandidateSelectionStrategy.COVERAGE

    @property
    def enabled(self) -> bool:
        """Whether batches adapt at all."""
        return self.level is not AdaptiveBatchLevel.NONE


POOL_LEVELS: Final[Mapping[AdaptiveCurriculumLevel, Mapping[str, object]]] = MappingProxyType(
    {AdaptiveCurriculumLevel(name): row for name, row in adaptive_levels.POOL_LEVELS.items()}
)
BATCH_LEVELS: Final[Mapping[AdaptiveBatchLevel, Mapping[str, object]]] = MappingProxyType(
    {AdaptiveBatchLevel(name): row for name, row in adaptive_levels.BATCH_LEVELS.items()}
)


def with_level(
    value: object,
    levels: Mapping[LevelT, Mapping[str, object]],
    kind: type[LevelT],
    default: LevelT,
) -> object:
    """Fills a table with the values of its level; anything else is left for pydantic to refuse."""
    if not isinstance(value, Mapping):
        return value
    given = dict(value)
    level = given.get("level", default)
    try:
        chosen = kind(str(level))
    except ValueError:
        return given
    return {**levels[chosen], **given, "level": chosen}


def fill_pool(value: object) -> object:
    """Fills an `adaptive_pool` table from its level, and refuses sizes that contradict.

    Those of a pool that is off are of no use, and its own contradict.
    """
    off = AdaptiveCurriculumLevel.NONE.value
    if isinstance(value, Mapping) and str(value.get("level", "")).strip().upper() != off:
        for message, fix in conflicts(value):
            raise PydanticCustomError("pool", "{message}", {"message": message, "fix": fix})
    return with_level(value, POOL_LEVELS, AdaptiveCurriculumLevel, AdaptiveCurriculumLevel.LOW)


def fill_batch(value: object) -> object:
    """Fills an `adaptive_batch` table from its level."""
    return with_level(value, BATCH_LEVELS, AdaptiveBatchLevel, AdaptiveBatchLevel.MODERATE)


def conflicts(given: Mapping[str, object]) -> list[tuple[str, str]]:
    """Returns message and fix for every pair of given sizes that cannot hold together."""
    found = []
    order = ("anchor_size", "pool_min_size", "pool_init_size")
    sizes = [(name, value) for name in order if isinstance(value := given.get(name), int)]
    for (low, low_value), (high, high_value) in pairwise(sizes):
        if low_value > high_value:
            found.append(
                (
                    f"{low} ({low_value}) is above {high} ({high_value})",
                    "keep anchor_size <= pool_min_size <= pool_init_size",
                )
            )
    warm, stop = given.get("warmup_iters"), given.get("anneal_stop_iter")
    if isinstance(warm, int) and isinstance(stop, int) and stop <= warm:
        found.append(
            (
                f"anneal_stop_iter ({stop}) is not above warmup_iters ({warm})",
                f"give an anneal_stop_iter of {warm + 1} or more",
            )
        )
    return found


def fit_pool(config: AdaptivePoolConfig, dev_pool_size: int | None) -> AdaptivePoolConfig:
    """Returns a pool whose sizes are filled and clamped, so that init >= min >= anchor holds."""
    init, least = config.pool_init_size, config.pool_min_size
    if dev_pool_size is not None:
        init = dev_pool_size if init is None else min(init, dev_pool_size)
        least = dev_pool_size if least is None else min(least, dev_pool_size)
    if init is not None and least is not None:
        least = min(least, init)
    ceilings = [size for size in (least, init) if size is not None]
    stop = config.anneal_stop_iter
    if config.enabled and stop <= config.warmup_iters:
        stop = config.warmup_iters + 1
    return config.model_copy(
        update={
            "pool_init_size": init,
            "pool_min_size": least,
            "anchor_size": min([config.anchor_size, *ceilings]),
            "anneal_stop_iter": stop,
        }
    )


def resolve_adaptive_pool_config(
    *,
    level: AdaptiveCurriculumLevel | str | None = None,
    overrides: Mapping[str, object] | None = None,
    dev_pool_size: int | None = None,
) -> AdaptivePoolConfig:
    """Builds an adaptive pool from a level, overrides and the size of the pool.

    Args:
        level: LOW when None.
        overrides: Fields that replace the level's.
        dev_pool_size: Seeds there are. Sizes that the level and the caller left open become it,
            and all three sizes are clamped to it, so that init >= min >= anchor always holds.

    Raises:
        ConfigError: An override is not valid, or the sizes contradict each other.
    """
    given: Raw = dict(overrides or {})
    if level is not None:
        given["level"] = level
    holder = _read_all(_PoolHolder, {"adaptive_pool": given})
    return fit_pool(holder.adaptive_pool, dev_pool_size)


def resolve_adaptive_batch_config(
    *,
    level: AdaptiveBatchLevel | str | None = None,
    overrides: Mapping[str, object] | None = None,
) -> GEPAAdaptiveBatchConfig:
    """Builds an adaptive batch from a level (MODERATE when None) and overrides.

    Raises:
        ConfigError: An override is not valid.
    """
    given: Raw = dict(overrides or {})
    if level is not None:
        given["level"] = level
    return _read_all(_BatchHolder, {"adaptive_batch": given}).adaptive_batch


AdaptivePool = Annotated[AdaptivePoolConfig, BeforeValidator(fill_pool)]
AdaptiveBatch = Annotated[GEPAAdaptiveBatchConfig, BeforeValidator(fill_batch)]


class _PoolHolder(ConfigModel):
    adaptive_pool: AdaptivePool


class _BatchHolder(ConfigModel):
    adaptive_batch: AdaptiveBatch


def _read_all(cls: type[HolderT], raw: Raw) -> HolderT:
    findings = Findings()
    holder = read_model(cls, raw, findings)
    if holder is not None:
        for path, value, known in unknown_keys(holder):
            name = path.rpartition(".")[2]
            close = nearest(name, known)
            fix = f"did you mean `{close}`?" if close else "remove it"
            findings.problem(path, value, "is not a field", fix)
    findings.raise_if_any("configuration")
    return read_alone(cls, raw, name="configuration")
