"""A job in Burnish's own terms: what a file says once every dialect and default is settled."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from burnish.config.resolved_search import ResolvedGepa, ResolvedMipro

_SECRETS = frozenset({"task_app_api_key"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model behind a provider.

    Attributes:
        provider: One of `burnish.models.PROVIDERS`.
        model: As the provider calls it; None keeps the model that the app asks for.
        temperature: In [0, 2]; None leaves the provider's default.
        max_output_tokens: None leaves the provider's default.
        base_url: Where a self-hosted model is served; None is the provider's own place.
    """

    provider: str
    model: str | None
    temperature: float | None = None
    max_output_tokens: int | None = None
    base_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedMessage:
    """One message of a baseline: a chat role and a pattern with `{placeholder}`s."""

    role: str
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedStage:
    """One LLM call site.

    Attributes:
        stage_id: Unique in the job.
        module_id: Module that it belongs to.
        messages: What the app is expected to send; empty: learnt from the first rollouts.
        wildcards: Every placeholder of `messages` to `REQUIRED` or `OPTIONAL`.
        baseline_instruction: The starting instruction; None: learnt.
        model: None: the deployment's default policy model.
        max_instruction_slots: Instructions per prompt, at least 1.
        max_demo_slots: Demos per prompt, at least 0.
        optimize_instructions: Whether instructions are proposed.
        optimize_demos: Whether demo sets are built.
        description: What the stage does, in prose.
        module_description: What its module does, in prose.
        protected: Parts of the instruction that no proposal may change.
    """

    stage_id: str
    module_id: str
    messages: tuple[ResolvedMessage, ...] = ()
    wildcards: dict[str, str] = field(default_factory=dict)
    baseline_instruction: str | None = None
    model: ResolvedModel | None = None
    max_instruction_slots: int = 1
    max_demo_slots: int = 4
    optimize_instructions: bool = True
    optimize_demos: bool = True
    description: str | None = None
    module_description: str | None = None
    protected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPools:
    """Seeds by purpose, each without repeats; None until the size of the data is known.

    `test` shares no seed with any other pool, and `reference` none with any other.
    """

    bootstrap: tuple[int, ...] | None = None
    online: tuple[int, ...] | None = None
    validation: tuple[int, ...] | None = None
    test: tuple[int, ...] | None = None
    reference: tuple[int, ...] | None = None

    @property
    def complete(self) -> bool:
        """Whether every pool is settled."""
        return None not in (
            self.bootstrap,
            self.online,
            self.validation,
            self.test,
            self.reference,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedProposer:
    """Who writes instructions.

    Attributes:
        effort: `LOW_CONTEXT`, `LOW`, `MEDIUM` or `HIGH`.
        output_tier: `RAPID`, `FAST` or `SLOW`.
        mode: Family of meta-prompts.
        model: Overrides the model of the effort tier.
        metaprompt: Text added to the meta-prompt; one that opens with `version: N` takes its place.
        spec_text: The system spec, rendered within its limit.
        reference_texts: Texts that it may read beside the reference pool.
        plugin: Who writes; None: the built-in proposer.
        temperature: Sampling temperature where `model` has none; None leaves it to the tier.
        max_instruction_tokens: Most tokens of an instruction; None leaves it to the tier.
    """

    effort: str = "LOW"
    output_tier: str = "FAST"
    mode: str = "synth"
    model: ResolvedModel | None = None
    metaprompt: str | None = None
    spec_text: str | None = None
    reference_texts: tuple[str, ...] = ()
    plugin: str | None = None
    temperature: float | None = None
    max_instruction_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedCheck:
    """A built-in check of the output, its share, and its parameters."""

    check: str
    weight: float = 1.0
    settings: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedVerifier:
    """How rewards are made; weights that are 0 leave their part out.

    Attributes:
        reward_source: `task_app`, `judge` or `fused`, for the record; the weights say it all.
        weight_env: Of the app's own reward.
        weight_event: Of the mean over events.
        weight_outcome: Of the outcome.
        graph_id: Verifier graph that is registered; None uses `graph`, or else the checks alone.
        graph: A graph of the job's own, in the form that graph files have.
        rubric: What judges go by, in the form that rubric files have; None leaves it to the graph
            and the task app.
        model: The judge's.
        checks: They make up the outcome.
        concurrency: Most judgements of one request in flight.
        timeout_seconds: Per judgement.
        spec_text: The system spec that the judge reads.
    """

    reward_source: str = "task_app"
    weight_env: float = 1.0
    weight_event: float = 0.0
    weight_outcome: float = 0.0
    graph_id: str | None = None
    graph: dict[str, object] | None = None
    rubric: dict[str, object] | None = None
    model: ResolvedModel | None = None
    checks: tuple[ResolvedCheck, ...] = ()
    concurrency: int = 8
    timeout_seconds: float = 60.0
    spec_text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedBudget:
    """Every cap; None does not apply.

    `max_category_costs_usd` is by role: `task`, `proposer` or `judge`.
    """

    max_rollouts: int | None = None
    max_cost_usd: float | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None
    max_trials: int | None = None
    max_trials_without_improvement: int | None = None
    target_score: float | None = None
    max_category_costs_usd: dict[str, float] = field(default_factory=dict)
    max_error_rate: float | None = None
    max_consecutive_errors: int | None = None
    pessimism_enabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedOnline:
    """Settings of a job that learns from traffic.

    Attributes:
        proposer_mode: How proposals are triggered.
        min_rollouts: Rollouts before a round of proposals.
        rollouts_per_candidate: Sticky batch; None chooses for every rollout.
        max_candidates: Most candidates.
        system_id: Learner to go on with.
        system_name: Its label.
    """

    proposer_mode: str = "inline"
    min_rollouts: int = 20
    rollouts_per_candidate: int | None = None
    max_candidates: int = 50
    system_id: str | None = None
    system_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedJob:
    """Everything that a controller needs to run a job.

    Attributes:
        algorithm: `mipro`, `gepa`, `random` or the name of a plug-in.
        task_app_url: None only online.
        task_app_api_key: Secret: in neither `repr` nor `to_dict`.
        env_name: None leaves it to the app.
        stages: In order; at least one.
        edges: Pairs of stage ids.
        mipro: None for gepa.
        gepa: None for the others.
        online: None offline.
        max_concurrent: Most rollouts in flight; changes nothing but speed.
        adaptive_pool: Fitted to its pool once that is settled.
        proxy_models: As `ProxyModelsConfig` documents it.
        promotion: As `PromotionConfig` documents it, what is absent left out.
        results_folder: Relative to the file.
        warnings: What a reader should know.
    """

    algorithm: str
    task_app_url: str | None
    task_app_api_key: str | None = field(default=None, repr=False)
    task_app_id: str | None = None
    env_name: str | None = None
    env_config: dict[str, object] = field(default_factory=dict)
    stages: tuple[ResolvedStage, ...]
    edges: tuple[tuple[str, str], ...] = ()
    pools: ResolvedPools = field(default_factory=ResolvedPools)
    mipro: ResolvedMipro | None = None
    gepa: ResolvedGepa | None = None
    online: ResolvedOnline | None = None
    proposer: ResolvedProposer = field(default_factory=ResolvedProposer)
    verifier: ResolvedVerifier = field(default_factory=ResolvedVerifier)
    budget: ResolvedBudget = field(default_factory=ResolvedBudget)
    max_concurrent: int = 20
    adaptive_pool: dict[str, object] | None = None
    proxy_models: dict[str, object] | None = None
    promotion: dict[str, float] = field(default_factory=dict)
    random_seed: int = 0
    results_folder: str | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Returns plain tables and arrays, without the secret."""
        plain = dataclasses.asdict(self)
        return {key: value for key, value in plain.items() if key not in _SECRETS}
