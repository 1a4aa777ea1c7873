"""Says whether an online policy can be served here, and if not, why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

from burnish.errors import BurnishError
from burnish_interceptor.policies.policy import Model, Policy, Rejection

ModelCheck = Callable[[Model], object]
"""Raises a `BurnishError` when calls of a model cannot be made from here."""


def rejection_of(policy: Policy, *, check: ModelCheck | None = None) -> Rejection | None:
    """Returns why a policy cannot be served, or None when it can.

    Args:
        policy: The policy.
        check: Says whether a model can be called from here; None asks nobody.
    """
    faults = list(_faults(policy))
    if faults:
        return Rejection(reason="POLICY_INVALID", message="; ".join(faults))
    if check is not None:
        for stage in policy.stages:
            try:
                check(stage.model)
            except BurnishError as error:
                return Rejection(reason=error.reason, message=error.message)
    return None


def _faults(policy: Policy) -> Iterable[str]:
    if policy.synchronous or policy.learning_baseline:
        yield "it is the policy of a job, which is not for online traffic"
    if not policy.stages:
        yield "it has no stages"
    for stage_id, count in Counter(stage.stage_id for stage in policy.stages).items():
        if count > 1 or not stage_id:
            yield f"stage `{stage_id}` is given {count} times"
    for stage in policy.stages:
        if not stage.model.provider or not stage.model.name:
            yield f"stage `{stage.stage_id}` has no model"
    for arm in policy.arms:
        if not math.isfinite(arm.weight) or arm.weight < 0:
            yield f"arm `{arm.name}` has weight {arm.weight:g}"
    if policy.arms and not any(arm.weight > 0 for arm in policy.arms):
        yield "no arm has a weight above 0"
