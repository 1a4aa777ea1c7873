"""Two prompts on the same held-out rows: is the one better, and is that sure enough to promote it?

Rewards that are all 0 or 1 are compared by the exact test of McNemar (Psychometrika 12, 1947) on
the rows where the two differ. Its interval takes the number of such rows as given; Student's does
not, but errs when they are few. What is reported reaches as far as either. Other rewards get a
paired bootstrap, its percentiles widened for small samples (Hesterberg, "What Teachers Should Know
About the Bootstrap", The American Statistician 69, 2015).

The probability of improvement is posterior to a sceptical prior: gains are normal about 0, so that
a small test has to show more than it would have to without. It never exceeds what the one-sided
exact test leaves, so that of prompts that are no better at most `1 - min_probability` are promoted.

Rewards of the search may be given beside. Then the probability is what all rows together leave one
to believe (burnish.verdicts.beliefs), as long as the held-out rows by themselves speak for it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from statistics import NormalDist
from typing import Final

from burnish.verdicts.beliefs import Beliefs, Table, believed
from burnish.verdicts.means import (
    CONFIDENCE,
    Interval,
    mean_interval,
    student_quantile,
    variance,
)
from burnish.verdicts.rule import Rule
from burnish.verdicts.tails import (
    fair_coin_at_least,
    incomplete_beta,
    share_interval,
    student_below,
)

# Standard deviation of a row's difference between two prompts: .22 to .46 on recorded tasks.
TYPICAL_DEVIATION: Final = 0.35
# A gain below this is not worth a change of prompt.
LEAST_GAIN: Final = 0.02
_SURE: Final = 0.95
_RESAMPLES: Final = 2000
# Share of the rows on which two prompts differ, as a rule.
_USUAL_RATE: Final = 0.25
_FEWEST_TO_RESAMPLE: Final = 10
# Rows of the search that the challenger needs for the search to be heard.
_FEWEST_OF_SEARCH: Final = 5
_EVEN: Final = 0.5
_NORMAL: Final = NormalDist()


class Verdict(StrEnum):
    """What a test says of a prompt."""

    BETTER = "better"
    NOT_BETTER = "not better"
    CANNOT_TELL = "cannot tell at this n"


class Method(StrEnum):
    """How two prompts were compared."""

    MCNEMAR = "exact_mcnemar"
    BOOTSTRAP = "paired_bootstrap"
    STUDENT = "paired_student"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRows:
    """What a search saw on rows that no prompt was made from.

    Attributes:
        rewards: Reward by candidate and row.
        challenger: Who was chosen of them.
        baseline: Who it was compared with.
    """

    rewards: Mapping[str, Mapping[int, float]]
    challenger: str
    baseline: str

    @property
    def telling(self) -> bool:
        """Whether the challenger has rows enough; held-out rows tell of the baseline, too."""
        return len(self.rewards.get(self.challenger, {})) >= _FEWEST_OF_SEARCH

    @property
    def count(self) -> int:
        """Rewards, of all candidates."""
        return sum(map(len, self.rewards.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A challenger against a baseline, row by row.

    Attributes:
        difference: Challenger minus baseline on the held-out rows, with its interval.
        method: How it was compared.
        p_value: Two-sided; how often rows like these differ as much between equal prompts.
        probability: That the challenger is better, after the sceptical prior, by all that counts.
        held_out_probability: The same by the held-out rows alone.
        search_rewards: Rewards of the search that count; 0 when held-out rows decide alone.
        expected: Gain that is believed, by all that counts; None when held-out rows decide alone.
        gained: Rows on which the challenger did better.
        lost: Rows on which it did worse.
        deviation: Standard deviation of a row's difference.
        verdict: What follows.
        promoted: Whether the challenger takes the baseline's place.
    """

    difference: Interval
    method: Method
    p_value: float
    probability: float
    held_out_probability: float
    search_rewards: int
    expected: Interval | None
    gained: int
    lost: int
    deviation: float
    verdict: Verdict
    promoted: bool

    @property
    def decided_by_search(self) -> bool:
        """Whether held-out rows alone would have another verdict."""
        return (self.probability >= _SURE) != (self.held_out_probability >= _SURE)


def compare(
    challenger: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    rule: Rule | None = None,
    search: SearchRows | None = None,
) -> Comparison | None:
    """Compares two prompts over the rows that both have a reward for; None when there are none.

    Args:
        challenger: Reward by seed, in [0, 1], on held-out rows.
        baseline: Reward by seed.
        rule: When the challenger is promoted; None for the default.
        search: What the search saw; None for nothing that counts.
    """
    shared = sorted(challenger.keys() & baseline.keys())
    if not shared:
        return None
    rewards = [(challenger[seed], baseline[seed]) for seed in shared]
    binary = all(one in (0.0, 1.0) for pair in rewards for one in pair)
    differences = tuple(mine - other for mine, other in rewards)
    own = rule if rule is not None else Rule()
    found = (_exact if binary else _resampled)(differences, own)
    if search is None or not own.search_evidence or not search.telling:
        return found
    everything = believed(
        _together(search, shared, rewards),
        search.challenger,
        baseline=search.baseline,
        prior_deviation=own.prior_deviation,
    )
    return found if everything is None else _with_search(found, everything, own, search.count)


