"""Recorded matrices of prompts and examples, found and sorted by what they hold, not by names.

A folder holds files `*.npz` with an array `Y` (prompts x examples) of rewards in [0, 1], where a
negative entry was not evaluated. `no_racing` may mark prompts that were kept whatever they scored,
and `example_hash` may name the examples: two matrices with the same ones are of two models.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_LEAST_PROMPTS = 24
_LEAST_EXAMPLES = 60
_NULL_SPREAD = 0.008
_LIVE_SPREAD = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Prompts that were evaluated on every example.

    Attributes:
        name: What to call it in a table.
        rewards: Prompts x examples.
        spread: Standard deviation between prompts that chance does not explain.
        examples: What tells the examples apart; empty when that is not known.
    """

    name: str
    rewards: Array
    spread: float
    examples: tuple[int, ...] = ()

    @property
    def null(self) -> bool:
        """Whether no prompt is better than another but by chance."""
        return self.spread <= _NULL_SPREAD

    @property
    def live(self) -> bool:
        """Whether there is something to be found."""
        return self.spread >= _LIVE_SPREAD


def spread(rewards: Array) -> float:
    """Returns the standard deviation of prompts' means, less what the examples' noise puts in."""
    prompts, examples = rewards.shape
    means = rewards.mean(axis=1)
    rest = rewards - means[:, None] - rewards.mean(axis=0) + rewards.mean()
    noise = float((rest**2).sum()) / ((prompts - 1) * (examples - 1))
    return float(np.sqrt(max(means.var(ddof=1) - noise / examples, 0.0)))


def load(folder: Path, *, grid_size: int) -> list[Matrix]:
    """Loads every usable matrix of a folder, in the order of the file names.

    Args:
        folder: Where they are.
        grid_size: Prompts that a grid takes: where so many prompts were kept whatever they
            scored, the survivors of a race are left out.

    Raises:
        SystemExit: There is none.
    """
    found = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as stored:
            if "Y" not in stored or stored["Y"].ndim != 2:
                continue
            rewards = stored["Y"].astype(np.float64)
            examples = stored["example_hash"].tolist() if "example_hash" in stored else ()
            kept = (np.isfinite(rewards) & (rewards >= 0)).all(axis=1)
            unraced = kept & stored["no_racing"] if "no_racing" in stored else ~kept
        if unraced.sum() >= grid_size:
            kept = unraced
        rewards = rewards[kept]
        if len(rewards) >= _LEAST_PROMPTS and rewards.shape[1] >= _LEAST_EXAMPLES:
            found.append(
                Matrix(
                    name=path.stem,
                    rewards=rewards,
                    spread=spread(rewards),
                    examples=tuple(examples),
                )
            )
    if not found:
        raise SystemExit(
            f"`{folder}` holds no matrix of at least {_LEAST_PROMPTS} prompts, each with a reward "
            f"for at least {_LEAST_EXAMPLES} examples; give a folder of `*.npz` files with an "
            "array `Y`"
        )
    return found
