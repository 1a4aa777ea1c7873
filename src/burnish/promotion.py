"""When a job promotes the candidate that its search chose: its own values, or the defaults."""

from __future__ import annotations

from burnish.api.job.v1 import job_spec_pb2
from burnish.verdicts import Rule, rule_problems

_DEFAULTS = Rule()


def rule_of(spec: job_spec_pb2.JobSpec) -> Rule:
    """Returns when a job promotes.

    Raises:
        InvalidArgument: A value is out of its range.
    """
    min_probability, prior_deviation = _values(spec)
    given = spec.promotion
    heard = given.search_evidence if given.HasField("search_evidence") else None
    return Rule(
        min_probability=min_probability,
        prior_deviation=prior_deviation,
        search_evidence=_DEFAULTS.search_evidence if heard is None else heard,
    )


def promotion_problems(spec: job_spec_pb2.JobSpec) -> list[str]:
    """Returns every fault of when a job promotes."""
    return rule_problems(*_values(spec))


def _values(spec: job_spec_pb2.JobSpec) -> tuple[float, float]:
    given = spec.promotion
    least, prior = given.HasField("min_probability"), given.HasField("prior_deviation")
    return (
        given.min_probability if least else _DEFAULTS.min_probability,
        given.prior_deviation if prior else _DEFAULTS.prior_deviation,
    )
