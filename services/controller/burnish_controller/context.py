"""What the phases of one job share: its spec expanded, its stages, its app, its peers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from burnish import identity, templates
from burnish.api.job import v1 as job_v1
from burnish.api.policy import v1 as policy_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.gepa_plan import GEPA
from burnish_controller.pools import expand
from burnish_controller.proxies.models import OWN, model_at, policy_id, stages_at
from burnish_controller.proxies.run import ProxyRun
from burnish_controller.task_apps import TaskAppClient

LEARNT_STAGE = "main"
SYSTEM_ROLES = ("system", "developer")
DEFAULT_CONCURRENCY = 20
DEFAULT_ROLLOUT_SECONDS = 120.0
DEFAULT_MIN_REWARD = 0.8
LEARNING_ROLLOUTS = 8
LEAST_TO_LEARN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """The expanded pools."""

    bootstrap: list[int]
    online: list[int]
    validation: list[int]
    test: list[int]
    reference: list[int]


@dataclass(slots=True, kw_only=True)
class JobContext:
    """One job in memory.

    Attributes:
        job_id: Last segment of its name.
        job: The shared job message; changed only through the job store.
        pools: Its seed pools, expanded.
        app: Its task app.
        stages: Its stages as the interceptor is told them; empty while the baseline is learnt.
        graph: Version of its verifier graph; empty when there is none.
        cancelled: Whether it was asked to stop.
        may_run: Cleared while the job is asked to pause.
        proxy: What is known of its cheap model up to ask `proxy_asks`; None without one.
        proxy_asks: Asks that `proxy` has taken.
    """

    job_id: str
    job: job_v1.Job
    pools: Pools
    app: TaskAppClient
    stages: list[policy_v1.StagePolicy] = field(default_factory=list)
    graph: str = ""
    cancelled: bool = False
    may_run: asyncio.Event = field(default_factory=asyncio.Event)
    proxy: ProxyRun | None = None
    proxy_asks: int = 0

    @property
    def spec(self) -> job_v1.JobSpec:
        """What the job is to do."""
        return self.job.spec

    @property
    def learning(self) -> bool:
        """Whether the baseline is not known yet."""
        return not self.stages

    @property
    def concurrency(self) -> int:
        """Most rollouts in flight."""
        return self.spec.max_concurrency or DEFAULT_CONCURRENCY

    @property
    def rollout_seconds(self) -> float:
        """Most time for one rollout."""
        if self.spec.task_app.HasField("rollout_timeout"):
            return self.spec.task_app.rollout_timeout.ToNanoseconds() / 1e9
        return DEFAULT_ROLLOUT_SECONDS

    @property
    def weights(self) -> types_v1.RewardWeights:
        """How reward parts are fused, as it was settled when the job was created."""
        if self.job.HasField("reward_weights"):
            return self.job.reward_weights
        if self.spec.scoring.HasField("weights"):
            return self.spec.scoring.weights
        if self.graph:
            return types_v1.RewardWeights(outcome=1.0)
        return types_v1.RewardWeights(environment=1.0)

    @property
    def judge_options(self) -> verifier_v1.JudgeOptions:
        """What judges are told beyond the graph, the task app's rubric among it."""
        return self.job.judge_options

    def models(self, fidelity: int = OWN) -> Mapping[str, str]:
        """Returns provider and model of each stage, which are part of a rollout's identity."""
        models = {stage.template.stage_id: stage.model for stage in self.stages}
        if self.learning:
            models = {LEARNT_STAGE: self.spec.policy_model}
        at = {stage: model_at(self.spec, model, fidelity) for stage, model in models.items()}
        return {stage: f"{model.provider}/{model.model}" for stage, model in at.items()}

    def first_model(self, fidelity: int) -> types_v1.ModelSpec:
        """Returns the model that an app is told of: that of the first stage."""
        model = self.stages[0].model if self.stages else self.spec.policy_model
        return model_at(self.spec, model, fidelity)

    def policy(self, fidelity: int = OWN) -> policy_v1.Policy:
        """Returns what interceptors are told of rollouts at a fidelity."""
        return policy_of(self.job, self.stages, fidelity)

    def rollout_id(self, cell: types_v1.Cell) -> str:
        """Returns the id of a cell's rollout."""
        return identity.rollout_id(
            identity.RolloutKey(
                job=self.job.name,
                candidate_id=cell.candidate_id,
                pool=types_v1.Pool.Name(cell.pool),
                seed=cell.seed,
                repeat=cell.repeat,
                models=self.models(cell.fidelity),
            )
        )

    def baseline_components(self) -> list[types_v1.Component]:
        """Returns for each stage its instruction now and the empty demo set."""
        return baseline_components(self.stages)

    def baseline(self) -> types_v1.Candidate:
        """Returns the baseline candidate: the app's own prompt, no demos."""
        return baseline_candidate(self.stages)

    def study(self) -> search_v1.Study:
        """Returns the job's study as the search service is told it."""
        study = search_v1.Study(
            name=f"studies/{self.job_id}",
            algorithm=self.spec.algorithm,
            settings=self.spec.algorithm_settings,
            random_seed=self.spec.random_seed,
            stage_ids=[stage.template.stage_id for stage in self.stages] or [LEARNT_STAGE],
            online_pool=types_v1.SeedPool(seeds=self.pools.online),
            validation_pool=types_v1.SeedPool(seeds=self.pools.validation),
            max_cell_count=self.search_cells(),
            written_stage_ids=self.written_stage_ids(),
        )
        # The cap on trials holds between works; only the search itself plans by it.
        if self.spec.budget.max_trials and "max_trials" not in study.settings:
            study.settings["max_trials"] = self.spec.budget.max_trials
        return study

    def written_stage_ids(self) -> list[str]:
        """Returns the stages that instructions are proposed for."""
        kept = {one.template.stage_id for one in self.spec.stages if not one.optimise_instruction}
        stage_ids = [stage.template.stage_id for stage in self.stages]
        return [stage_id for stage_id in stage_ids if stage_id not in kept]

    @property
    def learns(self) -> bool:
        """Whether the baseline is learnt on the wire, known meanwhile or not."""
        return not stages_of(self.spec, None)

    def learning_seeds(self) -> list[int]:
        """Returns the seeds that the baseline is learnt from; none when it was given."""
        if not self.learns:
            return []
        seeds = self.pools.bootstrap or self.pools.online
        if self.spec.algorithm == GEPA and not self.pools.bootstrap:
            # What is learnt from may be shown, and of the online pool it is the search that says
            # which rows may.
            seeds = self.pools.reference or self.pools.online
        cap = self.spec.budget.max_rollouts
        count = LEARNING_ROLLOUTS
        if cap:
            count = min(count, max(LEAST_TO_LEARN, (cap - len(self.pools.validation)) // 4))
        return seeds[:count]

    def bootstrap_seeds(self) -> list[int]:
        """Returns the bootstrap seeds that fit the rollout cap beside baseline and one search."""
        if not self.spec.budget.max_rollouts:
            return self.pools.bootstrap
        return self.pools.bootstrap[: max(0, self._room() * 2 // 3)]

    def search_cells(self) -> int:
        """Returns the most cells that the search may use; 0 means no limit."""
        if not self.spec.budget.max_rollouts:
            return 0
        return max(1, self._room() - len(self.bootstrap_seeds()))

    def _room(self) -> int:
        """Returns how many rollouts the cap leaves for bootstrap and search."""
        cap = self.spec.budget.max_rollouts
        return cap - len(self.pools.validation) - len(self.learning_seeds())


def policy_of(
    job: job_v1.Job, stages: Sequence[policy_v1.StagePolicy], fidelity: int = OWN
) -> policy_v1.Policy:
    """Returns what interceptors are told of a job; without stages they learn its baseline."""
    learning = not stages
    policy = policy_v1.Policy(
        name=f"policies/{policy_id(job.name.removeprefix('jobs/'), fidelity)}",
        version=1 if learning else 2,
        job=job.name,
        stages=stages_at(job.spec, stages, fidelity),
        synchronous_traces=True,
        learning_baseline=learning,
    )
    if learning:
        stage = policy.stages.add(model=job.spec.policy_model)
        stage.template.stage_id = LEARNT_STAGE
    return policy


def baseline_components(stages: Sequence[policy_v1.StagePolicy]) -> list[types_v1.Component]:
    """Returns for each stage its instruction now and the empty demo set."""
    found = []
    for stage in stages:
        stage_id = stage.template.stage_id
        text = baseline_instruction(stage.template)
        found += [
            instruction_component(stage_id, text, source=types_v1.COMPONENT_SOURCE_BASELINE),
            demo_component(stage_id, [], source=types_v1.COMPONENT_SOURCE_ZERO_SHOT),
        ]
    return found


def baseline_candidate(stages: Sequence[policy_v1.StagePolicy]) -> types_v1.Candidate:
    """Returns the baseline candidate: the app's own prompt, no demos."""
    choices: dict[str, types_v1.StageChoice] = {}
    for component in baseline_components(stages):
        choice = choices.setdefault(component.stage_id, types_v1.StageChoice())
        if component.WhichOneof("content") == "instruction":
            choice.instruction_id = component.component_id
        else:
            choice.demo_set_id = component.component_id
    return candidate(choices)


def stages_of(
    spec: job_v1.JobSpec, learnt: list[types_v1.PromptTemplate] | None
) -> list[policy_v1.StagePolicy]:
    """Returns the stages of a spec; empty when the baseline still has to be learnt."""
    if learnt is not None:
        declared = {stage.template.stage_id: stage for stage in spec.stages}
        return [_stage_policy(spec, declared.get(one.stage_id), one) for one in learnt]
    if any(not stage.template.messages for stage in spec.stages):
        return []
    return [_stage_policy(spec, stage, stage.template) for stage in spec.stages]


def _stage_policy(
    spec: job_v1.JobSpec, stage: job_v1.StageSpec | None, template: types_v1.PromptTemplate
) -> policy_v1.StagePolicy:
    """Returns a stage as it was declared; one that was only learnt takes the job's own model."""
    if stage is None:
        return policy_v1.StagePolicy(template=template, model=spec.policy_model, optimised=True)
    return policy_v1.StagePolicy(
        template=template,
        model=stage.model if stage.HasField("model") else spec.policy_model,
        optimised=stage.optimise_instruction or stage.optimise_demos,
    )


def pools_of(spec: job_v1.JobSpec) -> Pools:
    """Returns a spec's pools, expanded."""
    offline = spec.offline
    return Pools(
        bootstrap=expand(offline.bootstrap_pool),
        online=expand(offline.online_pool),
        validation=expand(offline.validation_pool),
        test=expand(offline.test_pool),
        reference=expand(offline.reference_pool),
    )


def baseline_instruction(template: types_v1.PromptTemplate) -> str:
    """Returns what a stage's system message says now; empty when it has none."""
    for message in template.messages:
        if message.role in SYSTEM_ROLES:
            if template.mode == types_v1.SUBSTITUTION_MODE_PATTERN:
                return message.pattern
            return (
                templates.parse(message.pattern).render({})
                if _plain(message.pattern)
                else (message.pattern)
            )
    return ""


def placeholders(template: types_v1.PromptTemplate) -> list[str]:
    """Returns the wildcards that every instruction of a stage has to keep."""
    if template.mode != types_v1.SUBSTITUTION_MODE_PATTERN:
        return []
    for message in template.messages:
        if message.role in SYSTEM_ROLES:
            return sorted(templates.parse(message.pattern).names)
    return []


def candidate(stages: Mapping[str, types_v1.StageChoice]) -> types_v1.Candidate:
    """Mints a candidate."""
    identifier = identity.candidate_id(
        {stage: (choice.instruction_id, choice.demo_set_id) for stage, choice in stages.items()}
    )
    return types_v1.Candidate(candidate_id=identifier, stages=stages)


def instruction_component(
    stage_id: str, text: str, *, source: types_v1.ComponentSource.ValueType
) -> types_v1.Component:
    """Mints an instruction."""
    return types_v1.Component(
        component_id=identity.instruction_id(stage_id=stage_id, text=text),
        stage_id=stage_id,
        instruction=types_v1.Instruction(text=text),
        source=source,
    )


def demo_component(
    stage_id: str, demos: list[types_v1.Demo], *, source: types_v1.ComponentSource.ValueType
) -> types_v1.Component:
    """Mints a demo set."""
    contents = [
        identity.DemoContent(bindings=dict(demo.bindings), messages=list(demo.messages))
        for demo in demos
    ]
    return types_v1.Component(
        component_id=identity.demo_set_id(stage_id=stage_id, demos=contents),
        stage_id=stage_id,
        demo_set=types_v1.DemoSet(demos=demos),
        source=source,
    )


def _plain(pattern: str) -> bool:
    return not templates.parse(pattern).names
