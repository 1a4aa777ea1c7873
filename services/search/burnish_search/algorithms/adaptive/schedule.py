"""When an adaptive pool shrinks, and when rows come back to it: plain arithmetic of positions."""

from __future__ import annotations

from collections.abc import Iterator

from burnish_search.algorithms.adaptive.settings import PoolSettings


def size_at(config: PoolSettings, iteration: int) -> int:
    """Returns how many rows the pool has in an iteration: linear between warm-up and the end."""
    most, least = config.pool_init_size, config.pool_min_size
    first, last = config.warmup_iters, config.anneal_stop_iter
    if iteration <= first:
        return most
    if iteration >= last:
        return least
    return round(most - (most - least) * (iteration - first) / (last - first))


def update_before(config: PoolSettings, iteration: int) -> int:
    """Returns the iteration of the last update up to one; 0 when there was none."""
    if iteration >= config.anneal_stop_iter:
        return config.anneal_stop_iter
    if iteration < max(config.warmup_iters, 1):
        return 0
    since = iteration - config.warmup_iters
    return config.warmup_iters + since - since % config.pool_update_period


def heat_at(config: PoolSettings, trial: int, *, trials_per_iteration: int) -> int | None:
    """Returns which heat-up, from 0, a trial falls into; None when it falls into none.

    A heat-up begins when its trigger does: at once, when the pool has reached its end, or one
    cool-down later. It lasts as many trials as the cool-down, and rests as many before the next
    one. Without a cool-down the rows that came back stay.
    """
    span = config.heatup_cooldown_trials
    start = 0
    if config.heatup_trigger != "immediate":
        start = config.anneal_stop_iter * trials_per_iteration
    if config.heatup_trigger == "every_N_trials_after_min":
        start += span
    if trial < start:
        return None
    if not span:
        return 0
    turn, cool = divmod((trial - start) // span, 2)
    if cool or (turn and config.heatup_schedule == "once"):
        return None
    return turn


def wave(count: int, size: int, turn: int) -> Iterator[int]:
    """Yields which of `count` reserve rows come back in a heat-up, each in its turn."""
    start = turn * size
    for place in range(min(size, count)):
        yield (start + place) % count
