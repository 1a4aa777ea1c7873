"""The whole configuration: `[prompt_learning]`, and the one way in which it is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field, PrivateAttr, SecretStr

from burnish.config import loader
from burnish.config.base import ConfigModel, Fraction, NonNegFloat, NonNegInt, PosFloat, PosInt, Raw
from burnish.config.gepa import GEPAConfig
from burnish.config.mipro import MIPROConfig
from burnish.config.mipro_blocks import Edge, MIPROStageConfig
from burnish.config.policy import PromptLearningPolicyConfig, PromptPatternConfig
from burnish.config.problems import Findings
from burnish.config.source import escape
from burnish.config.toml_text import parse_toml
from burnish.config.verifier import PromptLearningJudgeConfig, ProxyModelsConfig


class TerminationConfig(ConfigModel):
    """When a job ends early; an absent cap does not apply.

    Attributes:
        max_rollouts: Most rollouts of bootstrap and search.
        max_cost_usd: Most US dollars over every model.
        max_tokens: Most tokens over every model.
        max_seconds: Most seconds of wall clock.
        max_trials: Most trials.
        max_trials_without_improvement: Trials without gain before the end.
        target_score: Mean reward in [0, 1] that ends the search.
        max_category_costs_usd: Most US dollars per category, `rollout`, `proposal` or
            `verification`.
        pessimism_enabled: Whether a hopeless search is given up.
        max_error_rate: Share of failed rollouts in [0, 1] that ends the job.
        max_consecutive_errors: Failed rollouts in a row that end the job.
    """

    max_rollouts: PosInt | None = None
    max_cost_usd: NonNegFloat | None = None
    max_tokens: PosInt | None = None
    max_seconds: PosFloat | None = None
    max_trials: PosInt | None = None
    max_trials_without_improvement: PosInt | None = None
    target_score: Fraction | None = None
    max_category_costs_usd: dict[str, NonNegFloat] = Field(default_factory=dict)
    pessimism_enabled: bool = False
    max_error_rate: Fraction | None = None
    max_consecutive_errors: PosInt | None = None


class PromotionConfig(ConfigModel):
    """When the search's choice takes the baseline's place, by the closing test.

    Attributes:
        min_probability: Least probability in [0, 1) that it is better, 0.95 when absent; 0 takes
            the search's choice whatever the test says.
        prior_deviation: Standard deviation in (0, 1] of the gains expected before the test, 0.1
            when absent; a smaller one is more sceptical.
        search_evidence: Whether the search's rewards count beside those held out, on rows that no
            prompt was made from; they do when absent.
    """

    min_probability: Annotated[float, Field(ge=0, lt=1)] | None = None
    prior_deviation: Annotated[float, Field(gt=0, le=1)] | None = None
    search_evidence: bool | None = None


class PromptLearningConfig(ConfigModel):
    """A job as its file describes it.

    Build one with `from_path` or `from_mapping`: they accept every dialect, check everything and
    report all problems at once.

    Attributes:
        algorithm: `mipro`, `gepa`, `random`, or `plugin:NAME`; required in a file.
        task_app_url: http, https or grpc; required offline. `container_url`, `localapi_url` too.
        task_app_api_key: The app's key; absent: the variable ENVIRONMENT_API_KEY.
        task_app_id: Label; stands in for `env_name`.
        env_name: Environment that the app is asked for; absent: left to the app.
        env_config: Passed on to the app.
        initial_prompt: What the app is expected to send; absent: learnt from the first rollouts.
        policy: The model that calls go to; absent: the deployment's default.
        mipro: Required for mipro and random; it may be empty.
        gepa: Required for gepa.
        stages: Call sites for any algorithm, as `[[prompt_learning.mipro.stages]]`.
        edges: Pairs of their ids.
        judge: Verifier; `verifier` is read too.
        proxy_models: A cheap model that stands in for a dear one.
        promotion: When the search's choice takes the baseline's place.
        termination_config: Caps; at the file's root too, where it wins.
        free_tier: Refuses the effort HIGH.
        use_byok: Read, without effect: keys belong to the services.
        random_seed: Seed of every random choice, unless the algorithm's table has one.
        results_folder: Where results go, relative to the file.
    """

    algorithm: str = "mipro"
    task_app_url: str | None = None
    task_app_api_key: SecretStr | None = Field(default=None, exclude=True)
    task_app_id: str | None = None
    env_name: str | None = None
    env_config: dict[str, object] | None = None
    initial_prompt: PromptPatternConfig | None = None
    policy: PromptLearningPolicyConfig | None = None
    mipro: MIPROConfig | None = None
    gepa: GEPAConfig | None = None
    stages: list[MIPROStageConfig] = Field(default_factory=list)
    edges: list[Edge] = Field(default_factory=list)
    judge: PromptLearningJudgeConfig | None = None
    proxy_models: ProxyModelsConfig | None = None
    promotion: PromotionConfig = Field(default_factory=PromotionConfig)
    termination_config: TerminationConfig = Field(default_factory=TerminationConfig)
    free_tier: bool = False
    use_byok: bool | None = None
    random_seed: NonNegInt | None = None
    results_folder: str | None = None

    _warnings: tuple[str, ...] = PrivateAttr(default=())
    _base_dir: Path | None = PrivateAttr(default=None)
    _checked: bool = PrivateAttr(default=False)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the file should know; nothing here refuses it."""
        return self._warnings

    @property
    def base_dir(self) -> Path | None:
        """Directory that `spec_path` and `results_folder` are relative to; None without a file."""
        return self._base_dir

    @property
    def checked(self) -> bool:
        """Whether this came through `from_mapping`, and so obeys every rule."""
        return self._checked

    @property
    def verifier(self) -> PromptLearningJudgeConfig | None:
        """The later name of `judge`."""
        return self.judge

    @classmethod
    def from_path(
        cls,
        path: str | Path,
        *,
        overrides: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> PromptLearningConfig:
        """Loads a TOML file.

        Args:
            path: The file.
            overrides: Dotted keys or nested tables that replace values of the file.
            env: What `$VAR` refers to; the process environment when None.

        Raises:
            FileNotFoundError: There is no such file.
            ConfigError: With every problem in it.
        """
        file = Path(path)
        data = parse_toml(file.read_bytes(), source=file.name)
        return cls._load(data, overrides, env, source=file.name, base_dir=file.resolve().parent)

    @classmethod
    def from_mapping(
        cls,
        data: Mapping[str, object],
        *,
        overrides: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
        base_dir: Path | None = None,
    ) -> PromptLearningConfig:
        """Reads a mapping of the shape of a file.

        Args:
            data: Never changed.
            overrides: Dotted keys or nested tables that replace values.
            env: What `$VAR` refers to; the process environment when None. A server that reads what
                its clients sent passes an empty mapping, so that no client can read its secrets.
            base_dir: What `spec_path` is relative to; without it no file is read.

        Raises:
            ConfigError: With every problem in it.
        """
        return cls._load(data, overrides, env, source="configuration", base_dir=base_dir)

    @classmethod
    def _load(
        cls,
        data: Mapping[str, object],
        overrides: Mapping[str, object] | None,
        env: Mapping[str, str] | None,
        *,
        source: str,
        base_dir: Path | None,
    ) -> PromptLearningConfig:
        findings = Findings()
        environment = os.environ if env is None else env
        config = loader.load(
            cls, data, loader.Inputs(overrides=overrides or {}, env=environment), findings
        )
        findings.raise_if_any(source)
        if config is None:
            raise AssertionError("a configuration without problems has a value")
        config._warnings = tuple(findings.warnings)
        config._base_dir = base_dir
        config._checked = True
        return config

    def validated(self) -> PromptLearningConfig:
        """Returns this when it was checked, else a checked copy of what was set on it.

        Raises:
            ConfigError: With every problem.
        """
        if self._checked:
            return self
        table = self._written()
        if self.task_app_api_key is not None:
            table["task_app_api_key"] = self.task_app_api_key
        return type(self).from_mapping(table, env={}, base_dir=self._base_dir)

    def to_dict(self) -> dict[str, object]:
        """Returns the canonical mapping, which `from_mapping` reads back; it holds no key."""
        return {"prompt_learning": self._written()}

    def _written(self) -> Raw:
        """Returns what was read; of one built by hand what was set: a default asks for nothing."""
        dumped = self.model_dump(mode="json", exclude_none=True, exclude_unset=not self._checked)
        dumped.setdefault("algorithm", self.algorithm)
        prompt = dumped.get("initial_prompt")
        if prompt is not None and not prompt.get("messages"):
            prompt.pop("messages", None)
        return cast(Raw, escape(dumped))
