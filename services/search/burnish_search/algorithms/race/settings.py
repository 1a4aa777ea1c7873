"""Settings of the race, read and checked together with those that every search shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from burnish_search.algorithms import settings
from burnish_search.algorithms.settings import Reader, SearchSettings

_OWN = ("engine", "max_evaluations", "race")


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceSettings:
    """Settings of the race.

    Attributes:
        shared: Settings that every search by minibatches has.
        max_evaluations: Most cells to race; None is what the planned minibatches would take.
        arms_per_batch: Candidates of one work; None follows from the budget.
        rows_per_arm: Rows that a candidate is looked at on per turn.
        stop_regret: Ends the race when no more than so much reward is expected to be missed.
        headroom: Ends a race of about 1,000 cells whose candidates do not seem to differ when the
            best of them is expected to be no more than so much above the baseline; in a longer
            race, less in proportion. In a shorter one it has to be surer that they do not differ.
        least_gain: Gain over the baseline that is reason enough to go on.
        confirm: Share of the cells, as rows that leader and baseline are both to have at the end.
        factors: Whether instructions and demo sets have effects of their own.
        row_effects: Whether rows differ in how easy they are.
        informative: Whether rows are chosen that tell candidates apart.
    """

    shared: SearchSettings
    max_evaluations: int | None = None
    arms_per_batch: int | None = None
    rows_per_arm: int = 5
    stop_regret: float = 0.003
    headroom: float = 0.08
    least_gain: float = 0.025
    confirm: float = 0.1
    factors: bool = True
    row_effects: bool = True
    informative: bool = True


def parse(given: Mapping[str, object]) -> tuple[RaceSettings, list[str]]:
    """Reads settings as JSON values.

    Returns:
        The settings, with the default wherever a value cannot be used, and every problem found.
    """
    shared, problems = settings.parse(
        {key: value for key, value in given.items() if key not in _OWN}
    )
    outer = Reader({key: given[key] for key in _OWN if key in given}, path="")
    outer.skip("engine")
    most = outer.optional_whole("max_evaluations")
    table = Reader(outer.table("race"), path="race.")
    defaults = RaceSettings(shared=shared)
    parsed = RaceSettings(
        shared=shared,
        max_evaluations=most,
        arms_per_batch=table.optional_whole("arms_per_batch"),
        rows_per_arm=table.whole("rows_per_arm", defaults.rows_per_arm),
        stop_regret=_share(table, "stop_regret", defaults.stop_regret),
        headroom=_share(table, "headroom", defaults.headroom),
        least_gain=_share(table, "least_gain", defaults.least_gain),
        confirm=_share(table, "confirm", defaults.confirm),
        factors=_switch(table, "factors"),
        row_effects=_switch(table, "row_effects"),
        informative=_switch(table, "informative"),
    )
    outer.finish()
    table.finish()
    return parsed, [*problems, *outer.problems, *table.problems]


def _switch(table: Reader, key: str) -> bool:
    return table.choice(key, ("on", "off")) != "off"


def _share(table: Reader, key: str, default: float) -> float:
    given = table.share(key)
    return default if given is None else given
