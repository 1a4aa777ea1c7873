"""What a job will cost before it runs: rollouts, calls, tokens and money by role, low and high.

The rollouts follow from the specification. The tokens are assumptions, and are named as such: the
prompt as far as it is known, what a row and a demo usually add, and for the high end the output
limit. A money figure needs a known price; without one it is unknown, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.json_format import MessageToDict

from burnish.api.job.v1 import job_spec_pb2
from burnish.api.proposer.v1 import proposer_service_pb2
from burnish.api.types.v1 import model_pb2
from burnish.prices import shared_table

_CHARACTERS_PER_TOKEN = 4
_ROW_TOKENS = (15, 300)
_INSTRUCTION_TOKENS = (60, 800)
_DEMO_TOKENS = (30, 300)
_ANSWER_TOKENS = (5, 512)
_META_INPUT_TOKENS = {
    proposer_service_pb2.EFFORT_LOW_CONTEXT: (500, 6_000),
    proposer_service_pb2.EFFORT_LOW: (1_500, 25_000),
    proposer_service_pb2.EFFORT_MEDIUM: (4_000, 80_000),
    proposer_service_pb2.EFFORT_HIGH: (8_000, 200_000),
}
_META_OUTPUT_TOKENS = {
    proposer_service_pb2.OUTPUT_TIER_RAPID: 3_000,
    proposer_service_pb2.OUTPUT_TIER_FAST: 10_000,
    proposer_service_pb2.OUTPUT_TIER_SLOW: 25_000,
}
_META_OUTPUT_LOW = 150
_META_MODELS = {
    proposer_service_pb2.EFFORT_LOW_CONTEXT: ("groq", "openai/gpt-oss-120b"),
    proposer_service_pb2.EFFORT_LOW: ("openai", "gpt-4o-mini"),
    proposer_service_pb2.EFFORT_MEDIUM: ("openai", "gpt-4o"),
    proposer_service_pb2.EFFORT_HIGH: ("openai", "gpt-5"),
}
_DEFAULT_TRIALS = 100
_DEFAULT_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A figure between a low and a high end."""

    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(low=self.low + other.low, high=self.high + other.high)

    def times(self, low: float, high: float) -> Range:
        """Returns the range with each end multiplied."""
        return Range(low=self.low * low, high=self.high * high)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleEstimate:
    """What one role will use.

    Attributes:
        model: Provider and model, several joined by commas.
        calls: Model calls.
        input_tokens: Tokens read.
        output_tokens: Tokens written.
        cost_usd: US dollars; None when a price is unknown.
    """

    model: str
    calls: Range
    input_tokens: Range
    output_tokens: Range
    cost_usd: Range | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a job will use.

    Attributes:
        rollouts: By phase.
        roles: By role.
        cost_usd: Over every role; None when a price is unknown.
        capped_usd: The money cap of the job; None without one.
    """

    rollouts: Mapping[str, Range]
    roles: Mapping[str, RoleEstimate]
    cost_usd: Range | None
    capped_usd: float | None


def estimate_job(spec: job_spec_pb2.JobSpec) -> Estimate:
    """Returns what a job will use, as far as its specification tells."""
    rollouts = _rollouts(spec)
    total = Range(low=0, high=0)
    for part in rollouts.values():
        total += part
    roles = {"task": _task(spec, total), "proposer": _proposer(spec)}
    costs = [role.cost_usd for role in roles.values()]
    known = [cost for cost in costs if cost is not None]
    cost = sum(known, Range(low=0, high=0)) if len(known) == len(costs) else None
    capped = spec.budget.max_cost_usd if spec.budget.HasField("max_cost_usd") else None
    if cost is not None and capped is not None:
        cost = Range(low=min(cost.low, capped), high=min(cost.high, capped))
    return Estimate(rollouts=rollouts, roles=roles, cost_usd=cost, capped_usd=capped)


def pool_size(pool: model_pb2.SeedPool) -> int:
    """Returns how many seeds a pool has."""
    ranged = sum(len(range(one.start, one.end, one.step or 1)) for one in pool.ranges)
    return len(pool.seeds) + ranged


def _rollouts(spec: job_spec_pb2.JobSpec) -> dict[str, Range]:
    offline = spec.offline
    baseline = pool_size(offline.validation_pool)
    bootstrap = pool_size(offline.bootstrap_pool)
    planned = _search_rollouts(spec, validation=baseline)
    cap = spec.budget.max_rollouts
    search = planned if not cap else max(0, min(planned, cap - baseline - bootstrap))
    test = pool_size(offline.test_pool)
    return {
        "baseline": Range(low=baseline, high=baseline),
        "bootstrap": Range(low=bootstrap, high=bootstrap),
        # A search may end early: by its target, without improvement, or with nothing left to try.
        "search": Range(low=search / 2, high=search),
        # The baseline alone is tested when it wins.
        "test": Range(low=test, high=2 * test),
    }


def _search_rollouts(spec: job_spec_pb2.JobSpec, *, validation: int) -> int:
    settings = MessageToDict(spec.algorithm_settings)

    def whole(key: str, default: int) -> int:
        value = settings.get(key)
        return int(value) if isinstance(value, int | float) else default

    trials = whole("num_iterations", 0) * whole("num_evaluations_per_iteration", 0)
    trials = whole("num_trials", trials or _DEFAULT_TRIALS)
    if spec.budget.max_trials:
        trials = min(trials, spec.budget.max_trials)
    batch = whole("batch_size", _DEFAULT_BATCH)
    every, top = whole("full_eval_every_k", 5), whole("top_k", 2)
    return trials * batch + (trials // max(1, every) + top) * validation


def _task(spec: job_spec_pb2.JobSpec, rollouts: Range) -> RoleEstimate:
    low_in = high_in = low_out = high_out = 0.0
    stages = list(spec.stages) or [job_spec_pb2.StageSpec()]
    models = []
    costs: list[Range | None] = []
    for stage in stages:
        model = stage.model if stage.HasField("model") else spec.policy_model
        models.append(f"{model.provider}/{model.model}")
        stage_in, stage_out = _stage_tokens(spec, stage, model)
        used_in = stage_in.times(rollouts.low, rollouts.high)
        used_out = stage_out.times(rollouts.low, rollouts.high)
        costs.append(_cost(model, used_in, used_out))
        low_in, high_in = low_in + used_in.low, high_in + used_in.high
        low_out, high_out = low_out + used_out.low, high_out + used_out.high
    known = [cost for cost in costs if cost is not None]
    return RoleEstimate(
        model=", ".join(dict.fromkeys(models)),
        calls=rollouts.times(len(stages), len(stages)),
        input_tokens=Range(low=low_in, high=high_in),
        output_tokens=Range(low=low_out, high=high_out),
        cost_usd=sum(known, Range(low=0, high=0)) if len(known) == len(costs) else None,
    )


def _stage_tokens(
    spec: job_spec_pb2.JobSpec, stage: job_spec_pb2.StageSpec, model: model_pb2.ModelSpec
) -> tuple[Range, Range]:
    known = sum(len(one.pattern) for one in stage.template.messages) / _CHARACTERS_PER_TOKEN
    demos = spec.offline.bootstrap.max_bootstrapped_demos if stage.optimise_demos else 0
    grown = _INSTRUCTION_TOKENS[1] if stage.optimise_instruction else 0
    read = Range(
        low=(known or _INSTRUCTION_TOKENS[0]) + _ROW_TOKENS[0],
        high=(known or _INSTRUCTION_TOKENS[1]) + grown + _ROW_TOKENS[1] + demos * _DEMO_TOKENS[1],
    )
    limit = model.max_output_tokens or _ANSWER_TOKENS[1]
    return read, Range(low=min(_ANSWER_TOKENS[0], limit), high=limit)


def _proposer(spec: job_spec_pb2.JobSpec) -> RoleEstimate:
    proposer = spec.proposer
    effort = proposer.effort or proposer_service_pb2.EFFORT_LOW
    tier = proposer.output_tier or proposer_service_pb2.OUTPUT_TIER_FAST
    meta = proposer.meta_model
    if not meta.provider:
        provider, name = _META_MODELS[effort]
        meta = model_pb2.ModelSpec(provider=provider, model=name)
    stages = sum(stage.optimise_instruction for stage in spec.stages) if spec.stages else 1
    settings = MessageToDict(spec.algorithm_settings)
    rounds = len(settings.get("generate_at_iterations", [0]))
    wanted = proposer.instruction_count * stages * rounds
    # The summary of the data is a call of its own; a refused proposal is asked for again.
    calls = Range(low=wanted, high=wanted * (1 + min(1, proposer.retry_limit)) + stages)
    if wanted == 0:
        calls = Range(low=0, high=0)
    read_low, read_high = _META_INPUT_TOKENS[effort]
    read = calls.times(read_low, read_high)
    written = calls.times(_META_OUTPUT_LOW, _META_OUTPUT_TOKENS[tier])
    return RoleEstimate(
        model=f"{meta.provider}/{meta.model}",
        calls=calls,
        input_tokens=read,
        output_tokens=written,
        cost_usd=_cost(meta, read, written),
    )


def _cost(model: model_pb2.ModelSpec, read: Range, written: Range) -> Range | None:
    price = shared_table().price_of(model)
    if price is None:
        return None
    return read.times(price.input_usd_per_million / 1e6, price.input_usd_per_million / 1e6) + (
        written.times(price.output_usd_per_million / 1e6, price.output_usd_per_million / 1e6)
    )
