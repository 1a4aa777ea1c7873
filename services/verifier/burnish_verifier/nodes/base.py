"""What a node is given, what it answers, and the interface of those that take their time.

Checks and aggregations are evaluated in place. Everything else is an `Evaluator`: the engine asks
it with what it needs, keeps its results by `NodeTask.key`, and never asks twice at once for a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from burnish.rubrics import Rubric
from burnish_verifier.fuse import Failed
from burnish_verifier.steps import CalibrationExample, GoldExample, ModelRef

if TYPE_CHECKING:
    from burnish_verifier.graph import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a rollout gives to a graph, as JSON text; empty when it gives none.

    Attributes:
        output: The app's output.
        reference: What was wanted.
        session_trace: The calls, in trace format 3; empty unless a node reads more than the output.
    """

    output: bytes = field(default=b"", repr=False)
    reference: bytes = field(default=b"", repr=False)
    session_trace: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions:
    """What a request tells judges beyond the graph.

    Attributes:
        rubric: The task's rubric, for judges without one of their own or which inherit.
        model: Model of every judge; None leaves each its own.
        context: What the program is meant to do; may be empty.
        calibration_examples: For few-shot judges without any of their own.
        gold_examples: For contrastive judges without any of their own.
        timeout: Seconds for one judgement.
        max_concurrency: Most judgements of the request under way at once.
    """

    rubric: Rubric | None = None
    model: ModelRef | None = None
    context: str = field(default="", repr=False)
    calibration_examples: tuple[CalibrationExample, ...] = ()
    gold_examples: tuple[GoldExample, ...] = ()
    timeout: float = 60.0
    max_concurrency: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Tokens and money of calls.

    Attributes:
        cost_usd: None when a price is unknown, which is not 0.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    call_count: int = 0
    possibly_paid_call_count: int = 0
    estimated: bool = False

    def plus(self, other: Spending) -> Spending:
        """Returns the two together."""
        unknown = self.cost_usd is None or other.cost_usd is None
        return Spending(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=None if unknown else (self.cost_usd or 0.0) + (other.cost_usd or 0.0),
            call_count=self.call_count + other.call_count,
            possibly_paid_call_count=self.possibly_paid_call_count + other.possibly_paid_call_count,
            estimated=self.estimated or other.estimated,
        )


NOTHING = Spending()


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionScore:
    """Score of one criterion, or a named sub-score.

    Attributes:
        score: In [0, 1]; above 1 only in a sum.
        weight: Of the criterion.
        description: What earns the score.
    """

    criterion_id: str
    score: float
    reason: str = ""
    weight: float = 1.0
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReview:
    """What was said of one event.

    Attributes:
        event_index: Which event, from 0.
        total: In [0, 1].
    """

    event_index: int
    total: float
    criteria: tuple[CriterionScore, ...] = ()
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSnippet:
    """A place in the trace that a judgement rests on.

    Attributes:
        iteration: In which step of the judgement it was found, from 0.
    """

    description: str
    snippet: str
    iteration: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeResult:
    """What one node said of one rollout.

    Attributes:
        score: In [0, 1]; None for a custom rubric, which a node after it makes a score of.
        reason: Why, in prose; empty when there is nothing to say.
        criteria: Scores of criteria, or named sub-scores.
        event_reviews: One per event that was judged, in order.
        spent: What it cost.
        simulated: Whether a simulated judge gave it.
        evidence: What a judge bases the score on.
        cached: Whether it was kept from earlier.
        seconds: How long it took.
    """

    score: float | None
    reason: str = ""
    criteria: tuple[CriterionScore, ...] = ()
    event_reviews: tuple[EventReview, ...] = ()
    spent: Spending = NOTHING
    simulated: bool = False
    evidence: tuple[EvidenceSnippet, ...] = ()
    cached: bool = False
    seconds: float = 0.0

    @property
    def event_score(self) -> float | None:
        """Mean over the events that were judged; None when there were none."""
        if not self.event_reviews:
            return None
        return sum(review.total for review in self.event_reviews) / len(self.event_reviews)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailed(Failed):
    """Why a node has no result.

    Attributes:
        spent: What was paid nevertheless.
    """

    spent: Spending = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTask:
    """One node to be evaluated on one rollout.

    Attributes:
        node: The node with its step.
        evidence: What the rollout gives.
        rollout_id: Which rollout.
        inputs: Results of the node's inputs, by node id.
        options: What the request tells judges.
        job: Resource name of the job that pays; empty when no job does.
        graph: Resource name of the graph's version.
        repeat: Which repeat of the same judgement, from 0.
        key: Hash of everything that the result may depend on, in lower-case hex.
    """

    node: Node
    evidence: Evidence
    rollout_id: str
    inputs: Mapping[str, NodeResult] = field(default_factory=dict)
    options: JudgeOptions = field(default_factory=JudgeOptions)
    job: str = ""
    graph: str = ""
    repeat: int = 0
    key: str = ""


class Evaluator(Protocol):
    """Evaluates nodes of one kind. Must be safe to be asked from many tasks of one loop."""

    async def evaluate(self, task: NodeTask) -> NodeResult | Failed:
        """Evaluates one node on one rollout.

        A failure is answered, not raised; `retryable` says whether the same rollout may be scored
        later. What is raised nevertheless counts as a failure that may not.
        """

    async def close(self) -> None:
        """Lets go of processes and connections."""
