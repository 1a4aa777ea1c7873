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
class FailedExample:
    """A row that came out wrong."""

    input: str
    expected: str
    actual: str


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
