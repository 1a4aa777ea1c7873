"""Verifier (judge) and proxy-model tables."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field

from burnish.config.base import ConfigModel, Fraction, NonNegFloat, NonNegInt, Number, PosInt
from burnish.config.enums import CheckName, ProviderName, RewardSource


def _table_of_check(value: object) -> object:
    return {"check": value} if isinstance(value, str) else value


class CheckConfig(ConfigModel):
    """A built-in check of the output; keys beyond these are its parameters.

    Attributes:
        check: Which one.
        weight: Its share among the checks.
    """

    check: CheckName
    weight: NonNegFloat = 1.0


class PromptLearningJudgeConfig(ConfigModel):
    """How rewards are made from the app's own reward and a verifier's.

    Attributes:
        enabled: Whether the verifier scores at all.
        reward_source: Which rewards the search is told.
        backend_base: URL of a verifier service; empty for the suite's own.
        backend_api_key_env: Name of the environment variable with its key.
        backend_provider: Provider of the judge's model.
        backend_model: The judge's model; in a graph with several judges that of each.
        synth_verifier_id: Id of a verifier graph, `id@version` for one of its versions, or a file
            with one; `zero_shot_verifier` when there are neither a graph nor checks.
        rubric: What judges go by: a table, or a YAML, JSON or TOML file; without it the graph's
            own, or else the task app's.
        backend_event_enabled: Whether events are scored.
        backend_outcome_enabled: Whether outcomes are scored.
        backend_options: Read for the sake of older files.
        concurrency: Most judgements of one request in flight.
        timeout: Seconds per judgement.
        weight_env: Weight of the app's own reward.
        weight_event: Weight of the mean over event rewards.
        weight_outcome: Weight of the outcome reward.
        spec_path: System spec shown to the judge.
        spec_max_tokens: Its cap.
        spec_context: Text shown beside it.
        checks: Built-in checks that make up the outcome reward.
    """

    enabled: bool = False
    reward_source: RewardSource = RewardSource.TASK_APP
    backend_base: str = ""
    backend_api_key_env: str = "SYNTH_API_KEY"
    backend_provider: str = ""
    backend_model: str = ""
    synth_verifier_id: str = Field(
        default="",
        validation_alias=AliasChoices(
            "synth_verifier_id", "verifier_graph_id", "backend_rubric_id"
        ),
    )
    rubric: str | dict[str, object] | None = None
    backend_event_enabled: bool = True
    backend_outcome_enabled: bool = True
    backend_options: dict[str, object] = Field(default_factory=dict)
    concurrency: Annotated[PosInt, Field(le=256)] = 8
    timeout: Annotated[Number, Field(gt=0)] = 60.0
    weight_env: NonNegFloat = 1.0
    weight_event: NonNegFloat = 0.0
    weight_outcome: NonNegFloat = 0.0
    spec_path: str | None = None
    spec_max_tokens: PosInt = 5000
    spec_context: str | None = None
    checks: list[Annotated[CheckConfig, BeforeValidator(_table_of_check)]] = Field(
        default_factory=list
    )

    @property
    def backend_rubric_id(self) -> str:
        """The legacy name of `synth_verifier_id`."""
        return self.synth_verifier_id

    @property
    def verifier_graph_id(self) -> str:
        """The later name of `synth_verifier_id`."""
        return self.synth_verifier_id


PromptLearningVerifierConfig = PromptLearningJudgeConfig


class ProxyModelsConfig(ConfigModel):
    """A cheap model that stands in for a dear one once it predicts it well enough.

    Attributes:
        hi_provider: Provider of the dear model.
        hi_model: The dear model.
        lo_provider: Provider of the cheap model.
        lo_model: The cheap model.
        n_min_hi: Trials by both models before the cheap one may stand in, 3 or more in effect.
        r2_thresh: Explained variance in [0, 1] that switches the proxy on.
        r2_stop: Explained variance in [0, 1] below which it is given up.
        sigma_max: Largest residual variance to calibrate with.
        sigma_stop: Residual variance at which the proxy is given up.
        verify_every: Every so many trials by the cheap model alone both run; 0 never.
        proxy_patience_usd: Net gain in US dollars below which the proxy is given up.
    """

    hi_provider: ProviderName
    hi_model: str
    lo_provider: ProviderName
    lo_model: str
    n_min_hi: NonNegInt = 5
    r2_thresh: Fraction = 0.5
    r2_stop: Fraction = 0.2
    sigma_max: NonNegFloat = 1e6
    sigma_stop: NonNegFloat = 1e9
    verify_every: NonNegInt = 0
    proxy_patience_usd: Number = -100.0
