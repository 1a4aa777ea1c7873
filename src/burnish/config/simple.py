"""Works out `MIPROConfig.simple`: pools, iterations and one stage from a rollout budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, SecretStr

from burnish.config.base import ConfigModel, NonNegInt, Number, PosInt, Raw, read_alone
from burnish.config.enums import ProviderName
from burnish.config.policy import MessagePatternConfig
from burnish.config.seeds import Seeds
from burnish.config.sizes import clamp

_FALLBACK_INSTRUCTION = "Complete the task."
_ONLINE_START = 10
_PRESETS: dict[str, tuple[str, str, float, int]] = {
    "fast": ("LOW", "gpt-4o-mini", 0.7, 512),
    "balanced": ("LOW", "gpt-4o-mini", 0.8, 1024),
    "high_quality": ("MEDIUM", "gpt-4o", 0.9, 2048),
}


class SimpleSettings(ConfigModel):
    """Arguments of `MIPROConfig.simple`; absent ones follow from the budget."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    task_app_url: str = Field(min_length=1)
    task_app_api_key: SecretStr = Field(min_length=1)
    env_name: str = Field(min_length=1)
    rollout_budget: PosInt
    initial_prompt_messages: list[MessagePatternConfig] = Field(min_length=1)
    task_app_id: str | None = None
    bootstrap_seeds: Seeds | None = None
    online_seeds: Seeds | None = None
    test_seeds: Seeds | None = None
    reference_pool: Seeds | None = None
    env_config: dict[str, object] | None = None
    num_iterations: PosInt | None = None
    num_evaluations_per_iteration: PosInt | None = None
    batch_size: PosInt | None = None
    max_concurrent: PosInt = 10
    min_bootstrap_demos: NonNegInt = 0
    meta_preset: Literal["fast", "balanced", "high_quality"] | None = None
    policy_model: str = "openai/gpt-oss-20b"
    policy_provider: ProviderName = ProviderName.GROQ
    policy_temperature: Annotated[Number, Field(ge=0, le=2)] = 1.0
    policy_max_completion_tokens: PosInt = 512
    policy_name: str | None = None
    meta_model: str | None = None
    meta_provider: ProviderName | None = None
    meta_inference_url: str | None = None

    @staticmethod
    def read(arguments: Mapping[str, object]) -> SimpleSettings:
        """Checks the arguments, all at once.

        Raises:
            ConfigError: With every problem.
        """
        given = {key: value for key, value in arguments.items() if value is not None}
        given["initial_prompt_messages"] = [
            message.model_dump(exclude_none=True)
            if isinstance(message, MessagePatternConfig)
            else message
            for message in _items(given.get("initial_prompt_messages"))
        ]
        return read_alone(SimpleSettings, given, name="simple")


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class SimplePlan:
    """What follows from a budget.

    Attributes:
        bootstrap: Seeds to bootstrap from.
        online: Seeds for minibatches.
        reference: Seeds that the proposer may read.
        num_iterations: Iterations.
        num_evaluations_per_iteration: Trials per iteration.
        batch_size: Seeds per trial.
    """

    bootstrap: tuple[int, ...]
    online: tuple[int, ...]
    reference: tuple[int, ...]
    num_iterations: int
    num_evaluations_per_iteration: int
    batch_size: int


