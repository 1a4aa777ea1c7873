"""The value objects of a search, without protobuf; numbers of its enums are those of the wire."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from burnish import identity
from burnish.tradeoffs import Standing
from burnish_search.features import Features


class Pool(enum.IntEnum):
    """What a seed is drawn for. Rows of different pools never mix."""

    BOOTSTRAP = 1
    ONLINE = 2
    VALIDATION = 3


class Kind(enum.IntEnum):
    """What a component chooses for its stage."""

    INSTRUCTION = 0
    DEMO_SET = 1


class TrialKind(enum.IntEnum):
    """What a trial is for."""

    MINIBATCH = 1
    FULL = 2
    TOP_K = 3


class TrialState(enum.IntEnum):
    """Where a trial stands."""

    ACTIVE = 1
    SUCCEEDED = 2
    FAILED = 3


class StudyState(enum.IntEnum):
    """Where a study stands."""

    ACTIVE = 1
    COMPLETED = 2


class ProposalMode(enum.IntEnum):
    """How the instructions of a brief come about."""

    FRESH = 0
    REFLECTION = 1
    MERGE = 2


class FinishReason(enum.IntEnum):
    """Why a study ended."""

    COMPLETED = 1
    BUDGET = 2
    SPACE_EXHAUSTED = 3
    NO_IMPROVEMENT = 4
    TARGET_REACHED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """The smallest thing that a search chooses; its text stays with the controller.

    Attributes:
        component_id: Content hash minted by the controller.
        stage_id: Stage that it is for.
        kind: Instruction or demo set.
        baseline: Whether it is part of the app's own prompt, as its source tells.
        zero_shot: Whether it is the empty demo set, as its source tells.
        features: What it is like; None when that was not told.
    """

    component_id: str
    stage_id: str
    kind: Kind
    baseline: bool = False
    zero_shot: bool = False
    features: Features | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A complete prompt.

    Attributes:
        candidate_id: Content hash over the choices.
        stage_ids: Stages in the order they run.
        choices: Component ids: the instruction, then the demo set, of each stage in that order.
    """

    candidate_id: str
    stage_ids: tuple[str, ...]
    choices: tuple[str, ...]

    @classmethod
    def of(cls, stage_ids: tuple[str, ...], choices: tuple[str, ...]) -> Candidate:
        """Builds a candidate from its choices, which are two per stage."""
        pairs = zip(choices[0::2], choices[1::2], strict=True)
        return cls(
            candidate_id=identity.candidate_id(dict(zip(stage_ids, pairs, strict=True))),
            stage_ids=stage_ids,
            choices=choices,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One observation to be made: a candidate on a seed."""

    candidate_id: str
    pool: Pool
    seed: int
    repeat: int = 0
    fidelity: int = 0

    @property
    def row(self) -> tuple[Pool, int]:
        """What the cell shares with the cells of other candidates on the same data."""
        return (self.pool, self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was measured for a cell.

    Attributes:
        reward: The reward; None when the measurement is missing.
        costs: What it cost, by objective; one that is not known is left out.
        predicted: Whether the reward was predicted from a cheaper model's, not measured.
    """

    cell: Cell
    reward: float | None
    costs: tuple[tuple[str, float], ...] = ()
    predicted: bool = False


@dataclass(slots=True, kw_only=True)
class Trial:
    """One evaluation of one candidate on some cells.

    Attributes:
        trial_index: Position among the study's trials, from 0.
        candidate: What is evaluated.
        kind: What it is for.
        cells: Cells to observe, in order.
        iteration: Iteration of the algorithm, from 0.
        state: Where it stands.
        mean_reward: Mean over the cells observed; None until closed, and when none was.
        observed_count: How many cells were observed.
        rows_at_close: How many rows the history held when it was closed.
    """

    trial_index: int
    candidate: Candidate
    kind: TrialKind
    cells: tuple[Cell, ...]
    iteration: int
    state: TrialState = TrialState.ACTIVE
    mean_reward: float | None = None
    observed_count: int = 0
    rows_at_close: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPlan:
    """A trial as an algorithm wants it, before it is numbered; all its rows are of one repeat."""

    candidate: Candidate
    kind: TrialKind
    rows: tuple[tuple[Pool, int], ...]
    iteration: int
    repeat: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """How a sampler splits the trials that it was told.

    Attributes:
        observation_count: Trials with a reward.
        good_count: Trials that it takes for good ones.
        bad_count: Trials that it takes for bad ones, those under way among them.
        gamma: Share of the trials that it takes for good.
    """

    observation_count: int
    good_count: int
    bad_count: int
    gamma: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """Trials to be observed, in order; none of their cells was suggested before.

    Attributes:
        trials: The trials.
        sampler: What chose their candidates goes by; None when no sampler did.
    """

    trials: tuple[TrialPlan, ...]
    sampler: Sampler | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalPlan:
    """What to ask the proposer for.

    Attributes:
        proposal_id: Unique in its study.
        stage_ids: Stages to write for.
        count: Instructions per stage, at least 1.
        parent_candidate_ids: Candidates to learn from, best first.
        iteration: Iteration of the algorithm that asks, from 0.
        mode: How the instructions come about.
        evidence_seeds: Seeds of the online pool whose rollouts by the parents are to be learnt
            from; empty leaves it to who answers.
    """

    proposal_id: str
    stage_ids: tuple[str, ...]
    count: int
    parent_candidate_ids: tuple[str, ...]
    iteration: int
    mode: ProposalMode = ProposalMode.FRESH
    evidence_seeds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishPlan:
    """The end of a study."""

    reason: FinishReason


Plan: TypeAlias = EvaluationPlan | ProposalPlan | FinishPlan


@dataclass(slots=True, kw_only=True)
class Work:
    """What was suggested for an ask.

    Attributes:
        ask_index: Which ask it answers, from 0.
        plan: A proposal or the end; None when it is an evaluation.
        trials: The trials of an evaluation.
        revision: Revision that it led to.
        closed: Whether nothing more will be told of it.
        sampler: What the sampler went by; None when none was asked.
    """

    ask_index: int
    plan: ProposalPlan | FinishPlan | None
    trials: tuple[Trial, ...]
    revision: int
    closed: bool = False
    sampler: Sampler | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySpec:
    """What a study is created with.

    Attributes:
        name: Resource name.
        algorithm: Name of the algorithm.
        settings: Algorithm settings as JSON values.
        random_seed: Seed of every random choice.
        stage_ids: Stages in the order they run.
        online: Seeds that minibatches are drawn from.
        validation: Seeds of a full evaluation.
        max_cell_count: Most cells to suggest in all; None is no limit.
        written_stage_ids: Stages that instructions are written for; none are all of them.
    """

    name: str
    algorithm: str
    settings: Mapping[str, object] = field(default_factory=dict)
    random_seed: int = 0
    stage_ids: tuple[str, ...]
    online: tuple[int, ...] = ()
    validation: tuple[int, ...] = ()
    max_cell_count: int | None = None
    written_stage_ids: tuple[str, ...] = ()

    @property
    def written(self) -> tuple[str, ...]:
        """Returns the stages that instructions are written for, in the order they run."""
        wanted = self.written_stage_ids or self.stage_ids
        return tuple(stage_id for stage_id in self.stage_ids if stage_id in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean with its interval, in reward."""

    mean: float
    row_count: int
    lower: float
    upper: float
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One candidate and what is believed of it.

    Attributes:
        candidate: The candidate.
        pooled: Estimate that the ranking is by; its `row_count` counts own observations.
        validation: Mean on the validation pool; None when it was never observed there.
        baseline: Whether it is the baseline.
        objectives: Mean of what else it is judged by; one that is not known is left out.
        standing: Where it stands by reward and one of them; None before they were compared.
        expected: Reward to expect on other rows, by a model of rows; None without such a model.
    """

    candidate: Candidate
    pooled: Estimate
    validation: Estimate | None
    baseline: bool
    objectives: Mapping[str, Estimate] = field(default_factory=dict)
    standing: Standing | None = None
    expected: Estimate | None = None
