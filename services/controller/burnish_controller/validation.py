"""Finds every fault of a job's spec at once, each with its place, its value and the fix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from burnish import templates
from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import InvalidArgument
from burnish.gepa_plan import GEPA
from burnish.models import ModelRole, check_model
from burnish.promotion import promotion_problems
from burnish_controller.context import LEARNT_STAGE, placeholders, pools_of, stages_of
from burnish_controller.ledger.engine import Pricer
from burnish_controller.pools import pool_problems
from burnish_controller.proposer_spec import protected_problems
from burnish_controller.proxies.models import proxy_problems
from burnish_controller.validation_budget import budget_problems

_SCHEMES = ("http://", "https://", "grpc://")
_SMALL_POOL = 20


class SpecInvalid(InvalidArgument):
    """A job's spec has faults. Never valid; do not retry."""

    default_reason = "JOB_SPEC_INVALID"


def spec_problems(
    spec: job_v1.JobSpec, *, price_of: Pricer, tenant_left: float | None = None
) -> list[str]:
    """Returns every fault of a spec.

    Args:
        spec: The spec.
        price_of: Price of a model for a prompt of so many tokens; None when unknown.
        tenant_left: US dollars that the tenant may still spend; None without a cap.
    """
    return [
        *_app_problems(spec),
        *_model_problems(spec),
        *_stage_problems(spec),
        *_draft_problems(spec),
        *protected_problems(spec),
        *_mode_problems(spec),
        *promotion_problems(spec),
        *proxy_problems(spec),
        *budget_problems(spec, price_of=price_of, tenant_left=tenant_left),
    ]


def require_none(problems: Sequence[str]) -> None:
    """Refuses a job with faults.

    Raises:
        SpecInvalid: With every fault found.
    """
    if problems:
        noun = "problem" if len(problems) == 1 else "problems"
        raise SpecInvalid(
            f"{len(problems)} {noun} in the job: " + "; ".join(problems),
            metadata={f"problem_{n}": problem for n, problem in enumerate(problems)},
        )


def _app_problems(spec: job_v1.JobSpec) -> Iterator[str]:
    uri = spec.task_app.uri
    if not uri.startswith(_SCHEMES):
        yield f"`task_app.uri` is `{uri}`; begin it with http://, https:// or grpc://"
    if not spec.algorithm:
        yield "`algorithm` is empty; use `mipro`, `gepa` or `random`"
    if not 0 <= spec.max_concurrency <= 1024:
        yield f"`max_concurrency` is {spec.max_concurrency}; use a number in [1, 1024]"


def _model_problems(spec: job_v1.JobSpec) -> Iterator[str]:
    named = [("policy_model", spec.policy_model)] if spec.HasField("policy_model") else []
    named += [
        (f"stages[{n}].model", stage.model)
        for n, stage in enumerate(spec.stages)
        if stage.HasField("model")
    ]
    without = [n for n, stage in enumerate(spec.stages) if not stage.HasField("model")]
    if not spec.HasField("policy_model") and (without or not spec.stages):
        yield "`policy_model` is missing; name a provider and a model"
    for place, model in named:
        yield from _one_model(place, model, role=ModelRole.POLICY)
    if spec.proposer.HasField("meta_model"):
        yield from _one_model(
            "proposer.meta_model", spec.proposer.meta_model, role=ModelRole.PROPOSER
        )


def _one_model(place: str, model: types_v1.ModelSpec, *, role: ModelRole) -> Iterator[str]:
    if not model.provider or not model.model:
        yield f"`{place}` lacks a provider or a model; give both"
        return
    for finding in check_model(provider=model.provider, model=model.model, role=role):
        if finding.refused:
            shown = f"{model.provider}/{model.model}"
            yield f"`{place}` is `{shown}`, which {finding.message}; {finding.fix}"


