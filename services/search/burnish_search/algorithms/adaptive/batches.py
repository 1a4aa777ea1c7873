"""Small batches for a search that reflects, as GEPA does: which rows, and who is kept.

Independent of any engine: it says which rows a child is first tried on, whether it is worth more,
and which validation rows it gets then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from burnish.adaptive_levels import BATCH_LEVELS
from burnish_search.algorithms import base
from burnish_search.algorithms.minibatches import Minibatches, RowKey
from burnish_search.algorithms.settings import Reader
from burnish_search.model import Pool, StudySpec

_DEFAULT_LEVEL = "MODERATE"
_DIGITS = 9
Rewards = Mapping[RowKey, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How batches adapt.

    Attributes:
        reflection_minibatch_size: Rows that a child is first tried on.
        min_local_improvement: Gain on those rows that a child has to be above.
        val_evaluation_mode: `full`, or `subsample`.
        val_subsample_size: Validation rows of a child that was kept, when not all.
        candidate_selection_strategy: `coverage` or `random`.
    """

    reflection_minibatch_size: int = 3
    min_local_improvement: float = 0.0
    val_evaluation_mode: str = "subsample"
    val_subsample_size: int = 64
    candidate_selection_strategy: str = "coverage"

    def fitted(self, *, train_count: int, validation_count: int) -> BatchSettings:
        """Returns them with sizes that so many rows allow, at least 1."""
        return replace(
            self,
            reflection_minibatch_size=max(min(self.reflection_minibatch_size, train_count), 1),
            val_subsample_size=max(min(self.val_subsample_size, validation_count), 1),
        )


def parse(table: object) -> tuple[BatchSettings | None, list[str]]:
    """Reads an `adaptive_batch` table, or a level alone.

    Returns:
        The settings; None without batches that adapt, and when something is wrong. And every
        problem.
    """
    if table is None:
        return None, []
    given = {"level": table} if isinstance(table, str) else table
    if not isinstance(given, Mapping):
        return None, [f"setting `adaptive_batch` is {table!r}; give a table or a level"]
    levels = Reader({"level": given.get("level")}, path="adaptive_batch.")
    level = levels.choice("level", tuple(BATCH_LEVELS)) or _DEFAULT_LEVEL
    sizes = {key: value for key, value in given.items() if value is not None}
    reader = Reader({**BATCH_LEVELS[level], **sizes}, path="adaptive_batch.")
    reader.skip("level")
    usual = BatchSettings()
    least = reader.number("min_local_improvement", least=-1.0)
    parsed = BatchSettings(
        reflection_minibatch_size=reader.whole(
            "reflection_minibatch_size", usual.reflection_minibatch_size
        ),
        min_local_improvement=usual.min_local_improvement if least is None else least,
        val_evaluation_mode=reader.choice("val_evaluation_mode", ("full", "subsample"))
        or usual.val_evaluation_mode,
        val_subsample_size=reader.whole("val_subsample_size", usual.val_subsample_size),
        candidate_selection_strategy=reader.choice(
            "candidate_selection_strategy", ("coverage", "random")
        )
        or usual.candidate_selection_strategy,
    )
    reader.finish()
    problems = [*levels.problems, *reader.problems]
    return (None if problems or level == "NONE" else parsed), problems


class AdaptiveBatches:
    """The batches of one search.

    Attributes:
        settings: Its settings, fitted to the rows that there are.
    """

    def __init__(self, spec: StudySpec, settings: BatchSettings) -> None:
        """Takes the rows of a study: reflection on the online pool, the rest on validation."""
        self.settings = settings.fitted(
            train_count=len(spec.online), validation_count=len(spec.validation)
        )
        self._reflection = Minibatches(spec, Pool.ONLINE, spec.online)
        order = [(Pool.VALIDATION, seed) for seed in spec.validation]
        base.generator(spec, "adaptive batch", 0).shuffle(order)
        self._validation = tuple(order)

    def reflection(
        self, number: int, *, size: int | None = None, asked: Set[RowKey] = frozenset()
    ) -> tuple[RowKey, ...]:
        """Returns the rows of reflection `number`, without those that were asked before.

        Args:
            number: Which reflection, from 0.
            size: Rows of it; None is the size in the settings.
            asked: Rows to leave out.
        """
        size = self.settings.reflection_minibatch_size if size is None else size
        return self._reflection.draw(number, size, asked=asked)

    def keeps(self, child: Rewards, parent: Rewards) -> bool:
        """Whether a child is worth validation, by the rows that both were measured on."""
        shared = child.keys() & parent.keys()
        least = self.settings.min_local_improvement
        gain = math.fsum(child[row] - parent[row] - least for row in shared)
        # Sums of decimal rewards that are equal may differ in the last digits.
        return round(gain, _DIGITS) > 0

    def validation(
        self, looks: Mapping[RowKey, int], *, among: Sequence[RowKey] | None = None
    ) -> tuple[RowKey, ...]:
        """Returns the validation rows of the next child that was kept.

        A part of them are those looked at least so far, so that all of them come to be covered.

        Args:
            looks: How many candidates were measured on each row.
            among: Rows to choose from; None is the validation pool.
        """
        rows = self._validation if among is None else tuple(among)
        if self.settings.val_evaluation_mode == "full":
            return rows
        order = sorted(rows, key=lambda row: looks.get(row, 0))
        return tuple(order[: self.settings.val_subsample_size])