def plan(settings: SimpleSettings) -> SimplePlan:
    """Derives pools that share no seed, and the shape of the search."""
    budget = settings.rollout_budget
    taken = {
        seed
        for pool in (
            settings.bootstrap_seeds,
            settings.online_seeds,
            settings.test_seeds,
            settings.reference_pool,
        )
        for seed in pool or ()
    }
    bootstrap = settings.bootstrap_seeds
    if bootstrap is None:
        bootstrap = _free(0, clamp(budget // 10, 3, 10), taken)
    online_size = clamp(budget // 3, 5, 50)
    online = settings.online_seeds
    if online is None:
        online = _free(_ONLINE_START, online_size, taken)
    reference = settings.reference_pool
    if reference is None:
        start = max(online, default=_ONLINE_START) + 1
        reference = _free(start, clamp(budget // 5, 5, 30), taken)
    evaluations = clamp(budget // (2 * online_size), 3, 10)
    iterations = clamp(budget // (online_size * evaluations), 5, 20)
    per = clamp(budget // (5 * online_size), 5, 20)
    return SimplePlan(
        bootstrap=bootstrap,
        online=online,
        reference=reference,
        num_iterations=settings.num_iterations or iterations,
        num_evaluations_per_iteration=settings.num_evaluations_per_iteration
        or clamp(budget // (online_size * per), 3, 10),
        batch_size=settings.batch_size or clamp(len(online), 1, 32),
    )


def _free(start: int, count: int, taken: set[int]) -> tuple[int, ...]:
    seeds: list[int] = []
    seed = start
    while len(seeds) < count:
        if seed not in taken:
            seeds.append(seed)
        seed += 1
    taken.update(seeds)
    return tuple(seeds)


def simple_mapping(settings: SimpleSettings) -> Raw:
    """Returns the table that `MIPROConfig.simple` stands for."""
    planned = plan(settings)
    table: Raw = {
        "task_app_url": settings.task_app_url,
        "env_name": settings.env_name,
        "num_iterations": planned.num_iterations,
        "num_evaluations_per_iteration": planned.num_evaluations_per_iteration,
        "batch_size": planned.batch_size,
        "max_concurrent": settings.max_concurrent,
        "min_bootstrap_demos": settings.min_bootstrap_demos,
        "bootstrap_train_seeds": list(planned.bootstrap),
        "online_pool": list(planned.online),
        "reference_pool": list(planned.reference),
        "modules": [{"module_id": "default", "stages": [_stage(settings)]}],
        "policy_config": _policy(settings),
    }
    optional: Raw = {
        "task_app_id": settings.task_app_id,
        "env_config": settings.env_config,
        "test_pool": list(settings.test_seeds) if settings.test_seeds is not None else None,
    }
    table.update({key: value for key, value in optional.items() if value is not None})
    table.update(_proposer(settings))
    return table


def _stage(settings: SimpleSettings) -> Raw:
    messages = sorted(settings.initial_prompt_messages, key=lambda message: message.order)
    return {
        "stage_id": "default_stage_0",
        "baseline_instruction": _instruction(messages),
        "baseline_messages": [message.model_dump(exclude_none=True) for message in messages],
        "policy": _policy(settings),
    }


def _instruction(messages: list[MessagePatternConfig]) -> str:
    for role in ("system", "user"):
        for message in messages:
            if message.role == role:
                return message.pattern
    return _FALLBACK_INSTRUCTION


def _policy(settings: SimpleSettings) -> Raw:
    policy: Raw = {
        "model": settings.policy_model,
        "provider": settings.policy_provider.value,
        "temperature": settings.policy_temperature,
        "max_completion_tokens": settings.policy_max_completion_tokens,
    }
    if settings.policy_name is not None:
        policy["policy_name"] = settings.policy_name
    return policy


def _proposer(settings: SimpleSettings) -> Raw:
    proposer: Raw = {}
    table: Raw = {}
    if settings.meta_preset is not None:
        effort, model, temperature, tokens = _PRESETS[settings.meta_preset]
        table["proposer_effort"] = effort
        proposer = {
            "model": model,
            "provider": "openai",
            "temperature": temperature,
            "max_tokens": tokens,
        }
    if settings.meta_model is not None:
        proposer["model"] = settings.meta_model
        proposer.pop("provider", None)
    if settings.meta_provider is not None:
        proposer["provider"] = settings.meta_provider.value
    if settings.meta_inference_url is not None:
        proposer["upstream_base_url"] = settings.meta_inference_url
    if proposer:
        table["proposer"] = proposer
    return table
