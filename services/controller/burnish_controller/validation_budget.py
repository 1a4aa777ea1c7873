"""Finds the faults of a job's budget, the closing test that it cannot afford among them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from burnish.api.job import v1 as job_v1
from burnish.api.policy import v1 as policy_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import LEAST_TO_LEARN, pools_of, stages_of
from burnish_controller.ledger.budget import ROLES
from burnish_controller.ledger.engine import Pricer
from burnish_controller.ledger.purse import TENANT_MAX_USD, TENANT_MAX_USD_PER_DAY
from burnish_controller.pools import pool_problems

_TOKENS_PER_USER_TURN = 512


def budget_problems(
    spec: job_v1.JobSpec, *, price_of: Pricer, tenant_left: float | None = None
) -> Iterator[str]:
    """Yields every fault of a spec's budget.

    Args:
        spec: The spec.
        price_of: Price of a model for a prompt of so many tokens; None when unknown.
        tenant_left: US dollars that the tenant may still spend; None without a cap.
    """
    yield from _cap_problems(spec.budget)
    yield from _price_problems(spec, price_of, tenant_capped=tenant_left is not None)
    if spec.HasField("offline") and not pool_problems(spec.offline):
        yield from _rollout_problems(spec)
        yield from _closing_problems(spec, price_of, tenant_left)


def _cap_problems(budget: job_v1.Budget) -> Iterator[str]:
    counts = ("max_rollouts", "max_tokens", "max_trials", "max_trials_without_improvement")
    for name in counts:
        value = getattr(budget, name)
        if value < 0:
            yield f"`budget.{name}` is {value}; use 0 for none"
    if budget.HasField("max_duration") and budget.max_duration.ToNanoseconds() <= 0:
        yield "`budget.max_duration` is not above 0; leave it out for none"
    if budget.HasField("max_cost_usd") and not _is_money(budget.max_cost_usd):
        yield f"`budget.max_cost_usd` is {budget.max_cost_usd}; use a number of at least 0"
    for role, usd in sorted(budget.max_cost_usd_by_role.items()):
        if role not in ROLES:
            listed = ", ".join(f"`{known}`" for known in ROLES)
            yield f"`budget.max_cost_usd_by_role` names `{role}`; use {listed}"
        elif not _is_money(usd):
            yield f"`budget.max_cost_usd_by_role.{role}` is {usd}; use a number of at least 0"
    if budget.HasField("target_reward") and not 0 < budget.target_reward <= 1:
        yield f"`budget.target_reward` is {budget.target_reward}; use a number in (0, 1]"


def _price_problems(
    spec: job_v1.JobSpec, price_of: Pricer, *, tenant_capped: bool
) -> Iterator[str]:
    """A money cap cannot be kept for a model whose price nobody knows."""
    named = {
        (model.provider, model.model): ("task", place, model)
        for place, model in _policy_models(spec)
    }
    if spec.proposer.HasField("meta_model") and spec.proposer.instruction_count:
        meta = spec.proposer.meta_model
        named[meta.provider, meta.model] = ("proposer", "proposer.meta_model", meta)
    for role, place, model in named.values():
        capped = spec.budget.HasField("max_cost_usd") or role in spec.budget.max_cost_usd_by_role
        capped = capped or tenant_capped
        if capped and model.model and _price(model, price_of) is None:
            yield (
                f"the price of `{place}` (`{model.provider}/{model.model}`) is unknown, so the"
                " money cap could not be kept; give its `price`, or add it to the file that"
                " BURNISH_PRICES_FILE names"
            )


def _rollout_problems(spec: job_v1.JobSpec) -> Iterator[str]:
    cap = spec.budget.max_rollouts
    if cap <= 0:
        return
    baseline = len(pools_of(spec).validation)
    learning = 0 if stages_of(spec, None) else LEAST_TO_LEARN
    least = baseline + learning + 2
    if cap < least:
        also = f", and learning it {learning}" if learning else ""
        yield (
            f"`budget.max_rollouts` is {cap}, but the baseline alone takes {baseline}{also};"
            f" use at least {least}, or shrink `validation_pool`"
        )


def _closing_problems(
    spec: job_v1.JobSpec, price_of: Pricer, tenant_left: float | None
) -> Iterator[str]:
    """The closing test is reserved first; a job that cannot afford it is refused."""
    budget = spec.budget
    rows = 2 * len(pools_of(spec).test)
    stages = stages_of(spec, None)
    tokens = rows * (sum(sum(_least_tokens(stage)) for stage in stages) or _TOKENS_PER_USER_TURN)
    if 0 < budget.max_tokens < tokens:
        yield (
            f"`budget.max_tokens` is {budget.max_tokens}, but the closing test can take {tokens};"
            " raise it or shrink `test_pool`"
        )
    usd = 0.0
    for stage in stages:
        price = _price(stage.model, price_of)
        if price is not None:
            read, written = _least_tokens(stage)
            paid = read * price.input_usd_per_million + written * price.output_usd_per_million
            usd += rows * paid / 1e6
    if tenant_left is not None and tenant_left < usd:
        yield (
            f"the suite's caps (`{TENANT_MAX_USD}` and `{TENANT_MAX_USD_PER_DAY}`) leave"
            f" {max(0.0, tenant_left):g}, but the closing test can cost {usd:g} US dollars; raise"
            " them or shrink `test_pool`"
        )
    caps = {"max_cost_usd_by_role.task": budget.max_cost_usd_by_role.get("task", math.inf)}
    if budget.HasField("max_cost_usd"):
        caps["max_cost_usd"] = budget.max_cost_usd
    for name, cap in caps.items():
        if cap < usd:
            yield (
                f"`budget.{name}` is {cap:g}, but the closing test can cost {usd:g} US dollars;"
                " raise it or shrink `test_pool`"
            )


def _least_tokens(stage: policy_v1.StagePolicy) -> tuple[int, int]:
    """Returns the least that has to be reserved for one call: tokens read and written."""
    read = sum(len(message.pattern.encode()) for message in stage.template.messages)
    return read, stage.model.max_output_tokens


def _policy_models(spec: job_v1.JobSpec) -> Iterator[tuple[str, types_v1.ModelSpec]]:
    for n, stage in enumerate(spec.stages):
        if stage.HasField("model"):
            yield f"stages[{n}].model", stage.model
    if spec.HasField("policy_model"):
        yield "policy_model", spec.policy_model
    if spec.HasField("proxy"):
        yield "proxy.low_model", spec.proxy.low_model


def _price(model: types_v1.ModelSpec, price_of: Pricer) -> types_v1.Price | None:
    return model.price if model.HasField("price") else price_of(model, None)


def _is_money(usd: float) -> bool:
    return math.isfinite(usd) and usd >= 0
