"""What a node of a verifier graph does: one value per kind, as the graph's author wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from burnish.rubrics import Rubric

JudgeMode = Literal["auto", "single", "map_reduce", "few_shot", "contrastive", "rlm"]
SimilarityMethod = Literal["exact", "embedding"]

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A model behind a provider.

    Attributes:
        provider: Name of the provider.
        model: The provider's model id.
        temperature: In [0, 2]; None leaves the provider's default.
        max_output_tokens: 0 leaves the default of whoever asks.
        base_url: Empty means the provider's own.
        price: US dollars per million tokens, by the names that `types.v1.Price` has; None asks the
            table of known prices.
    """

    provider: str
    model: str
    temperature: float | None = None
    max_output_tokens: int = 0
    base_url: str = ""
    price: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationExample:
    """A judged trace.

    Attributes:
        session_trace: JSON text.
        event_rewards: Reward of each event, in [0, 1]; empty when there are none.
        outcome_reward: In [0, 1].
    """

    session_trace: str = field(repr=False)
    outcome_reward: float
    event_rewards: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldExample:
    """A good answer.

    Attributes:
        summary: What was done.
        gold_reward: In [0, 1].
        gold_reasoning: Why it earns that.
        session_trace: JSON text; empty when there is none.
    """

    summary: str = field(repr=False)
    gold_reward: float
    gold_reasoning: str = field(default="", repr=False)
    session_trace: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinCheck:
    """A named check with its settings."""

    check: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricJudge:
    """A judge model with a rubric.

    Attributes:
        rubric: None takes the rubric of the request.
        model: None takes the model of the request.
        votes: Independent judgements to average, in [1, 9].
        mode: How a trace is read.
        token_budget: Most tokens of one judgement; 0 takes the mode's default.
        part_tokens: Most tokens of the trace in one part; 0 takes the default.
        calibration_examples: For `few_shot`.
        gold_examples: For `contrastive`.
        instructions: Come before the rubric.
        seed: Asked of the provider; None asks for none.
    """

    rubric: Rubric | None = None
    model: ModelRef | None = None
    votes: int = 1
    mode: JudgeMode = "auto"
    token_budget: int = 0
    part_tokens: int = 0
    calibration_examples: tuple[CalibrationExample, ...] = ()
    gold_examples: tuple[GoldExample, ...] = ()
    instructions: str = ""
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonCode:
    """Code of the user's own.

    Attributes:
        source: The code.
        function: Name of the function that scores.
        time_limit: Seconds, of the CPU and of the clock alike.
        memory_limit: Bytes of address space.
    """

    source: str = field(repr=False)
    function: str = "score"
    time_limit: float = 5.0
    memory_limit: int = 512 * MEBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """How near the answer is to what was wanted.

    Attributes:
        method: How they are compared.
        answer_path: Dotted path in the output.
        wanted_path: Dotted path in the reference.
        model: Embedding model; None takes the built-in one.
        floor: Similarity that counts as 0, in [0, 1).
    """

    method: SimilarityMethod = "exact"
    answer_path: str = ""
    wanted_path: str = ""
    model: ModelRef | None = None
    floor: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteNode:
    """A node served elsewhere.

    Attributes:
        target: gRPC target.
        timeout: Seconds for one try.
        attempts: Most tries.
        settings: Handed on as they are.
    """

    target: str
    timeout: float = 30.0
    attempts: int = 3
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedMean:
    """A weighted mean of the node's inputs; an input without a weight weighs 1."""

    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimum:
    """The lowest score of the node's inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The mean of the other inputs when every gate passes, else 0.

    Attributes:
        gates: Inputs that have to pass.
        threshold: Score from which one passes, in (0, 1].
    """

    gates: tuple[str, ...]
    threshold: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Majority:
    """1 when more inputs pass than do not, else 0.

    Attributes:
        threshold: Score from which one passes, in (0, 1].
    """

    threshold: float = 0.5


Aggregate = WeightedMean | Minimum | Gate | Majority
Step = (
    BuiltinCheck
    | RubricJudge
    | PythonCode
    | Similarity
    | RemoteNode
    | WeightedMean
    | Minimum
    | Gate
    | Majority
)
