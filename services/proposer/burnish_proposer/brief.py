"""What a proposal is written from, in the engine's own terms."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Effort(enum.StrEnum):
    """How much context, and which class of model, a proposal may spend."""

    LOW_CONTEXT = "LOW_CONTEXT"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


class OutputTier(enum.StrEnum):
    """How much may be written per instruction."""

    RAPID = "RAPID"
    FAST = "FAST"
    SLOW = "SLOW"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A row and its right answer."""

    input: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """A row that went well, and the reward of its rollout in [0, 1]."""

    input: str
    output: str
    reward: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A text of the reference corpus.

    Attributes:
        text: The text.
        source: Where it is from; may be empty.
        output: The right answer, when it is a labelled row; else empty.
    """

    text: str
    source: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedExample:
    """A row that came out wrong.

    Attributes:
        input: What came in.
        expected: What should have gone out; may be empty when only the feedback is known.
        actual: What went out.
        feedback: What was said about it; may be empty.
        reward: Reward of the rollout; None when unknown.
    """

    input: str
    expected: str
    actual: str
    feedback: str = ""
    reward: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """An instruction that was tried.

    Attributes:
        text: The instruction.
        reward: Mean reward, in [0, 1].
        row_count: How many rows the mean is over.
    """

    text: str
    reward: float
    row_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reflection:
    """Rewrite one instruction by what went wrong with it.

    Attributes:
        parent: The instruction that the failures of the brief happened under.
    """

    parent: Tried


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeParent:
    """An instruction to combine with another, and rows that only it got right."""

    tried: Tried
    solved: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Combine two instructions, the better one first."""

    first: MergeParent
    second: MergeParent


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One message that the program sends, with `{wildcard}` placeholders."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """Everything that instructions are written from.

    Attributes:
        stage_id: The stage.
        role: What the stage does, in prose; may be empty.
        patterns: What the program sends for it.
        baseline: Its instruction now.
        placeholders: Names that every instruction has to hold, in braces.
        count: How many new instructions, at least 1.
        retry_limit: How often a refused one is asked for again.
        random_seed: Seed of every random choice.
        effort: How much context to show.
        output_tier: How much may be written.
        dataset_summary: Empty when unknown.
        program: Source or description of the program; empty when unknown.
        examples: Rows with their answers.
        failures: Rows that the baseline got wrong.
        history: What was tried, best first.
        guidance: The user's own words for the meta-prompt.
        specification: The rendered specification; empty without one.
        module: What the stage's module does; empty when unknown.
        protected: Regions that every instruction has to hold word for word.
        demos: Rollouts that went well, best first.
        references: The reference corpus.
        avoid: Instructions to stay away from, the last ones first.
        duplicate_overlap: Share of common words from which two instructions are the same; None
            leaves it to the guards.
        meta_prompt: Text of a meta-prompt in place of the shipped one; empty for that one.
        mode: How instructions come about; None is out of all the evidence.
        max_tokens: Most tokens of an instruction; None leaves it to the output tier.
    """

    stage_id: str
    baseline: str
    count: int
    random_seed: int
    effort: Effort
    output_tier: OutputTier
    role: str = ""
    patterns: tuple[Pattern, ...] = ()
    placeholders: tuple[str, ...] = ()
    retry_limit: int = 0
    dataset_summary: str = field(default="", repr=False)
    program: str = field(default="", repr=False)
    examples: tuple[Example, ...] = field(default=(), repr=False)
    failures: tuple[FailedExample, ...] = field(default=(), repr=False)
    history: tuple[Tried, ...] = field(default=(), repr=False)
    guidance: str = field(default="", repr=False)
    specification: str = field(default="", repr=False)
    module: str = ""
    protected: tuple[str, ...] = ()
    demos: tuple[Demo, ...] = field(default=(), repr=False)
    references: tuple[Reference, ...] = field(default=(), repr=False)
    avoid: tuple[str, ...] = field(default=(), repr=False)
    duplicate_overlap: float | None = None
    meta_prompt: str = field(default="", repr=False)
    mode: Reflection | Merge | None = field(default=None, repr=False)
    max_tokens: int | None = None

    @property
    def base(self) -> str:
        """The instruction that new ones start from: the parent's, or the baseline."""
        match self.mode:
            case Reflection(parent=parent):
                return parent.text or self.baseline
            case Merge(first=first):
                return first.tried.text
        return self.baseline
