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
    pools = {
        "bootstrap_pool": offline.bootstrap_pool,
        "online_pool": offline.online_pool,
        "validation_pool": offline.validation_pool,
        "test_pool": offline.test_pool,
        "reference_pool": offline.reference_pool,
    }
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
