"""Seed pools of a job, expanded, and the faults that they can have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1

MAX_POOL_SIZE = 100_000


def expand(pool: types_v1.SeedPool) -> list[int]:
    """Returns the seeds of a pool in order: the explicit ones, then each range."""
    seeds = list(pool.seeds)
    for one in pool.ranges:
        seeds.extend(range(one.start, one.end, max(1, one.step)))
    return seeds


def pool_problems(offline: job_v1.OfflineMode) -> list[str]:
    """Returns every fault of the pools, each naming the pool, the values and the fix."""
    problems = []
    pools = _by_name(offline)
    expanded: dict[str, list[int]] = {}
    for name, pool in pools.items():
        fault = _range_fault(name, pool)
        if fault is not None:
            problems.append(fault)
            expanded[name] = []
            continue
        expanded[name] = expand(pool)
        problems += _seed_faults(name, expanded[name])
    problems += [
        f"`{name}` is empty; give it at least one seed"
        for name in ("online_pool", "validation_pool")
        if not expanded[name] and not any(name in problem for problem in problems)
    ]
    for held_out in ("test_pool", "reference_pool"):
        for name in pools:
            if name != held_out and (held_out, name) != ("reference_pool", "test_pool"):
                problems += _overlap(held_out, name, expanded)
    return problems


def beyond(offline: job_v1.OfflineMode, *, seed_count: int) -> tuple[list[str], list[str]]:
    """Returns what there is to say of seeds that the task app does not have.

    Args:
        offline: Holds pools without a fault of their own.
        seed_count: Seeds of the app run from 0 to this, exclusive.

    Returns:
        Problems: pools of which the app has no seed. Warnings: those of which it has some.
    """
    problems, warnings = [], []
    for name, pool in _by_name(offline).items():
        seeds = expand(pool)
        missing = [seed for seed in seeds if seed >= seed_count]
        if missing and len(missing) == len(seeds):
            problems.append(
                f"`{name}` begins at seed {min(missing)}, and the task app has {seed_count} rows;"
                f" give seeds from 0 to {seed_count - 1}"
            )
        elif missing:
            warnings.append(
                f"`{name}`: {len(missing)} of its {len(seeds)} seeds are beyond the {seed_count}"
                " rows that the task app has; they cannot be scored"
            )
    return problems, warnings


def _by_name(offline: job_v1.OfflineMode) -> dict[str, types_v1.SeedPool]:
    return {
        "bootstrap_pool": offline.bootstrap_pool,
        "online_pool": offline.online_pool,
        "validation_pool": offline.validation_pool,
        "test_pool": offline.test_pool,
        "reference_pool": offline.reference_pool,
    }


def _range_fault(name: str, pool: types_v1.SeedPool) -> str | None:
    size = len(pool.seeds)
    for one in pool.ranges:
        if one.step < 0:
            return f"`{name}` has a range with step {one.step}; use a step of at least 1"
        if one.end <= one.start:
            return (
                f"`{name}` has a range from {one.start} to {one.end}, which is empty; raise its end"
            )
        size += len(range(one.start, one.end, max(1, one.step)))
    if size > MAX_POOL_SIZE:
        return f"`{name}` has {size} seeds; use at most {MAX_POOL_SIZE}"
    return None


def _seed_faults(name: str, seeds: Sequence[int]) -> list[str]:
    problems = []
    repeated = sorted(seed for seed, count in Counter(seeds).items() if count > 1)
    if repeated:
        problems.append(f"`{name}` repeats seeds ({_some(repeated)}); give each once")
    if any(seed < 0 for seed in seeds):
        problems.append(f"`{name}` has the seed {min(seeds)}; seeds start at 0")
    return problems


def _overlap(one: str, other: str, expanded: dict[str, list[int]]) -> list[str]:
    shared = sorted(set(expanded[one]) & set(expanded[other]))
    if not shared:
        return []
    return [
        f"`{one}` shares {len(shared)} seeds with `{other}` ({_some(shared)}); make them disjoint"
    ]


def _some(seeds: Sequence[int]) -> str:
    shown = ", ".join(str(seed) for seed in seeds[:5])
    return shown + (", ..." if len(seeds) > 5 else "")
