"""Settles the pools that a file leaves open, once the size of the task app's data is known.

Which rows go where is drawn with the job's seed, because data sets are often sorted by label. The
test pool is drawn first, so that nothing else decides what is held out.
"""

from __future__ import annotations

import random
from dataclasses import replace

from burnish import gepa_plan
from burnish.config.adaptive import AdaptivePoolConfig, fit_pool
from burnish.config.problems import ConfigError, Problem
from burnish.config.resolved import ResolvedJob, ResolvedPools
from burnish.config.resolved_search import ResolvedGepa, ResolvedMipro
from burnish.config.rules_search import MIN_FEEDBACK_SEEDS, MIN_PARETO_SEEDS
from burnish.config.sizes import clamp, easy_sizes

_ORDER = ("test", "validation", "online", "bootstrap", "reference")


def derive_pools(job: ResolvedJob, dataset_size: int) -> ResolvedJob:
    """Returns the job with every pool settled; pools that the file gave stay as they are.

    Args:
        job: From `resolve_job`.
        dataset_size: Rows of the task app's data; seeds are 0 to `dataset_size` - 1.

    Raises:
        ConfigError: There are too few rows for the pools that are missing.
    """
    pools, warnings = job.pools, list(job.warnings)
    for name in _ORDER:
        beyond = [seed for seed in getattr(pools, name) or () if seed >= dataset_size]
        if beyond:
            warnings.append(
                f"`{name}` pool: {len(beyond)} seeds are beyond the {dataset_size} rows of the data"
            )
    given = {name: getattr(pools, name) for name in _ORDER}
    if job.gepa is not None and given["bootstrap"] is None:
        given["bootstrap"] = ()
    shared = _shared_pools(job, given)
    taken = {seed for pool in given.values() for seed in pool or ()}
    missing = [name for name in _ORDER if given[name] is None and name not in shared]
    sizes = _fit_sizes(job, missing, dataset_size - sum(seed < dataset_size for seed in taken))
    # Drawing as many more as are taken leaves enough, without a list as long as the data.
    count = min(dataset_size, sum(sizes.values()) + len(taken))
    drawn = random.Random(job.random_seed).sample(range(dataset_size), count)  # noqa: S311
    free = [seed for seed in drawn if seed not in taken]
    start = 0
    for name in missing:
        given[name] = tuple(sorted(free[start : start + sizes[name]]))
        start += sizes[name]
        if not given[name]:
            warnings.append(f"`{name}` pool: no rows of the data are left for it")
    for name, source in shared.items():
        given[name] = given[source]
    settled = replace(job, pools=ResolvedPools(**given), warnings=tuple(dict.fromkeys(warnings)))
    return fit_to_pools(settled)


def _shared_pools(job: ResolvedJob, given: dict[str, tuple[int, ...] | None]) -> dict[str, str]:
    """Returns the missing pools that are the same as another one."""
    if job.mipro is not None and job.mipro.minibatch_pool == "validation":
        return {"online": "validation"}
    if given["validation"] is None and given["online"] is not None and job.gepa is None:
        return {"validation": "online"}
    return {}


