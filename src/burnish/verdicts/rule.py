"""When a prompt is promoted."""

from __future__ import annotations

from dataclasses import dataclass

from burnish.errors import InvalidArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a prompt is promoted.

    Attributes:
        min_probability: Least probability of improvement, in [0, 1); 0 takes whom the search chose.
        prior_deviation: Standard deviation of gains that are expected beforehand, in (0, 1].
        search_evidence: Whether rewards of the search count beside those held out.
    """

    min_probability: float = 0.95
    prior_deviation: float = 0.10
    search_evidence: bool = True

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            InvalidArgument: One is out of its range; the message names both that are.
        """
        problems = rule_problems(self.min_probability, self.prior_deviation)
        if problems:
            raise InvalidArgument("; ".join(problems), reason="PROMOTION_INVALID")


def rule_problems(min_probability: float, prior_deviation: float) -> list[str]:
    """Returns what is wrong with a rule, each fault with its fix."""
    problems = []
    if not 0 <= min_probability < 1:
        problems.append(
            f"`promotion.min_probability` is {min_probability:g}; use one from 0 to below 1"
        )
    if not 0 < prior_deviation <= 1:
        problems.append(
            f"`promotion.prior_deviation` is {prior_deviation:g}; use one above 0, at most 1"
        )
    return problems
