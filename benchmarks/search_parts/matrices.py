"""Recorded matrices of prompts and examples, found and sorted by what they hold, not by names.

A folder holds files `*.npz` with an array `Y` (prompts x examples) of rewards in [0, 1], where a
negative entry was not evaluated. `no_racing` may mark prompts that were kept whatever they scored,
and `example_hash` may name the examples: two matrices with the same ones are of two models.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_USED = ("Y", "no_racing", "example_hash")
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
    examples: tuple[object, ...] = ()

    @property
    def null(self) -> bool:
        """Whether no prompt is better than another but by chance."""
        return self.spread <= _NULL_SPREAD

    @property
    def live(self) -> bool:
        """Whether there is something to be found."""
        return self.spread >= _LIVE_SPREAD

    @property
    def described(self) -> str:
        """What it holds, and what it is taken for."""
        prompts, examples = self.rewards.shape
        kind = "something to find" if self.live else "nothing to find" if self.null else "neither"
        points = 100.0 * self.spread
        return f"{prompts} prompts x {examples} examples, {points:.1f} points apart: {kind}"


def spread(rewards: Array) -> float:
    """Returns the standard deviation of prompts' means, less what the examples' noise puts in."""
    prompts, examples = rewards.shape
    means = rewards.mean(axis=1)
    rest = rewards - means[:, None] - rewards.mean(axis=0) + rewards.mean()
    noise = float((rest**2).sum()) / ((prompts - 1) * (examples - 1))
    return float(np.sqrt(max(means.var(ddof=1) - noise / examples, 0.0)))


def load(
    folder: Path, *, grid_size: int, tell: Callable[[str], None] = lambda _: None
) -> list[Matrix]:
    """Loads every usable matrix of a folder, in the order of the file names.

    Args:
        folder: Where they are.
        grid_size: Prompts that a grid takes: where so many prompts were kept whatever they
            scored, the survivors of a race are left out.
        tell: Gets a sentence on every file that is not used, or not all of it.

    Raises:
        SystemExit: There is none.
    """
    if not folder.is_dir():
        raise SystemExit(f"`{folder}` is not a folder; give one of `*.npz` files, see matrices.py")
    found = []
    for path in sorted(folder.glob("*.npz")):
        try:
            found.append(_matrix(path, grid_size=grid_size, tell=tell))
        except _Unusable as error:
            tell(f"`{path.name}`: {error}")
    if not found:
        raise SystemExit(
            f"`{folder}` holds no matrix of at least {_LEAST_PROMPTS} prompts, each with a reward "
            f"for at least {_LEAST_EXAMPLES} examples; give a folder of `*.npz` files with an "
            "array `Y`"
        )
    return found


class _Unusable(Exception):
    """A file that is no matrix of rewards, or too small a one."""


def _matrix(path: Path, *, grid_size: int, tell: Callable[[str], None]) -> Matrix:
    arrays = _arrays(path)
    if "Y" not in arrays:
        raise _Unusable(f"no array `Y`, but {', '.join(sorted(arrays)) or 'nothing at all'}")
    given = arrays["Y"]
    if given.ndim != 2 or given.dtype.kind not in "biuf":
        raise _Unusable(f"`Y` is {given.ndim}-dimensional {given.dtype}, not prompts x examples")
    rewards = given.astype(np.float64)
    measured = np.isfinite(rewards) & (rewards >= 0)
    if (rewards[measured] > 1).any():
        raise _Unusable(f"rewards are in [0, 1], and `Y` has {rewards[measured].max():g}")
    kept = measured.all(axis=1)
    unraced = kept & _along(arrays, "no_racing", len(rewards), path, tell).astype(bool)
    if unraced.sum() >= grid_size:
        kept = unraced
    rewards = rewards[kept]
    if len(rewards) < _LEAST_PROMPTS or rewards.shape[1] < _LEAST_EXAMPLES:
        raise _Unusable(
            f"{len(rewards)} of {len(given)} prompts have a reward for each of {given.shape[1]} "
            f"examples; at least {_LEAST_PROMPTS} are needed, on at least {_LEAST_EXAMPLES}"
        )
    examples = _along(arrays, "example_hash", rewards.shape[1], path, tell)
    return Matrix(
        name=path.stem,
        rewards=rewards,
        spread=spread(rewards),
        examples=tuple(examples.tolist()) if examples.any() else (),
    )


def _arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Returns the arrays of a file that may be of use."""
    if not zipfile.is_zipfile(path):
        raise _Unusable("it is no whole archive of arrays, as `numpy.savez` writes it")
    try:
        with path.open("rb") as file:
            stored = np.load(file)
            return {name: stored[name] if name in _USED else np.zeros(0) for name in stored.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise _Unusable(f"it cannot be read: {error or type(error).__name__}") from None


def _along(
    arrays: Mapping[str, npt.NDArray[np.generic]],
    name: str,
    length: int,
    path: Path,
    tell: Callable[[str], None],
) -> npt.NDArray[np.generic]:
    """Returns an array of one entry per prompt or example; zeros where it is not given."""
    found = arrays.get(name)
    if found is not None and found.shape == (length,):
        return found
    if found is not None:
        tell(f"`{path.name}`: `{name}` has shape {found.shape}, not ({length},); it is not used")
    return np.zeros(length)