def _fit_sizes(job: ResolvedJob, missing: list[str], free: int) -> dict[str, int]:
    sizes = {name: size for name, size in easy_sizes(_budget(job)).items() if name in missing}
    preset = job.mipro.preset if job.mipro is not None else None
    if preset is not None and "validation" in sizes:
        sizes["validation"] = preset.validation_size
    if preset is not None and "bootstrap" in sizes:
        sizes["bootstrap"] = clamp(preset.validation_size // 4, 20, 100)
    if job.gepa is not None and "online" in sizes:
        sizes["online"] = max(sizes["online"], gepa_plan.MOST_PARETO + MIN_FEEDBACK_SEEDS)
    needed = [name for name in missing if name in ("validation", "online")]
    if free < len(needed) + ("test" in missing):
        problem = Problem(
            path="pools",
            value=f"{free} free rows",
            message=f"are too few to derive the pools {', '.join(needed) or 'test'}",
            fix="give the pools, or a task app with more rows",
        )
        raise ConfigError([problem])
    total = sum(sizes.values())
    if total <= free:
        return sizes
    scaled = {name: size * free // total for name, size in sizes.items()}
    for name in (*needed, "test", "bootstrap"):
        if scaled.get(name) == 0:
            largest = max(scaled, key=lambda pool: (scaled[pool], pool))
            if scaled[largest] > 1 or sum(scaled.values()) < free:
                scaled[name] = 1
            if sum(scaled.values()) > free:
                scaled[largest] -= 1
    return scaled


def _budget(job: ResolvedJob) -> int:
    if job.budget.max_rollouts is not None:
        return job.budget.max_rollouts
    if job.mipro is not None:
        mipro = job.mipro
        return mipro.num_iterations * mipro.num_evaluations_per_iteration * mipro.batch_size
    if job.gepa is not None:
        return job.gepa.num_generations * job.gepa.children_per_generation * 10
    return 100


def fit_to_pools(job: ResolvedJob) -> ResolvedJob:
    """Clamps what depends on the sizes of settled pools.

    Raises:
        ConfigError: The training seeds cannot hold GEPA's Pareto set, or the adaptive pool's
            reserve holds test seeds.
    """
    if job.mipro is not None:
        job = _fit_mipro(job, job.mipro)
    if job.gepa is not None:
        job = _fit_gepa(job, job.gepa)
    online = job.pools.online
    if job.adaptive_pool is not None and online is not None:
        fitted = fit_pool(AdaptivePoolConfig.model_validate(job.adaptive_pool), len(online))
        _check_reserve(job, fitted)
        job = replace(job, adaptive_pool=fitted.model_dump(mode="json"))
    return job


def _check_reserve(job: ResolvedJob, pool: AdaptivePoolConfig) -> None:
    """Refuses seeds of the adaptive pool's reserve that are held out."""
    held = sorted(set(pool.heatup_reserve_pool or ()) & set(job.pools.test or ()))
    if held:
        problem = Problem(
            path="adaptive_pool.heatup_reserve_pool",
            value=", ".join(map(str, held[:5])),
            message="are seeds of the `test` pool, which no search may look at",
            fix="leave them out of the reserve",
        )
        raise ConfigError([problem])


def _fit_mipro(job: ResolvedJob, mipro: ResolvedMipro) -> ResolvedJob:
    pools, preset = job.pools, mipro.preset
    validation = pools.validation
    if preset is not None and validation is not None:
        if len(validation) > preset.validation_size:
            rng = random.Random(job.random_seed)  # noqa: S311
            validation = tuple(sorted(rng.sample(validation, preset.validation_size)))
        pools = replace(pools, validation=validation, online=validation)
    source = pools.online if mipro.minibatch_pool == "online" else validation
    batch = mipro.batch_size
    if source:
        whole = preset is not None and len(source) <= preset.full_below
        batch = len(source) if whole else min(batch, len(source))
    fewest = mipro.min_bootstrap_demos
    if pools.bootstrap is not None:
        fewest = min(fewest, len(pools.bootstrap))
    return replace(
        job, pools=pools, mipro=replace(mipro, batch_size=batch, min_bootstrap_demos=fewest)
    )


def _fit_gepa(job: ResolvedJob, gepa: ResolvedGepa) -> ResolvedJob:
    train = job.pools.online
    if train is None:
        return job
    room = len(train) - MIN_FEEDBACK_SEEDS
    wanted = gepa.pareto_set_size
    if room < MIN_PARETO_SEEDS or (wanted is not None and wanted > room):
        least = (wanted or MIN_PARETO_SEEDS) + MIN_FEEDBACK_SEEDS
        problem = Problem(
            path="gepa.evaluation.seeds",
            value=f"{len(train)} training seeds",
            message="cannot be split into a Pareto set and feedback seeds",
            fix=f"give {least} or more",
        )
        raise ConfigError([problem])
    size = gepa_plan.pareto_count(wanted, online=len(train))
    return replace(job, gepa=replace(gepa, pareto_set_size=size))
