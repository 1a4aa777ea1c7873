"""Puts an estimate together: rollouts from the specification, tokens from stated assumptions.

The ends are meant to hold what happens: the low end takes every chance of being cheap, and the high
end every limit for reached. A money figure needs a known price; without one it is unknown, never 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from burnish.api.job.v1 import job_spec_pb2
from burnish.api.verifier.v1 import verifier_service_pb2
from burnish.config import PromptLearningConfig
from burnish.config.resolved import ResolvedJob
from burnish.estimates import roles as parts
from burnish.estimates.figures import (
    CHARACTERS_PER_TOKEN,
    NOTHING,
    Estimate,
    Range,
    RoleEstimate,
    role_of,
)
from burnish.estimates.foresight import gain_found, gain_warning, searched_rows
from burnish.estimates.rollouts import CHEAP, pool_size, rollouts_of
from burnish.job_loading import load_job
from burnish.prices import PriceTable, shared_table

_TASK, _PROPOSER, _JUDGE = "task", "proposer", "judge"


async def estimate_config(
    source: ResolvedJob | PromptLearningConfig | Mapping[str, object] | str | Path,
    *,
    overrides: Mapping[str, object] | None = None,
    task_app_url: str | None = None,
    task_app_api_key: str | None = None,
    prices: PriceTable | None = None,
) -> Estimate:
    """Returns what the job of a configuration will use.

    Args:
        source: As for `burnish.job_loading.load_job`: a file, its text as values, or a config.
        overrides: Values that replace the configuration's, by dotted key.
        task_app_url: Address of the task app, in place of the configuration's.
        task_app_api_key: Key that the task app asks for.
        prices: What models cost; None reads the tables of this process.

    Raises:
        ConfigInvalid: With every fault of the configuration.
        FailedPrecondition: A pool is to be drawn from the app's data, and the app does not answer.
    """
    loaded = await load_job(
        source,
        overrides=overrides,
        task_app_url=task_app_url,
        task_app_api_key=task_app_api_key,
    )
    return estimate_job(loaded.spec, prices=prices)


def estimate_job(
    spec: job_spec_pb2.JobSpec,
    *,
    prices: PriceTable | None = None,
    graph: verifier_service_pb2.VerifierGraph | None = None,
) -> Estimate:
    """Returns what a job will use, as far as its specification tells.

    Args:
        spec: The specification.
        prices: What models cost; None reads the tables of this process.
        graph: The verifier graph, whole, when the specification only names it.
    """
    table = shared_table() if prices is None else prices
    rollouts = rollouts_of(spec)
    cheap = rollouts.get(CHEAP, NOTHING)
    own = sum((part for name, part in rollouts.items() if name != CHEAP), NOTHING)
    total = own + cheap
    chosen = graph if graph is not None else _graph(spec)
    found = {
        _TASK: role_of([*parts.policy_uses(spec, own), *parts.cheap_uses(spec, cheap)], table),
        _PROPOSER: role_of(parts.proposer_uses(spec), table),
        _JUDGE: role_of(parts.judge_uses(spec, chosen, total), table),
    }
    by_role = spec.budget.max_cost_usd_by_role
    found = {role: _capped(one, by_role.get(role)) for role, one in found.items()}
    if _unknown_graph(spec, chosen):
        found[_JUDGE] = replace(found[_JUDGE], model="not known here", cost_usd=None)
    cost = _cost(found)
    capped = spec.budget.max_cost_usd if spec.budget.HasField("max_cost_usd") else None
    rows = pool_size(spec.offline.test_pool)
    tokens = sum((one.input_tokens + one.output_tokens for one in found.values()), NOTHING)
    return Estimate(
        rollouts=rollouts,
        roles=found,
        calls=sum((one.calls for one in found.values()), NOTHING),
        tokens=tokens.at_most(spec.budget.max_tokens or None),
        cost_usd=None if cost is None else cost.at_most(capped),
        capped_usd=capped,
        assumptions=tuple(_assumptions(spec, found, chosen)),
        test_rows=rows,
        searched_rows=searched_rows(spec) if rows else 0,
        detectable_gain=gain_found(spec),
        warnings=tuple(one for one in (gain_warning(spec),) if one),
    )


def _cost(found: Mapping[str, RoleEstimate]) -> Range | None:
    total = NOTHING
    for one in found.values():
        if one.cost_usd is None:
            return None
        total += one.cost_usd
    return total


def _capped(role: RoleEstimate, cap: float | None) -> RoleEstimate:
    if role.cost_usd is None or cap is None:
        return role
    return replace(role, cost_usd=role.cost_usd.at_most(cap))


def _graph(spec: job_spec_pb2.JobSpec) -> verifier_service_pb2.VerifierGraph | None:
    graph = spec.scoring.verifier_graph
    return graph if graph.nodes else None


def _unknown_graph(
    spec: job_spec_pb2.JobSpec, chosen: verifier_service_pb2.VerifierGraph | None
) -> bool:
    return spec.scoring.HasField("verifier_graph") and chosen is None


def _assumptions(
    spec: job_spec_pb2.JobSpec,
    found: Mapping[str, RoleEstimate],
    graph: verifier_service_pb2.VerifierGraph | None,
) -> Iterator[str]:
    dense, sparse = CHARACTERS_PER_TOKEN
    yield (
        f"the program makes one call for each of its stages in a rollout"
        f" ({max(1, len(spec.stages))}), and none is tried again"
    )
    yield f"a token is {dense:g} to {sparse:g} characters of the prompts that are known"
    yield (
        f"a row adds {parts.ROW_TOKENS[0]} to {parts.ROW_TOKENS[1]} tokens, a demo up to"
        f" {parts.DEMO_TOKENS}, a new instruction up to {parts.INSTRUCTION_TOKENS[1]}"
    )
    yield (
        f"an answer has up to the model's output limit, or {parts.ANSWER_TOKENS[1]} tokens where"
        " there is none"
    )
    if spec.HasField("proxy"):
        yield "every minibatch runs on the cheap model as well at the high end"
    yield "the search ends after one minibatch at the low end, and never early at the high end"
    if found[_PROPOSER].calls.high:
        yield "every proposal is refused as often as it may be at the high end"
    if not parts.own_proposer(spec):
        yield f"proposer `{spec.proposer.proposer}` pays for its own calls"
    if found[_JUDGE].calls.high:
        (_, read), (_, written) = parts.JUDGE_TOKENS
        yield f"a call of a judge reads up to {read} tokens and writes up to {written}"
    if _unknown_graph(spec, graph):
        name = spec.scoring.verifier_graph.name
        yield f"graph `{name}` is only named here: what its judges will do and cost is unknown"
    yield "at the low end every prompt is read from the provider's cache, where that is cheaper"
    for role, one in found.items():
        if one.cost_usd is None and one.calls.high:
            yield f"the price of {one.model} ({role}) is unknown, and so is the cost"
