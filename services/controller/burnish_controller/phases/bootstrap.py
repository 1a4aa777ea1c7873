"""Runs the program on the bootstrap seeds and builds demo sets from what passed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import FailedPrecondition
from burnish_controller.bootstrap import DemoPlan, SetKind, demo_sets
from burnish_controller.context import DEFAULT_MIN_REWARD, JobContext, demo_component
from burnish_controller.demos import bootstrapped_demo, labelled_demo, user_wildcards
from burnish_controller.dispatch import Batch
from burnish_controller.phases.base import (
    PhaseServices,
    cells,
    chunks,
    report_unscored,
)
from burnish_controller.phases.given import earlier_rollouts
from burnish_controller.phases.logs import log_batch, log_component, log_rollouts, positions
from burnish_controller.store.rollouts import FinishedRollout
from burnish_controller.task_apps import AppExample, ask

_SOURCES = {
    SetKind.ZERO_SHOT: types_v1.COMPONENT_SOURCE_ZERO_SHOT,
    SetKind.LABELLED: types_v1.COMPONENT_SOURCE_LABELLED,
    SetKind.BOOTSTRAPPED: types_v1.COMPONENT_SOURCE_BOOTSTRAPPED,
    SetKind.SHUFFLED: types_v1.COMPONENT_SOURCE_SHUFFLED,
}


class TooFewDemos(FailedPrecondition):
    """Fewer rollouts passed than `min_bootstrap_demos` asks for, and the job is strict."""

    default_reason = "TOO_FEW_DEMOS"


async def run_bootstrap_pool(services: PhaseServices, job: JobContext, part: int) -> bool:
    """Runs one part of the bootstrap pool; returns whether there are more."""
    baseline = job.baseline()
    batch = Batch(
        phase="bootstrap",
        cells=cells(baseline.candidate_id, types_v1.POOL_BOOTSTRAP, job.bootstrap_seeds()),
    )
    parts = chunks(batch)
    if part >= len(parts):
        return False
    await log_rollouts(services, job, what="bootstrap", seeds=job.bootstrap_seeds())
    done = await services.dispatcher.run(job, parts[part])
    await report_unscored(services, job, f"bootstrap/{part}", done)
    if not job.cancelled:
        ids = [job.rollout_id(cell) for one in parts[: part + 1] for cell in one.cells]
        so_far = list((await services.rollouts.by_ids(ids)).values())
        await log_batch(services, job, what="bootstrap", done=so_far, total=len(batch.cells))
    await services.progress.report(job, f"bootstrap/{part}")
    return part + 1 < len(parts)


async def build_demo_sets(services: PhaseServices, job: JobContext) -> None:
    """Builds every stage's demo sets and stores them as components.

    Raises:
        TooFewDemos: Too few rollouts passed, and the job is strict.
    """
    spec = job.spec.offline.bootstrap
    least = spec.min_reward if spec.HasField("min_reward") else DEFAULT_MIN_REWARD
    done = await services.rollouts.of_job(job.job_id, phase="bootstrap")
    done += await earlier_rollouts(services, job)
    passed = [one for one in done if one.fused is not None and one.fused >= least]
    await _require_demos(services, job, passed=len(passed), least=least)
    order = {seed: position for position, seed in enumerate(job.pools.bootstrap)}
    passed.sort(key=lambda one: order.get(one.result.cell.seed, len(order)))
    examples = await labelled_rows(job, job.pools.bootstrap)
    found: list[types_v1.Component] = []
    for stage in job.stages:
        if _wants_demos(job, stage.template.stage_id):
            found += await _stage_sets(services, job, stage.template.stage_id, passed, examples)
    await services.space.add_components(job.job_id, found)
    places = await positions(services, job)
    for component in found:
        count, stage_id = len(component.demo_set.demos), component.stage_id
        await log_component(
            services,
            job,
            message=f"demo set of {count} demos for stage {stage_id}",
            added=job_v1.ComponentAdded(component=component, index=places[component.component_id]),
        )
    await services.events.append(
        job.job_id,
        "bootstrap",
        job_v1.JobEvent(
            message=f"{len(passed)} of {len(done)} bootstrap rollouts reached {least:g};"
            f" {len(found)} demo sets",
            bootstrap_completed=job_v1.BootstrapCompleted(
                rollout_count=len(done),
                passed_count=len(passed),
                min_reward=least,
                demo_set_count=len(found),
            ),
        ),
    )


async def labelled_rows(job: JobContext, seeds: Sequence[int]) -> list[AppExample]:
    """Returns the labelled rows of some seeds; empty when the app shows none."""
    if not seeds:
        return []
    return await ask(lambda: job.app.examples(seeds)) or []


async def _stage_sets(
    services: PhaseServices,
    job: JobContext,
    stage_id: str,
    passed: Sequence[FinishedRollout],
    examples: Sequence[AppExample],
) -> list[types_v1.Component]:
    spec = job.spec.offline.bootstrap
    calls = await services.calls.of_scopes([one.result.rollout_id for one in passed])
    demos: dict[bytes, types_v1.Demo] = {}
    from_rollouts = [
        bootstrapped_demo(one, calls.get(one.result.rollout_id, []), stage_id) for one in passed
    ]
    wildcards = user_wildcards(job, stage_id)
    single = len(job.stages) == 1
    from_rows = [labelled_demo(row, wildcards=wildcards) for row in examples] if single else []

    def keys(found: Sequence[types_v1.Demo | None]) -> list[bytes]:
        kept = []
        for demo in found:
            if demo is not None:
                key = demo.SerializeToString(deterministic=True)
                demos[key] = demo
                kept.append(key)
        return kept

    chosen = demo_sets(
        passed=keys(from_rollouts),
        labelled=keys(from_rows),
        plan=DemoPlan(
            max_bootstrapped=spec.max_bootstrapped_demos,
            max_labelled=spec.max_labelled_demos,
            max_sets=max(1, spec.max_demo_sets),
        ),
        rng=random.Random(f"{job.spec.random_seed}/demos/{stage_id}"),  # noqa: S311 - not secret
    )
    return [
        demo_component(stage_id, [demos[key] for key in one.demos], source=_SOURCES[one.kind])
        for one in chosen
    ]


def _wants_demos(job: JobContext, stage_id: str) -> bool:
    declared = {stage.template.stage_id: stage.optimise_demos for stage in job.spec.stages}
    return declared.get(stage_id, True)


async def _require_demos(
    services: PhaseServices, job: JobContext, *, passed: int, least: float
) -> None:
    spec = job.spec.offline.bootstrap
    if passed >= spec.min_demo_count:
        return
    message = (
        f"{passed} bootstrap rollouts reached {least:g}, fewer than the {spec.min_demo_count} asked"
        " for; lower `few_shot_score_threshold`, or give more bootstrap seeds"
    )
    if spec.strict:
        raise TooFewDemos(message, metadata={"passed": str(passed)})
    await services.events.append(
        job.job_id,
        "bootstrap/few",
        job_v1.JobEvent(
            level=job_v1.EVENT_LEVEL_WARNING,
            message=message,
            bootstrap_completed=job_v1.BootstrapCompleted(passed_count=passed, min_reward=least),
        ),
    )
