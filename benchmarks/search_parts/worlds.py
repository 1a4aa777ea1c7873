"""Worlds that a search is let loose on: candidates with recorded rewards, and the truth kept back.

Every world splits the examples at random: two thirds to search on, one third that no search sees.
The rewards are real rows; only a grid's arrangement is made up, as no recorded set of prompts is a
full product of instructions and demo sets: rows are placed so that the means of its cells have
effects of instructions, of demo sets and of their combination in given shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.search_parts.matrices import Array, Matrix

MAIN_EFFECTS = (0.3, 0.4, 0.3)
NO_MAIN_EFFECTS = (0.1, 0.1, 0.8)
_MOST_ARMS = 72
_FLIPPED = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A family of worlds.

    Attributes:
        name: What to call it in a table.
        kind: `grid`, `flat`, `copies` (one row at every arm) or `null` (rows as they are).
        matrices: Where rows are taken from.
        shape: Instructions and demo sets of a grid.
        shares: Shares of the variance between a grid's cells: instruction, demo set, both.
        cheap: For each matrix one of a cheaper model on the same examples; empty without any.
        agreement: Correlation of what arms are worth to the two models, but for noise.
        flipped: Share of the cells that are turned over, as a model at a high temperature would.
    """

    name: str
    kind: str
    matrices: tuple[Matrix, ...]
    shape: tuple[int, int] = (6, 12)
    shares: tuple[float, float, float] = MAIN_EFFECTS
    cheap: tuple[Matrix, ...] = ()
    agreement: float = 1.0
    flipped: float = 0.0


class Searched(Protocol):
    """What a search needs of a world."""

    @property
    def name(self) -> str:
        """What to call it."""

    @property
    def seed(self) -> int:
        """Seed of whatever a search draws in it."""

    @property
    def shape(self) -> tuple[int, int]:
        """Instructions and demo sets of every stage."""

    @property
    def stages(self) -> int:
        """How many stages it has; an arm's number has one digit for each choice."""

    @property
    def row_count(self) -> int:
        """How many examples searches may look at."""

    def reward(self, arm: int, example: int) -> float:
        """Returns what an arm earns on an example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One world; arm 0 is the baseline.

    Attributes:
        name: What to call it: environment, matrix and repetition.
        seed: Seed of whatever a search draws in it.
        shape: Instructions and demo sets; arm `i * demo sets + d` is instruction i with set d.
        seen: Rewards that searches may buy, arms x examples.
        held: Rewards that no search sees.
        exact: Worth of every arm where it is known exactly; else None.
        low: What `seen` is on a cheaper model; None without one.
    """

    name: str
    seed: int
    shape: tuple[int, int]
    seen: Array
    held: Array
    exact: Array | None = None
    low: Array | None = None

    @property
    def stages(self) -> int:
        """How many stages it has."""
        return 1

    @property
    def row_count(self) -> int:
        """How many examples searches may look at."""
        return int(self.seen.shape[1])

    def reward(self, arm: int, example: int) -> float:
        """Returns what an arm earns on an example."""
        return float(self.seen[arm, example])

    @property
    def worth(self) -> Array:
        """What every arm is worth: the mean over all examples, seen and held back."""
        if self.exact is not None:
            return self.exact
        return np.asarray(np.concatenate([self.seen, self.held], axis=1).mean(axis=1))

    def regret(self, arm: int) -> float:
        """Returns how far an arm is below the best one, in points."""
        return 100.0 * float(self.worth.max() - self.worth[arm])


def build(environment: Environment, place: int, repetition: int) -> World:
    """Builds one world; the same arguments give the same one."""
    matrix = environment.matrices[place]
    rng = np.random.default_rng([repetition, place, len(matrix.rewards)])
    rows, shape, exact = _arranged(environment, matrix.rewards, rng)
    examples = rng.permutation(rows.shape[1])
    if environment.flipped:
        exact = rows.mean(axis=1) if exact is None else exact
        # Numbers of their own: worlds are the same whatever share of their cells is turned over.
        turned = np.random.default_rng([repetition, place, 1]).random(rows.shape)
        rows = np.abs(rows - (turned < environment.flipped))
    split = 2 * len(examples) // 3
    low = None
    if environment.cheap:
        other = _agreeing(rows, environment.cheap[place].rewards, environment.agreement, rng)
        low = other[:, examples[:split]]
    return World(
        name=f"{environment.name}/{matrix.name}/{repetition}",
        seed=1000 * place + repetition + 1,
        shape=shape,
        seen=rows[:, examples[:split]],
        held=rows[:, examples[split:]],
        exact=exact,
        low=low,
    )


def _arranged(
    environment: Environment, rewards: Array, rng: np.random.Generator
) -> tuple[Array, tuple[int, int], Array | None]:
    if environment.kind == "grid":
        return _grid(environment, rewards, rng), environment.shape, None
    if environment.kind == "copies":
        size = environment.shape[0] * environment.shape[1]
        row = rewards[rng.integers(len(rewards))]
        flips = rng.random((size, len(row))) < _FLIPPED
        return np.abs(row - flips), environment.shape, np.full(size, _flipped_mean(row))
    count = min(_MOST_ARMS, len(rewards))
    return rewards[rng.choice(len(rewards), count, replace=False)], (count, 1), None


def _flipped_mean(row: Array) -> float:
    return float((1 - _FLIPPED) * row.mean() + _FLIPPED * (1 - row).mean())


def _grid(environment: Environment, rewards: Array, rng: np.random.Generator) -> Array:
    instructions, demo_sets = environment.shape
    deviations = np.sqrt(environment.shares)
    wanted = (
        rng.normal(0, deviations[0], (instructions, 1))
        + rng.normal(0, deviations[1], (1, demo_sets))
        + rng.normal(0, deviations[2], environment.shape)
    ).ravel()
    chosen = rng.choice(len(rewards), len(wanted), replace=len(rewards) < len(wanted))
    means = rewards[chosen].mean(axis=1) + rng.normal(0, 1e-6, len(chosen))
    placed = np.empty(len(wanted), dtype=np.int64)
    placed[np.argsort(wanted)] = chosen[np.argsort(means)]
    return rewards[placed]


def _agreeing(rows: Array, cheap: Array, agreement: float, rng: np.random.Generator) -> Array:
    """Returns a cheaper model's rows for the arms: real ones, placed to agree so far in worth."""
    means = rows.mean(axis=1)
    known = (means - means.mean()) / max(float(means.std()), 1e-9)
    wanted = agreement * known + np.sqrt(1.0 - agreement**2) * rng.normal(0, 1, len(rows))
    chosen = rng.choice(len(cheap), len(rows), replace=len(cheap) < len(rows))
    placed = np.empty(len(rows), dtype=np.int64)
    placed[np.argsort(wanted)] = chosen[np.argsort(cheap[chosen].mean(axis=1))]
    return cheap[placed]