def _together(
    search: SearchRows, seeds: Sequence[int], rewards: Sequence[tuple[float, float]]
) -> Table:
    """Returns the rewards of search and test in one table; no row is of both."""
    table: dict[str, dict[Hashable, float]] = {
        name: {("search", seed): reward for seed, reward in rows.items()}
        for name, rows in {search.baseline: {}, **search.rewards}.items()
    }
    for seed, (mine, other) in zip(seeds, rewards, strict=True):
        table[search.challenger]["test", seed] = mine
        table[search.baseline]["test", seed] = other
    return table


def _with_search(found: Comparison, beliefs: Beliefs, rule: Rule, count: int) -> Comparison:
    """Returns a comparison by all rows together, which those held out can veto."""
    probability = beliefs.probability
    if found.difference.mean <= 0:
        probability = min(probability, _EVEN)
    half = _NORMAL.inv_cdf((1 + CONFIDENCE) / 2) * beliefs.error
    expected = Interval(
        mean=beliefs.gain,
        count=found.difference.count,
        lower=max(-1.0, beliefs.gain - half),
        upper=min(1.0, beliefs.gain + half),
    )
    return replace(
        found,
        probability=probability,
        search_rewards=count,
        expected=expected,
        verdict=_verdict(probability, found.difference),
        promoted=probability >= rule.min_probability,
    )


def _exact(differences: tuple[float, ...], rule: Rule) -> Comparison:
    gained, lost = _counts(differences)
    changed = gained + lost
    p_value = min(1.0, 2 * fair_coin_at_least(max(gained, lost), changed))
    # The prior counts as so many rows that differ, half of them won; the one more that is lost
    # keeps the probability from exceeding what the one-sided exact test leaves.
    # Where more rows than usual differ, larger gains are expected.
    rate = min(changed / len(differences), _USUAL_RATE)
    weight = max(1.0, ((rate / rule.prior_deviation) ** 2 - 1) / 2)
    probability = 1 - incomplete_beta(0.5, gained + weight, lost + weight + 1)
    return _concluded(
        differences,
        rule,
        interval=_exact_interval(differences),
        method=Method.MCNEMAR,
        tests=(p_value, probability),
    )


def _resampled(differences: tuple[float, ...], rule: Rule) -> Comparison:
    count = len(differences)
    mean = math.fsum(differences) / count
    # One row more of typical spread: equal differences on a few rows are luck, not certainty.
    spread = 0.0 if count == 1 else variance(differences) * (count - 1)
    error = math.sqrt((spread + TYPICAL_DEVIATION**2) / count / count)
    shrunk = rule.prior_deviation / math.hypot(rule.prior_deviation, error)
    freedom = max(1, count - 1)
    few = count < _FEWEST_TO_RESAMPLE
    return _concluded(
        differences,
        rule,
        interval=_student(differences) if few else _bootstrap(differences),
        method=Method.STUDENT if few else Method.BOOTSTRAP,
        tests=(
            2 * student_below(-abs(mean) / error, freedom),
            student_below(mean / error * shrunk, freedom),
        ),
    )


def _concluded(
    differences: Sequence[float],
    rule: Rule,
    *,
    interval: Interval,
    method: Method,
    tests: tuple[float, float],
) -> Comparison:
    p_value, probability = tests
    gained, lost = _counts(differences)
    return Comparison(
        difference=interval,
        method=method,
        p_value=p_value,
        probability=probability,
        held_out_probability=probability,
        search_rewards=0,
        expected=None,
        gained=gained,
        lost=lost,
        deviation=TYPICAL_DEVIATION if len(differences) < 2 else math.sqrt(variance(differences)),
        verdict=_verdict(probability, interval),
        promoted=probability >= rule.min_probability,
    )


def _verdict(probability: float, interval: Interval) -> Verdict:
    if probability >= _SURE:
        return Verdict.BETTER
    return Verdict.NOT_BETTER if interval.upper < LEAST_GAIN else Verdict.CANNOT_TELL


def _counts(differences: Sequence[float]) -> tuple[int, int]:
    return sum(one > 0 for one in differences), sum(one < 0 for one in differences)


def _student(differences: Sequence[float]) -> Interval:
    found = mean_interval(differences, low=-1.0, high=1.0)
    return found or Interval(mean=0.0, count=0, lower=-1.0, upper=1.0)


def _exact_interval(differences: Sequence[float]) -> Interval:
    student, count = _student(differences), len(differences)
    gained, lost = _counts(differences)
    changed = gained + lost
    if changed:
        low, high = (
            (2 * share - 1) * changed / count
            for share in share_interval(gained, changed, confidence=CONFIDENCE)
        )
    else:
        # Nothing differed on n rows: what differs on more than this share would have shown.
        high = share_interval(0, count, confidence=CONFIDENCE)[1]
        low = -high
    return Interval(
        mean=student.mean,
        count=count,
        lower=min(student.lower, low),
        upper=max(student.upper, high),
    )


@lru_cache(maxsize=64)
def _bootstrap(differences: tuple[float, ...]) -> Interval:
    count = len(differences)
    draw = random.Random(0)  # noqa: S311 - to resample, not to keep secrets
    means = sorted(math.fsum(draw.choices(differences, k=count)) / count for _ in range(_RESAMPLES))
    tail = _NORMAL.cdf(-student_quantile(count - 1) * math.sqrt(count / (count - 1)))
    place = int(tail * (_RESAMPLES - 1))
    return Interval(
        mean=math.fsum(differences) / count,
        count=count,
        lower=means[place],
        upper=means[-1 - place],
    )
