"""MIPRO's table, `[prompt_learning.mipro]`."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import AliasChoices, Field, SecretStr

from burnish.config.adaptive import AdaptivePool
from burnish.config.base import (
    ConfigModel,
    Fraction,
    NonNegFloat,
    NonNegInt,
    PosFloat,
    PosInt,
    read_alone,
)
from burnish.config.enums import (
    JobMode,
    MiproProposerMode,
    ProposerEffort,
    ProposerOutputTokens,
    SearchEngine,
    SearchPreset,
    SearchProtocol,
)
from burnish.config.mipro_blocks import (
    DemoConfig,
    Edge,
    GroundingConfig,
    MetaUpdateConfig,
    MIPROMetaConfig,
    MIPROModuleConfig,
    MIPROSeedConfig,
    MIPROStageConfig,
    ProposerTable,
    TPEConfig,
)
from burnish.config.objective import ObjectiveConfig
from burnish.config.policy import MessagePatternConfig, PromptLearningPolicyConfig
from burnish.config.seeds import Seeds
from burnish.config.simple import SimpleSettings, simple_mapping
from burnish.config.verifier import PromptLearningJudgeConfig, ProxyModelsConfig


class MIPROConfig(ConfigModel):
    """`[prompt_learning.mipro]`.

    Attributes:
        task_app_url: Read as the top level's.
        task_app_api_key: Read as the top level's.
        task_app_id: Read as the top level's.
        env_name: Beats the top level's.
        env_config: Merged over the top level's.
        mode: `offline` or `online`; `execution_mode` is read too.
        engine: `race` is our own search, `tpe` MIPROv2's. Absent: `tpe` beside what only it has
            (`auto`, a `tpe` table, `protocol`, `adaptive_pool`, `proxy_models`), else `race`.
        protocol: Of `tpe`: `burnish` pools what trials tell; `miprov2` is DSPy's, trial by trial.
        auto: MIPROv2's `light`, `medium` or `heavy`, which then decides the shape of the search.
        num_iterations: Iterations.
        num_evaluations_per_iteration: Trials in each.
        batch_size: Seeds per trial, drawn from the online pool.
        max_concurrent: Most rollouts in flight; changes nothing but speed.
        few_shot_score_threshold: Least reward in [0, 1] of a rollout that becomes a demo.
        min_bootstrap_demos: Fewest demos that have to pass.
        strict_bootstrap: Whether fewer of them end the job; else it goes on with a warning.
        max_demo_set_size: Demos in the largest set.
        max_demo_sets: Most demo sets per stage.
        max_instruction_sets: Most instructions per stage, the baseline included.
        full_eval_every_k: Trials between two full evaluations of the incumbent.
        instructions_per_batch: Proposals per stage and round.
        max_instructions: Most proposed instructions per stage; absent: as many as fit.
        duplicate_retry_limit: How often a refused proposal is asked for again.
        generate_at_iterations: Iterations, from 0, that propose.
        max_parallel_trials: Trials at a time.
        parallel_risk: Read, without effect.
        top_k: Candidates scored again at the end; absent: 2.
        num_bootstrap_seeds: Rounds of bootstrapping and proposing; absent: 1.
        num_instructions_per_module: Proposals per round; sets `grounding.n`.
        num_demos: Demos per prompt; sets `demo.max_few_shot_examples`.
        optimize_instructions: Whether instructions are searched.
        optimize_demos: Whether demos are searched.
        bootstrap_train_seeds: To gather demos from; absent: derived.
        online_pool: For minibatches; absent: derived.
        val_seeds: For full evaluations; absent: the online pool, or derived with it.
        test_pool: Held out: baseline and winner, once. Shares no seed with another pool.
        reference_pool: Shown to the proposer, never scored. Shares no seed with another pool.
        seeds: The pools as one table: bootstrap, online, validation, test, reference.
        random_seed: Seed of every random choice.
        modules: Parts of the program.
        stages: Call sites of a program without modules.
        edges: Pairs of stage ids over all modules.
        policy_config: Policy of stages without their own, after `[prompt_learning.policy]`.
        proposer_effort: LOW_CONTEXT, LOW, MEDIUM or HIGH: the proposer's model and context.
        proposer_output_tokens: RAPID (3000, needs LOW_CONTEXT), FAST (10000) or SLOW (25000).
        proposer_mode: Family of meta-prompts.
        proposer: Overrides the tier's model.
        meta: Deprecated; read as `proposer`.
        metaprompt: Text added to the meta-prompt; one that opens with `version: N` takes its place.
        spec_path: JSON system spec, relative to the file.
        spec_max_tokens: Its limit, truly kept.
        spec_include_examples: Whether its examples are shown.
        spec_priority_threshold: Leaves out rules below it.
        spec_strict: Whether what only looks odd in it is a problem too.
        reference_files: Texts that the proposer may read, relative to the file.
        max_token_limit: Most tokens, as long as `enforce_token_limit` is set.
        max_total_tokens: Most tokens.
        max_spend_usd: Most US dollars.
        max_wall_clock_seconds: Most seconds.
        enforce_token_limit: Whether `max_token_limit` counts.
        token_counting_model: Read, without effect: providers count tokens.
        results_file: Read, without effect: `results_folder` says where.
        repeats: Most times that a cell runs, where rewards are noisy and no row is left.
        objective: What prompts cost beside what they earn; absent: reward alone chooses.
        tpe: Of the sampler.
        demo: How demo sets are built.
        grounding: How one call for proposals looks.
        meta_update: Later rounds of proposals.
        judge: As `[prompt_learning.judge]`, which wins.
        proxy_models: Read as the top level's.
        adaptive_pool: A level, or a table.
        online_proposer_mode: How proposals are triggered online.
        online_proposer_min_rollouts: Rollouts before a round of proposals.
        online_rollouts_per_candidate: Sticky batch; absent: chosen for every rollout.
        online_proposer_max_candidates: Most candidates.
        system_id: Learner to go on with.
        system_name: Its label.
        ontology: Read, without effect.
    """

    task_app_url: str | None = None
    task_app_api_key: SecretStr | None = Field(default=None, exclude=True)
    task_app_id: str | None = None
    env_name: str | None = None
    env_config: dict[str, object] | None = None
    mode: JobMode = JobMode.OFFLINE
    engine: SearchEngine | None = None
    protocol: SearchProtocol = SearchProtocol.BURNISH
    auto: SearchPreset | None = None

    num_iterations: PosInt = 20
    num_evaluations_per_iteration: PosInt = 5
    batch_size: PosInt = 32
    max_concurrent: PosInt = 20
    few_shot_score_threshold: Fraction = 0.8
    min_bootstrap_demos: NonNegInt = 0
    strict_bootstrap: bool = False
    max_demo_set_size: PosInt = 4
    max_demo_sets: PosInt = 128
    max_instruction_sets: PosInt = 128
    full_eval_every_k: PosInt = 5
    instructions_per_batch: PosInt = 10
    max_instructions: PosInt | None = None
    duplicate_retry_limit: PosInt = 10
    generate_at_iterations: list[NonNegInt] = Field(default_factory=lambda: [0])
    max_parallel_trials: PosInt = Field(
        default=1, validation_alias=AliasChoices("max_parallel_trials", "parallelism")
    )
    parallel_risk: str | None = None

    top_k: PosInt | None = None
    num_bootstrap_seeds: PosInt | None = None
    num_instructions_per_module: PosInt | None = None
    num_demos: NonNegInt | None = None
    optimize_instructions: bool = True
    optimize_demos: bool = True

    bootstrap_train_seeds: Seeds | None = None
    online_pool: Seeds | None = None
    val_seeds: Seeds | None = None
    test_pool: Seeds | None = None
    reference_pool: Seeds | None = None
    seeds: MIPROSeedConfig | None = None
    random_seed: NonNegInt | None = Field(
        default=None, validation_alias=AliasChoices("random_seed", "rng_seed", "seed")
    )

    modules: list[MIPROModuleConfig] = Field(default_factory=list)
    stages: list[MIPROStageConfig] = Field(default_factory=list)
    edges: list[Edge] = Field(default_factory=list)
    policy_config: PromptLearningPolicyConfig | None = None

    proposer_effort: ProposerEffort = ProposerEffort.LOW
    proposer_output_tokens: ProposerOutputTokens = ProposerOutputTokens.FAST
    proposer_mode: MiproProposerMode = MiproProposerMode.SYNTH
    proposer: ProposerTable | None = None
    meta: MIPROMetaConfig | None = None
    metaprompt: str | None = None
    spec_path: str | None = None
    spec_max_tokens: PosInt = 5000
    spec_include_examples: bool = True
    spec_priority_threshold: NonNegInt | None = None
    spec_strict: bool = False
    reference_files: list[str] = Field(default_factory=list)

    max_token_limit: PosInt | None = None
    max_total_tokens: PosInt | None = None
    max_spend_usd: NonNegFloat | None = None
    max_wall_clock_seconds: PosFloat | None = None
    enforce_token_limit: bool = True
    token_counting_model: str = "gpt-4"  # noqa: S105
    results_file: str | None = None

    repeats: PosInt = 1
    objective: ObjectiveConfig | None = None
    tpe: TPEConfig = Field(default_factory=TPEConfig)
    demo: DemoConfig = Field(default_factory=DemoConfig)
    grounding: GroundingConfig = Field(default_factory=GroundingConfig)
    meta_update: MetaUpdateConfig | None = None
    judge: PromptLearningJudgeConfig | None = None
    proxy_models: ProxyModelsConfig | None = None
    adaptive_pool: AdaptivePool | None = None

    online_proposer_mode: str | None = None
    online_proposer_min_rollouts: PosInt = 20
    online_rollouts_per_candidate: PosInt | None = None
    online_proposer_max_candidates: PosInt = 50
    system_id: str | None = None
    system_name: str | None = None
    ontology: dict[str, object] | None = None

    @classmethod
    def simple(
        cls,
        *,
        task_app_url: str,
        task_app_api_key: str,
        env_name: str,
        rollout_budget: int,
        initial_prompt_messages: Sequence[MessagePatternConfig | dict[str, object]],
        **settings: object,
    ) -> MIPROConfig:
        """Builds a single-stage configuration from a budget.

        Args:
            task_app_url: Where the app answers.
            task_app_api_key: Its key. It is checked, and belongs on `PromptLearningConfig`: a
                `MIPROConfig` never holds a key.
            env_name: Name of the environment.
            rollout_budget: Rollouts to plan for, above 0.
            initial_prompt_messages: The prompt to start from, not empty.
            **settings: The fields of `SimpleSettings`.

        Returns:
            A configuration whose pools share no seed.

        Raises:
            ConfigError: Anything about the arguments; everything at once.
        """
        mapping = simple_mapping(
            SimpleSettings.read(
                {
                    "task_app_url": task_app_url,
                    "task_app_api_key": task_app_api_key,
                    "env_name": env_name,
                    "rollout_budget": rollout_budget,
                    "initial_prompt_messages": list(initial_prompt_messages),
                    **settings,
                }
            )
        )
        return read_alone(cls, mapping, name="mipro")
