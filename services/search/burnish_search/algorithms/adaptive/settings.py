"""Settings of an adaptive pool, read and checked all at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from burnish.adaptive_levels import POOL_LEVELS
from burnish_search.algorithms.settings import Reader

_DEFAULT_LEVEL = "LOW"
_ALL = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """How a pool adapts.

    Attributes:
        anchor_size: Rows that are always looked at.
        pool_init_size: Rows at the start.
        pool_min_size: Rows at the end.
        warmup_iters: Iterations before it shrinks.
        anneal_stop_iter: Iteration at which it has its last size.
        pool_update_period: Iterations between two updates.
        min_evals_per_example: Rewards of a row before its informativeness counts.
        k_info_prompts: Best candidates that informativeness is measured by.
        info_buffer_factor: Share of informativeness to preserve, in [0, 1].
        info_epsilon: Least informativeness that there is to preserve a share of.
        anchor_selection_method: `clustering` or `random`.
        exploration_strategy: `diversity` or `random`.
        heatup_reserve_pool: Seeds that may come back; None for all that are out of the pool.
        heatup_trigger: `after_min_size`, `immediate` or `every_N_trials_after_min`.
        heatup_size: How many come back.
        heatup_cooldown_trials: Trials until they leave again; 0 for never.
        heatup_schedule: `repeat` or `once`.
    """

    anchor_size: int = 30
    pool_init_size: int = _ALL
    pool_min_size: int = _ALL
    warmup_iters: int = 5
    anneal_stop_iter: int = 20
    pool_update_period: int = 3
    min_evals_per_example: int = 3
    k_info_prompts: int = 10
    info_buffer_factor: float = 0.9
    info_epsilon: float = 1e-6
    anchor_selection_method: str = "clustering"
    exploration_strategy: str = "diversity"
    heatup_reserve_pool: tuple[int, ...] | None = None
    heatup_trigger: str = "after_min_size"
    heatup_size: int = 20
    heatup_cooldown_trials: int = 50
    heatup_schedule: str = "repeat"

    def fitted(self, row_count: int) -> PoolSettings:
        """Returns them with sizes that so many rows allow: 1 <= last <= first, anchors in both."""
        most = max(min(self.pool_init_size, row_count), 1)
        least = max(min(self.pool_min_size, most), 1)
        return replace(
            self,
            pool_init_size=most,
            pool_min_size=least,
            anchor_size=min(self.anchor_size, least),
            anneal_stop_iter=max(self.anneal_stop_iter, self.warmup_iters + 1),
        )


def parse(table: object) -> tuple[PoolSettings | None, list[str]]:
    """Reads an `adaptive_pool` table, or a level alone.

    Returns:
        The settings; None without a pool that adapts, and when something is wrong. And every
        problem.
    """
    if table is None:
        return None, []
    given = {"level": table} if isinstance(table, str) else table
    if not isinstance(given, Mapping):
        return None, [f"setting `adaptive_pool` is {table!r}; give a table or a level"]
    levels = Reader({"level": given.get("level")}, path="adaptive_pool.")
    level = levels.choice("level", tuple(POOL_LEVELS)) or _DEFAULT_LEVEL
    sizes = {key: value for key, value in given.items() if value is not None}
    reader = Reader({**POOL_LEVELS[level], **sizes}, path="adaptive_pool.")
    reader.skip("level")
    parsed = _read(reader)
    reader.finish()
    problems = [*levels.problems, *reader.problems]
    return (None if problems or level == "NONE" else parsed), problems


def _read(reader: Reader) -> PoolSettings:
    usual = PoolSettings()

    def natural(key: str, default: int) -> int:
        value = reader.natural(key)
        return default if value is None else value

    share, epsilon = reader.share("info_buffer_factor"), reader.number("info_epsilon")
    reserve = reader.wholes("heatup_reserve_pool", ())
    trigger = reader.choice(
        "heatup_trigger", ("after_min_size", "immediate", "every_N_trials_after_min")
    )
    return PoolSettings(
        anchor_size=natural("anchor_size", usual.anchor_size),
        pool_init_size=natural("pool_init_size", _ALL),
        pool_min_size=natural("pool_min_size", _ALL),
        warmup_iters=natural("warmup_iters", usual.warmup_iters),
        anneal_stop_iter=natural("anneal_stop_iter", usual.anneal_stop_iter),
        pool_update_period=reader.whole("pool_update_period", usual.pool_update_period),
        min_evals_per_example=reader.whole("min_evals_per_example", usual.min_evals_per_example),
        k_info_prompts=natural("k_info_prompts", usual.k_info_prompts),
        info_buffer_factor=usual.info_buffer_factor if share is None else share,
        info_epsilon=usual.info_epsilon if epsilon is None else epsilon,
        anchor_selection_method=reader.choice("anchor_selection_method", ("clustering", "random"))
        or usual.anchor_selection_method,
        exploration_strategy=reader.choice("exploration_strategy", ("diversity", "random"))
        or usual.exploration_strategy,
        heatup_reserve_pool=reserve or None,
        heatup_trigger=trigger or usual.heatup_trigger,
        heatup_size=reader.whole("heatup_size", usual.heatup_size),
        heatup_cooldown_trials=natural("heatup_cooldown_trials", usual.heatup_cooldown_trials),
        heatup_schedule=reader.choice("heatup_schedule", ("repeat", "once"))
        or usual.heatup_schedule,
    )
