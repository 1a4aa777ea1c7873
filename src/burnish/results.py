"""What a job is doing and what it found, as typed values free of protobuf's forms."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from burnish.api.job.v1 import job_event_pb2, job_result_pb2, job_service_pb2
from burnish.api.types.v1 import candidate_pb2, rollout_pb2
from burnish.fronts import Front, front_of
from burnish.held_out import HeldOutVerdict, held_out_verdict
from burnish.plain import Plain, enum_name, to_plain
from burnish.prompts import Prompt, PromptDemo, StagePrompt
from burnish.resources import JobName
from burnish.usages import Usage, usage

FINAL_STATES = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean with its uncertainty.

    Attributes:
        mean: The mean, or the mean of paired differences.
        row_count: Rows that it is over.
        lower: Lower end of the interval.
        upper: Upper end of the interval.
        confidence: Confidence of the interval, in (0, 1).
    """

    mean: float
    row_count: int
    lower: float
    upper: float
    confidence: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.lower:.4f}, {self.upper:.4f}] n={self.row_count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSnapshot:
    """Where a job stands.

    Attributes:
        name: Resource name, `jobs/{job}`.
        state: `pending`, `running`, `pausing`, `paused`, `cancelling`, `succeeded`, `failed` or
            `cancelled`.
        phase: `check`, `baseline`, `bootstrap`, `propose`, `search`, `test` or `complete`; empty
            before the first.
        algorithm: Search algorithm.
        best_reward: Best mean reward on the validation pool so far; None before there is one.
        fraction: Share of the job that is done, in [0, 1].
        warnings: Warnings of its creation.
        failure: Why it failed, as (reason, message); None when it did not.
        termination_reason: Why the search ended; empty before.
        last_sequence: Sequence of its last event.
        create_time: When it was created; None when unknown.
        plain: Everything, as plain JSON values.
    """

    name: str
    state: str
    phase: str
    algorithm: str
    best_reward: Estimate | None
    fraction: float
    warnings: tuple[str, ...]
    failure: tuple[str, str] | None
    termination_reason: str
    last_sequence: int
    create_time: datetime.datetime | None
    plain: Plain

    @property
    def job_id(self) -> str:
        """Id of the job, the last segment of its name."""
        return JobName.parse(self.name).id

    @property
    def engine(self) -> str:
        """Engine that the job's settings name, `race` or `tpe`; empty when they name none."""
        spec = self.plain.get("spec")
        settings = spec.get("algorithm_settings") if isinstance(spec, dict) else None
        engine = settings.get("engine") if isinstance(settings, dict) else None
        return engine if isinstance(engine, str) else ""

    @property
    def finished(self) -> bool:
        """Whether the state is final."""
        return self.state in FINAL_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateOutcome:
    """One candidate and how it did.

    Attributes:
        rank: From 1, best first.
        baseline: Whether it is the app's own prompt.
        prompt: The prompt.
        search: Mean reward over every row of the search.
        validation: Mean reward on the validation pool; None when never fully evaluated.
        test: Mean reward on the held-out rows; None but for baseline and winner.
        test_scores: Reward per held-out seed; None for a seed that was not scored.
        parts: Mean of each part of the reward, by `environment`, `event` and `outcome`, on the
            held-out rows, or else on the validation pool; a part that no row has is left out.
        objectives: Mean `cost_usd` and `tokens` per scored rollout of the search, and the
            `prompt_length` in characters; what is not known is left out.
        standing: `front`, `dominated` or `unknown` by reward and cost; empty before the end.
    """

    rank: int
    baseline: bool
    prompt: Prompt
    search: Estimate | None
    validation: Estimate | None
    test: Estimate | None
    test_scores: Mapping[int, float | None]
    parts: Mapping[str, Estimate] = field(default_factory=dict)
    objectives: Mapping[str, Estimate] = field(default_factory=dict)
    standing: str = ""

    @property
    def score(self) -> float | None:
        """The reward to show in one number: on the validation pool, else over the search."""
        shown = self.validation or self.search
        return None if shown is None else shown.mean


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOutcome:
    """One trial of the search.

    Attributes:
        trial: From 0.
        iteration: From 0.
        candidate_id: Candidate tried.
        kind: `minibatch`, `full` or `top_k`.
        reward: Mean reward; None when nothing was observed.
        best_so_far: Best mean reward of a full evaluation so far.
    """

    trial: int
    iteration: int
    candidate_id: str
    kind: str
    reward: Estimate | None
    best_so_far: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """What a job found; while it runs, what is known so far.

    Attributes:
        best: The winner; the baseline when nothing beat it, and None before anything is known.
        baseline: The app's own prompt; None before it is known.
        improvement: Challenger minus baseline, paired on the same held-out rows; None without a
            test. The challenger is the best only when it was promoted.
        verdict: One sentence on whether the prompt got better.
        candidates: Every candidate that was evaluated, best first.
        history: Every trial in order.
        usage_by_role: Spent by `task`, `proposer` and `judge`.
        rollouts_by_phase: Rollouts by phase.
        unscored_by_reason: Rollouts without a reward, by reason.
        proposed_by: What wrote the instructions.
        reward_weights: Weight of each part of the reward, by `environment`, `event` and `outcome`.
        verifier_graph: Version of the graph that scored; empty without one.
        simulated_count: Rollouts whose reward a simulated judge had a part in.
        held_out: What the closing test says; None without a test.
        front: What candidates earn against what they cost; None before the search ended.
        plain: Everything, as plain JSON values.
    """

    best: CandidateOutcome | None
    baseline: CandidateOutcome | None
    improvement: Estimate | None
    verdict: str
    candidates: tuple[CandidateOutcome, ...]
    history: tuple[TrialOutcome, ...]
    usage_by_role: Mapping[str, Usage]
    rollouts_by_phase: Mapping[str, int]
    unscored_by_reason: Mapping[str, int]
    proposed_by: str
    plain: Plain
    reward_weights: Mapping[str, float] = field(default_factory=dict)
    verifier_graph: str = ""
    simulated_count: int = 0
    held_out: HeldOutVerdict | None = None
    front: Front | None = None

    @property
    def challenger(self) -> CandidateOutcome | None:
        """The candidate that was tested against the baseline; the best when none was."""
        if self.held_out is None:
            return self.best
        wanted = self.held_out.challenger_id
        every = (one for one in (self.best, *self.candidates) if one is not None)
        return next((one for one in every if one.prompt.candidate_id == wanted), self.best)

    def ranked(self, rank: int) -> CandidateOutcome | None:
        """Returns the candidate of a rank, 1 being the best; None when there is no such rank."""
        if rank == 1 and self.best is not None:
            return self.best
        return next((one for one in self.candidates if one.rank == rank), None)


def snapshot(job: job_service_pb2.Job) -> JobSnapshot:
    """Returns a job's state as a typed value."""
    states = job_event_pb2.JobState.DESCRIPTOR
    reasons = job_event_pb2.TerminationReason.DESCRIPTOR
    failed = job.HasField("failure")
    return JobSnapshot(
        name=job.name,
        state=enum_name(states, job.state),
        phase=enum_name(job_event_pb2.JobPhase.DESCRIPTOR, job.phase),
        algorithm=job.spec.algorithm,
        best_reward=_estimate(job.best_reward) if job.HasField("best_reward") else None,
        fraction=job.progress.fraction,
        warnings=tuple(job.warnings),
        failure=(job.failure.reason, job.failure.message) if failed else None,
        termination_reason=enum_name(reasons, job.termination_reason),
        last_sequence=job.last_sequence,
        create_time=(
            job.create_time.ToDatetime(tzinfo=datetime.UTC) if job.HasField("create_time") else None
        ),
        plain=to_plain(job),
    )


def outcome(result: job_result_pb2.JobResult) -> JobOutcome:
    """Returns a job's result as a typed value."""
    reader = _PromptReader(result)
    return JobOutcome(
        best=reader.candidate(result.best) if result.HasField("best") else None,
        baseline=reader.candidate(result.baseline) if result.HasField("baseline") else None,
        improvement=(
            _estimate(result.test_difference) if result.HasField("test_difference") else None
        ),
        verdict=result.verdict,
        candidates=tuple(reader.candidate(one) for one in result.candidates),
        history=tuple(_trial(one) for one in result.history),
        usage_by_role={role: usage(spent) for role, spent in sorted(result.usage_by_role.items())},
        rollouts_by_phase=dict(sorted(result.rollouts_by_phase.items())),
        unscored_by_reason=dict(sorted(result.unscored_by_reason.items())),
        proposed_by=result.proposer_description,
        plain=to_plain(result),
        reward_weights=weights(result.reward_weights),
        verifier_graph=result.verifier_graph,
        simulated_count=result.simulated_count,
        held_out=(
            held_out_verdict(result.held_out, _estimate) if result.HasField("held_out") else None
        ),
        front=front_of(result.tradeoff, _estimate) if result.HasField("tradeoff") else None,
    )


def weights(message: rollout_pb2.RewardWeights) -> dict[str, float]:
    """Returns the weights above 0 by part; empty when they are not known."""
    given = {
        "environment": message.environment,
        "event": message.event,
        "outcome": message.outcome,
    }
    return {name: weight for name, weight in given.items() if weight > 0}


def _estimate(message: rollout_pb2.Estimate) -> Estimate:
    return Estimate(
        mean=message.mean,
        row_count=message.row_count,
        lower=message.lower,
        upper=message.upper,
        confidence=message.confidence,
    )


def _trial(message: job_result_pb2.TrialScore) -> TrialOutcome:
    return TrialOutcome(
        trial=message.trial_index,
        iteration=message.iteration,
        candidate_id=message.candidate_id,
        kind=message.kind,
        reward=_estimate(message.reward) if message.HasField("reward") else None,
        best_so_far=message.best_so_far if message.HasField("best_so_far") else None,
    )


class _PromptReader:
    """Puts candidates together from the components of a result."""

    def __init__(self, result: job_result_pb2.JobResult) -> None:
        self._components = {one.component_id: one for one in result.components}
        self._templates = {one.stage_id: one for one in result.templates}

    def candidate(self, message: job_result_pb2.CandidateResult) -> CandidateOutcome:
        stages = message.candidate.stages
        listed = [stage for stage in self._templates if stage in stages]
        order = listed + sorted(stage for stage in stages if stage not in self._templates)
        return CandidateOutcome(
            rank=message.rank,
            baseline=message.baseline,
            prompt=Prompt(
                candidate_id=message.candidate.candidate_id,
                stages=tuple(self._stage(stage, stages[stage]) for stage in order),
            ),
            search=_estimate(message.search) if message.HasField("search") else None,
            validation=_estimate(message.validation) if message.HasField("validation") else None,
            test=_estimate(message.test) if message.HasField("test") else None,
            test_scores={
                score.seed: score.reward if score.HasField("reward") else None
                for score in message.test_scores
            },
            parts={name: _estimate(mean) for name, mean in sorted(message.parts.items())},
            objectives={name: _estimate(mean) for name, mean in sorted(message.objectives.items())},
            standing=enum_name(candidate_pb2.Standing.DESCRIPTOR, message.standing),
        )

    def _stage(self, stage_id: str, choice: candidate_pb2.StageChoice) -> StagePrompt:
        template = self._templates.get(stage_id, candidate_pb2.PromptTemplate())
        instruction = self._components.get(choice.instruction_id, candidate_pb2.Component())
        demos = self._components.get(choice.demo_set_id, candidate_pb2.Component())
        optional = {
            name
            for name, kind in template.wildcards.items()
            if kind == candidate_pb2.WILDCARD_KIND_OPTIONAL
        }
        return StagePrompt(
            stage_id=stage_id,
            instruction=instruction.instruction.text,
            demos=tuple(_demo(one) for one in demos.demo_set.demos),
            pattern=tuple((one.role, one.pattern) for one in template.messages),
            optional_wildcards=frozenset(optional),
            renders_instruction=template.mode == candidate_pb2.SUBSTITUTION_MODE_PATTERN,
            instruction_id=choice.instruction_id,
            demo_set_id=choice.demo_set_id,
        )


def _demo(message: candidate_pb2.Demo) -> PromptDemo:
    return PromptDemo(
        bindings=dict(sorted(message.bindings.items())),
        messages=tuple(json.loads(one) for one in message.messages),
    )
