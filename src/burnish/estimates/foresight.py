"""How large a gain a job is going to find, by its pools and its budget, before it runs."""

from __future__ import annotations

from typing import Final

from burnish.api.job.v1 import job_spec_pb2
from burnish.api.types.v1 import model_pb2
from burnish.estimates.rollouts import is_race, pool_size, rollouts_of
from burnish.promotion import rule_of
from burnish.verdicts import detectable_gain, size_warning

# Share of its rewards that a search spends on its winner at the least: on recorded tasks a race of
# 250 gave it a fifth and one of 1,000 an eighth; others evaluate their finalists whole.
_RACE_PART: Final = 8
_PART: Final = 4


def searched_rows(spec: job_spec_pb2.JobSpec) -> int:
    """Returns on how many rows that count in the verdict the search will see winner and baseline.

    The baseline is evaluated on every validation row, the winner on as many as the budget is good
    for. Rows that prompts are made from do not count.
    """
    if not rule_of(spec).search_evidence:
        return 0
    offline = spec.offline
    shown = {*_seeds(offline.bootstrap_pool), *_seeds(offline.reference_pool)}
    counted = len({*_seeds(offline.validation_pool)} - shown)
    part = _RACE_PART if is_race(spec) else _PART
    return min(counted, int(rollouts_of(spec)["search"].high) // part)


def gain_found(spec: job_spec_pb2.JobSpec) -> float:
    """Returns the gain that a job promotes four times out of five; 1 without held-out rows."""
    rows = pool_size(spec.offline.test_pool)
    searched = searched_rows(spec) if rows else 0
    return detectable_gain(rows + searched, rule=rule_of(spec))


def gain_warning(spec: job_spec_pb2.JobSpec) -> str:
    """Returns a warning where only gains are found that are hardly ever met; empty otherwise."""
    rows = pool_size(spec.offline.test_pool)
    return size_warning(rows, rule=rule_of(spec), searched=searched_rows(spec))


def _seeds(pool: model_pb2.SeedPool) -> list[int]:
    ranges = (range(one.start, one.end, max(1, one.step)) for one in pool.ranges)
    return [*pool.seeds, *(seed for one in ranges for seed in one)]
