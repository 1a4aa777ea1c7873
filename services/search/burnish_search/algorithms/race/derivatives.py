"""What a race's model says of the cells at a point, and the likelihood's derivatives there."""

from __future__ import annotations

from dataclasses import dataclass

from burnish_search.algorithms.race.evidence import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What effects and ease say of the cells.

    Attributes:
        share: Reward that each cell is expected to have.
        weight: Second derivative of each cell's likelihood by its worth, less own effects.
        pull: First derivative, likewise.
        rows: Weight of the cells of every row.
    """

    share: Floats
    weight: Floats
    pull: Floats
    rows: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """First and second derivatives of the likelihood at a point.

    Attributes:
        row_pull: Derivative by the ease of every row.
        spread: Weight of the cells by column and row.
        gram: Weight of the cells by column and column.
        pull: Derivative by the effect of every column.
    """

    row_pull: Floats
    spread: Floats
    gram: Floats
    pull: Floats