def _stage_problems(spec: job_v1.JobSpec) -> Iterator[str]:
    seen = set()
    for n, stage in enumerate(spec.stages):
        stage_id = stage.template.stage_id
        if not stage_id:
            yield f"`stages[{n}].template.stage_id` is empty; name the stage"
        elif stage_id in seen:
            yield f"stage `{stage_id}` is there twice; give each stage its own id"
        seen.add(stage_id)
    empty = [stage.template.stage_id for stage in spec.stages if not stage.template.messages]
    if empty and len(spec.stages) > 1:
        listed = ", ".join(f"`{stage}`" for stage in empty)
        yield f"stages {listed} have no baseline messages; give them, or leave out every stage"
    if not 0 <= spec.proposer.instruction_count <= 64:
        yield (
            f"`proposer.instruction_count` is {spec.proposer.instruction_count};"
            " use a number in [0, 64]"
        )


def _optimised(stage: job_v1.StageSpec) -> bool:
    return stage.optimise_instruction or stage.optimise_demos


def _draft_problems(spec: job_v1.JobSpec) -> Iterator[str]:
    known = [stage.template.stage_id for stage in spec.stages] or [LEARNT_STAGE]
    kept = {stage.template.stage_id: placeholders(stage.template) for stage in spec.stages}
    for n, draft in enumerate(spec.drafts):
        if draft.stage_id not in known:
            yield f"`drafts[{n}].stage_id` is `{draft.stage_id}`; use one of {', '.join(known)}"
        if not draft.text.strip():
            yield f"`drafts[{n}].text` is empty; write an instruction"
        names = templates.parse(draft.text).names
        lost = [name for name in kept.get(draft.stage_id, []) if name not in names]
        if lost:
            yield f"`drafts[{n}].text` lacks the placeholders {', '.join(lost)}; keep them"
    source = spec.offline.bootstrap.source_job
    if source and not source.startswith("jobs/"):
        yield f"`bootstrap.source_job` is `{source}`; name a job as `jobs/{{job}}`"


def _mode_problems(spec: job_v1.JobSpec) -> Iterator[str]:
    if not spec.HasField("offline"):
        yield "`offline` is missing; this release runs offline jobs"
        return
    yield from pool_problems(spec.offline)
    bootstrap = spec.offline.bootstrap
    if bootstrap.HasField("min_reward") and not 0 <= bootstrap.min_reward <= 1:
        yield f"`bootstrap.min_reward` is {bootstrap.min_reward}; use a number in [0, 1]"
    for name in ("max_bootstrapped_demos", "max_labelled_demos", "max_demo_sets", "min_demo_count"):
        value = getattr(bootstrap, name)
        if value < 0:
            yield f"`bootstrap.{name}` is {value}; use a number of at least 0"


def spec_warnings(spec: job_v1.JobSpec) -> Iterator[str]:
    """Yields what to look at in a spec that is valid."""
    # With it comes what reads configurations, which nothing else here needs.
    from burnish.estimates.foresight import gain_warning

    pools = pools_of(spec)
    if not promotion_problems(spec) and (too_small := gain_warning(spec)):
        yield too_small
    if len(pools.validation) < _SMALL_POOL:
        yield f"the validation pool has {len(pools.validation)} rows: the choice will be noisy"
    if not pools.bootstrap and spec.algorithm != GEPA:
        yield "no bootstrap pool: no demos are gathered"
    bootstrap = spec.offline.bootstrap
    wanted = bootstrap.max_bootstrapped_demos + bootstrap.max_labelled_demos
    if wanted and bootstrap.max_demo_sets <= 1:
        yield "demos are wanted, but `max_demo_sets` leaves only the empty set: raise it above 1"
    if not spec.proposer.instruction_count:
        yield "`proposer.instruction_count` is 0: no instructions are written, only demos chosen"
    if spec.stages and not any(_optimised(stage) for stage in spec.stages):
        yield "no stage is optimised: there is nothing to search"
    if len(stages_of(spec, None)) > 1 and bootstrap.max_labelled_demos:
        yield (
            "labelled demos are left out: rows are labelled for the whole program, and this one"
            f" has {len(spec.stages)} stages"
        )
