"""Runs prompts over some seeds: a job that only measures, and the calls that it made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from burnish import rpc
from burnish.api.job.v1 import job_spec_pb2
from burnish.api.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from burnish.client import AsyncClient
from burnish.errors import InvalidArgument, NotFound
from burnish.identity import RolloutKey, rollout_id
from burnish.job_spec import seed_pool
from burnish.plain import Plain, to_plain
from burnish.results import JobOutcome

_TIMEOUT_SECONDS = 30.0
_IN_FLIGHT = 8


LEARNT_STAGE = "main"


def evaluation_spec(
    spec: job_spec_pb2.JobSpec, seeds: Sequence[int], *, prompt: str | None = None, stage: str = ""
) -> job_spec_pb2.JobSpec:
    """Returns a job that measures the app's own prompt on some seeds and searches for nothing.

    Args:
        spec: The job that app, model, stages and scoring are taken from.
        seeds: Seeds to run, without repeats.
        prompt: Instruction to measure beside the app's own, on the same seeds; None for none.
        stage: Stage that the instruction is for; empty means the only one.

    Raises:
        InvalidArgument: The stage is not one of the program's, or is not given where it must be.
    """
    own = job_spec_pb2.JobSpec()
    own.CopyFrom(spec)
    # This sampler covers every instruction before it repeats one: two looks see the given one.
    own.algorithm = "mipro"
    own.algorithm_settings.Clear()
    own.algorithm_settings.update({"num_trials": 2, "batch_size": 1, "top_k": 2})
    for one in own.stages:
        one.optimise_instruction = one.optimise_demos = False
    if prompt is not None:
        own.drafts.add(stage_id=_drafted_stage(own, stage), text=prompt)
    own.proposer.instruction_count = 0
    own.ClearField("budget")
    if spec.budget.HasField("max_cost_usd"):
        own.budget.max_cost_usd = spec.budget.max_cost_usd
    own.budget.max_tokens = spec.budget.max_tokens
    own.budget.max_cost_usd_by_role.update(spec.budget.max_cost_usd_by_role)
    own.offline.Clear()
    own.offline.validation_pool.CopyFrom(seed_pool(seeds))
    own.offline.online_pool.CopyFrom(seed_pool(seeds))
    own.offline.bootstrap.max_demo_sets = 1
    return own


def _drafted_stage(spec: job_spec_pb2.JobSpec, stage: str) -> str:
    known = [one.template.stage_id for one in spec.stages] or [LEARNT_STAGE]
    chosen = stage or (known[0] if len(known) == 1 else "")
    if chosen not in known:
        raise InvalidArgument(
            f"stage `{stage}` is not one of {', '.join(known)}; name one of them with --stage",
            reason="STAGE_UNKNOWN",
        )
    for one in spec.stages:
        one.optimise_instruction = one.template.stage_id == chosen
    return chosen


def parse_seeds(text: str) -> list[int]:
    """Reads seeds such as `0-49`, `1,5,9` or `0-9,20-29`; both ends of a range count.

    Raises:
        InvalidArgument: The text has another form, or names no seed.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InvalidArgument(
                f"seeds `{text}`: `{part}` is neither a seed nor a range; write 0-49 or 1,5,9",
                reason="SEEDS_INVALID",
            )
        seeds.update(dict.fromkeys(range(int(first), int(last or first) + 1)))
    if not seeds:
        raise InvalidArgument(f"seeds `{text}` name no seed", reason="SEEDS_INVALID")
    return list(seeds)


async def rollout_calls(
    client: AsyncClient, spec: job_spec_pb2.JobSpec, job: str, outcome: JobOutcome
) -> list[Plain]:
    """Gets every model call of the full evaluations, by candidate, in the order of the seeds.

    Args:
        client: Talks to the controller.
        spec: What the job was to do.
        job: Resource name of the job.
        outcome: What it found.
    """
    if outcome.baseline is None:
        return []
    models = _models(spec, [stage.stage_id for stage in outcome.baseline.prompt.stages])
    stub = trace_service_pb2_grpc.TraceServiceStub(client.channel())
    gate = asyncio.Semaphore(_IN_FLIGHT)

    async def of_seed(candidate_id: str, seed: int) -> list[Plain]:
        key = RolloutKey(
            job=job,
            candidate_id=candidate_id,
            pool="POOL_VALIDATION",
            seed=seed,
            repeat=0,
            models=models,
        )
        async with gate:
            found = await _calls(stub, rollout_id(key))
        return [{"seed": seed, "candidate_id": candidate_id, **call} for call in found]

    wanted = [
        of_seed(candidate.prompt.candidate_id, seed)
        for candidate in outcome.candidates
        for seed in _seeds(spec)
    ]
    return [call for calls in await asyncio.gather(*wanted) for call in calls]


def _seeds(spec: job_spec_pb2.JobSpec) -> Iterable[int]:
    pool = spec.offline.validation_pool
    yield from pool.seeds
    for one in pool.ranges:
        yield from range(one.start, one.end, one.step or 1)


def _models(spec: job_spec_pb2.JobSpec, stage_ids: Sequence[str]) -> dict[str, str]:
    own = {stage.template.stage_id: stage for stage in spec.stages}
    found = {}
    for stage_id in stage_ids:
        stage = own.get(stage_id)
        model = stage.model if stage is not None and stage.HasField("model") else spec.policy_model
        found[stage_id] = f"{model.provider}/{model.model}"
    return found


async def _calls(stub: trace_service_pb2_grpc.TraceServiceStub, rollout: str) -> list[Plain]:
    found: list[Plain] = []
    token = ""
    while True:
        request = trace_service_pb2.ListTracesRequest(rollout_id=rollout, page_token=token)
        try:
            async with rpc.translated():
                page = await stub.ListTraces(request, timeout=_TIMEOUT_SECONDS)
        except NotFound:
            # A seed that was not scored may have made no call at all.
            return found
        found += [to_plain(trace) for trace in page.traces]
        token = page.next_page_token
        if not token:
            return found
