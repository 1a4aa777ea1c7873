"""Learns the baseline where none was given, and evaluates it on the validation pool."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import FailedPrecondition
from burnish_controller.context import JobContext, stages_of
from burnish_controller.demos import sent_call
from burnish_controller.dispatch import Batch
from burnish_controller.learning import LearntStage, learn
from burnish_controller.ledger.budget import NOTHING, Amount, total
from burnish_controller.phases import gate
from burnish_controller.phases.base import (
    PhaseServices,
    cells,
    chunks,
    estimate,
    observation,
    report_unscored,
    require_scored,
)
from burnish_controller.phases.logs import log_batch, log_component, log_rollouts, seed_scores
from burnish_controller.scoring import calls_of
from burnish_controller.store.rollouts import FinishedRollout
from burnish_controller.task_apps import ask


class BaselineUnlearnable(FailedPrecondition):
    """The app's calls do not tell what its prompt is."""

    default_reason = "BASELINE_UNLEARNABLE"


async def learn_baseline(services: PhaseServices, job: JobContext) -> None:
    """Runs the first bootstrap seeds unchanged and takes what is alike for the baseline.

    Raises:
        BaselineUnlearnable: Fewer than two rollouts made a chat call.
    """
    seeds = job.learning_seeds()
    await log_rollouts(services, job, what="learning", seeds=seeds)
    batch = Batch(phase="bootstrap", cells=cells("", types_v1.POOL_BOOTSTRAP, seeds))
    done = await services.dispatcher.run(job, batch)
    require_scored(done, what="learning the baseline")
    scored = [one for one in done if one.fused is not None]
    calls = await services.calls.of_scopes([one.result.rollout_id for one in scored])
    rollouts = []
    for one in scored:
        sent = [sent_call(call.scope, call) for call in calls.get(one.result.rollout_id, [])]
        rollouts.append([call for call in sent if call is not None])
    rollouts = [found for found in rollouts if found]
    if len(rollouts) < 2:
        raise BaselineUnlearnable(
            f"the baseline cannot be learnt from {len(rollouts)} rollouts with a chat call;"
            " give `initial_prompt`, or at least two bootstrap seeds"
        )
    learnt = learn(rollouts, declared=(await ask(job.app.check)).stage_ids)
    names = _names(job.spec, learnt)
    templates = [_template(stage, stage_id=name) for name, stage in zip(names, learnt, strict=True)]
    await services.jobs.save_templates(job.job_id, templates)
    job.stages = stages_of(job.spec, templates)
    for template, stage in zip(templates, learnt, strict=True):
        await services.events.append(
            job.job_id,
            f"learned/{template.stage_id}",
            job_v1.JobEvent(
                message=f"learnt the baseline of stage {template.stage_id}"
                f" from {len(stage.calls)} calls",
                baseline_learned=job_v1.BaselineLearned(
                    template=template, call_count=len(stage.calls)
                ),
            ),
        )


async def evaluate_baseline(services: PhaseServices, job: JobContext) -> None:
    """Evaluates the baseline on the whole validation pool and tells the search."""
    baseline = job.baseline()
    components = job.baseline_components()
    await services.space.add_components(job.job_id, components)
    await services.space.add_candidates(job.job_id, [baseline])
    await _announce(services, job, components)
    batch = Batch(
        phase="baseline",
        cells=cells(baseline.candidate_id, types_v1.POOL_VALIDATION, job.pools.validation),
    )
    await log_rollouts(services, job, what="baseline", seeds=job.pools.validation)
    done: list[FinishedRollout] = []
    for part in chunks(batch):
        await gate.wait_while_paused(services, job)
        done += await services.dispatcher.run(job, part)
        if not job.cancelled:
            total = len(batch.cells)
            await log_batch(services, job, what="baseline", done=done, total=total)
    if job.cancelled:
        return
    await report_unscored(services, job, "baseline", done)
    require_scored(done, what="the baseline")
    session = services.session(job)
    await session.add_components("baseline", components)
    await session.tell("baseline", [observation(one) for one in done])
    found = estimate(done) or types_v1.Estimate()
    job.job.best_candidate_id = baseline.candidate_id
    job.job.best_reward.CopyFrom(found)
    await hold_for_test(services, job)
    await services.events.append(
        job.job_id,
        "baseline",
        job_v1.JobEvent(
            message=f"baseline: {found.mean:.3f} on {found.row_count} validation rows",
            baseline_evaluated=job_v1.BaselineEvaluated(
                candidate_id=baseline.candidate_id, reward=found, scores=seed_scores(done)
            ),
        ),
    )
    await services.progress.report(job, "baseline")


async def _announce(
    services: PhaseServices, job: JobContext, components: Sequence[types_v1.Component]
) -> None:
    for component in components:
        empty = component.WhichOneof("content") == "demo_set"
        what = "no demos" if empty else "the app's own instruction"
        await log_component(
            services,
            job,
            message=f"{what} for stage {component.stage_id}",
            added=job_v1.ComponentAdded(component=component),
        )


async def hold_for_test(services: PhaseServices, job: JobContext) -> None:
    """Holds back what the closing test can cost: twice the dearest baseline rollout each."""
    rows = 2 * len(job.pools.test)
    account = await services.ledger.account(job.job_id)
    done = await services.rollouts.of_job(job.job_id, phase="baseline")
    calls = await calls_of(services.calls, job, [one.result.rollout_id for one in done])
    worst, by_role = NOTHING, dict[str, Amount]()
    for found in calls.values():
        spent = dict[str, Amount]()
        for call in found:
            spent[call.role] = spent.get(call.role, NOTHING) + call.worst
        worst = worst.or_dearer(total(spent.values()))
        for role, amount in spent.items():
            by_role[role] = by_role.get(role, NOTHING).or_dearer(amount)
    account.hold(
        worst.times(2 * rows),
        by_role={role: amount.times(2 * rows) for role, amount in by_role.items()},
    )


def _names(spec: job_v1.JobSpec, learnt: Sequence[LearntStage]) -> list[str]:
    """Returns the stages' ids: the declared one where one was declared and one was found."""
    if len(spec.stages) == len(learnt) == 1:
        return [spec.stages[0].template.stage_id]
    return [stage.stage_id for stage in learnt]


def _template(stage: LearntStage, *, stage_id: str) -> types_v1.PromptTemplate:
    mode = types_v1.SUBSTITUTION_MODE_SYSTEM
    if stage.varies_in_system:
        mode = types_v1.SUBSTITUTION_MODE_PATTERN
    return types_v1.PromptTemplate(
        stage_id=stage_id,
        messages=[
            types_v1.MessagePattern(role=role, pattern=pattern) for role, pattern in stage.patterns
        ],
        mode=mode,
    )
