"""Which models a job's rollouts run on: fidelity 0 are its own, fidelity 1 has the cheap one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from google.protobuf import json_format

from burnish.api.job import v1 as job_v1
from burnish.api.policy import v1 as policy_v1
from burnish.api.types import v1 as types_v1
from burnish.gepa_plan import GEPA
from burnish.models import ModelRole, check_model
from burnish_controller.proxies.run import ProxyRun, Rules

OWN, LOW = 0, 1
_MARK = "~low"
_SHARES = ("min_r2", "stop_r2")
_AMOUNTS = ("max_variance", "stop_variance", "min_pair_count", "verify_every")


def policy_id(job_id: str, fidelity: int) -> str:
    """Returns the id of the policy that a rollout's calls go by; no job's id has such an end."""
    return job_id + _MARK if fidelity == LOW else job_id


def job_of(policy: str) -> tuple[str, int]:
    """Returns the job and the fidelity that a job's policy is of."""
    job_id = policy.removesuffix(_MARK)
    return job_id, LOW if job_id != policy else OWN


def model_at(spec: job_v1.JobSpec, model: types_v1.ModelSpec, fidelity: int) -> types_v1.ModelSpec:
    """Returns the model in the place of another one at a fidelity."""
    if fidelity != LOW or not _same(model, spec.proxy.high_model):
        return model
    low = types_v1.ModelSpec()
    low.CopyFrom(spec.proxy.low_model)
    if not low.HasField("temperature") and model.HasField("temperature"):
        low.temperature = model.temperature
    low.max_output_tokens = low.max_output_tokens or model.max_output_tokens
    if not low.base_url and low.provider == model.provider:
        low.base_url = model.base_url
    return low


def stages_at(
    spec: job_v1.JobSpec, stages: Sequence[policy_v1.StagePolicy], fidelity: int
) -> list[policy_v1.StagePolicy]:
    """Returns stages with their models at a fidelity."""
    found = []
    for stage in stages:
        other = policy_v1.StagePolicy()
        other.CopyFrom(stage)
        other.model.CopyFrom(model_at(spec, stage.model, fidelity))
        found.append(other)
    return found


def proxy_of(spec: job_v1.JobSpec) -> ProxyRun | None:
    """Returns the cheap model of a job before its search; None without one."""
    if not spec.HasField("proxy"):
        return None
    given, usual = _given(spec), Rules()
    return ProxyRun(
        Rules(
            min_pairs=int(given.get("min_pair_count", usual.min_pairs)),
            min_r2=given.get("min_r2", usual.min_r2),
            stop_r2=given.get("stop_r2", usual.stop_r2),
            max_variance=given.get("max_variance", usual.max_variance),
            stop_variance=given.get("stop_variance", usual.stop_variance),
            verify_every=int(given.get("verify_every", usual.verify_every)),
            min_net_gain_usd=given.get("min_net_gain_usd", usual.min_net_gain_usd),
        )
    )


def proxy_problems(spec: job_v1.JobSpec) -> Iterator[str]:
    """Yields every fault of a job's cheap model."""
    if not spec.HasField("proxy"):
        return
    proxy = spec.proxy
    yield from _model_problems("proxy.low_model", proxy.low_model)
    used = [stage.model for stage in spec.stages if stage.HasField("model")]
    if spec.HasField("policy_model"):
        used.append(spec.policy_model)
    named = _name(proxy.high_model)
    if not any(_same(model, proxy.high_model) for model in used):
        yield f"`proxy.high_model` is `{named}`, which no stage runs on; name a stage's model"
    elif _same(proxy.low_model, proxy.high_model):
        yield f"`proxy.low_model` is `{named}`, the dear model itself; name a cheaper one"
    for key, value in _given(spec).items():
        if key in _SHARES and not 0 <= value <= 1:
            yield f"`proxy.{key}` is {value}; use a number in [0, 1]"
        elif key in _AMOUNTS and not value >= 0:
            yield f"`proxy.{key}` is {value}; use a number of at least 0"
    if spec.algorithm == GEPA:
        yield (
            "`proxy` is given and `algorithm` is `gepa`, which measures every reward; remove"
            " `proxy`"
        )
    settings = json_format.MessageToDict(spec.algorithm_settings)
    for setting, taken in (("engine", "race"), ("protocol", "miprov2")):
        if settings.get(setting) == taken:
            yield (
                f"`proxy` is given and `algorithm_settings.{setting}` is `{taken}`, which takes"
                " every reward for a measurement; remove one of the two"
            )


def _given(spec: job_v1.JobSpec) -> dict[str, float]:
    """Returns the numbers that are set."""
    fields = ((field.name, value) for field, value in spec.proxy.ListFields())
    return {name: value for name, value in fields if isinstance(value, int | float)}


def _model_problems(place: str, model: types_v1.ModelSpec) -> Iterator[str]:
    if not model.provider or not model.model:
        yield f"`{place}` lacks a provider or a model; give both"
        return
    for finding in check_model(provider=model.provider, model=model.model, role=ModelRole.PROXY):
        if finding.refused:
            yield f"`{place}` is `{_name(model)}`, which {finding.message}; {finding.fix}"


def _same(model: types_v1.ModelSpec, other: types_v1.ModelSpec) -> bool:
    return (model.provider, model.model) == (other.provider, other.model)


def _name(model: types_v1.ModelSpec) -> str:
    return f"{model.provider}/{model.model}"
