"""What the closing test of a job says, as a typed value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from burnish.api.job.v1 import job_result_pb2
from burnish.api.types.v1 import rollout_pb2
from burnish.verdicts import Verdict

if TYPE_CHECKING:
    from burnish.results import Estimate

_VERDICTS = {
    job_result_pb2.VERDICT_BETTER: Verdict.BETTER,
    job_result_pb2.VERDICT_NOT_BETTER: Verdict.NOT_BETTER,
    job_result_pb2.VERDICT_CANNOT_TELL: Verdict.CANNOT_TELL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutVerdict:
    """What the closing test says of the challenger, the candidate that the search chose.

    Attributes:
        verdict: `better`, `not better` or `cannot tell at this n`.
        challenger_id: The challenger; the baseline's own id when the search preferred that.
        promoted: Whether the challenger takes the baseline's place.
        difference: Challenger minus baseline, paired; None when nothing could be compared.
        method: `exact_mcnemar`, `paired_bootstrap` or `paired_student`; empty when not compared.
        p_value: How often equal prompts differ at least as much; None when not compared.
        probability: That the challenger is better, after a sceptical prior, by all rewards that
            count; None as above.
        held_out_probability: The same by the held-out rows alone.
        search_rewards: Rewards of the search that the probability is by besides; 0 for none.
        expected: Gain that is believed by all of them; None when held-out rows alone count.
        min_probability: What the probability had to be.
        gained_rows: Rows on which the challenger did better.
        lost_rows: Rows on which it did worse.
        detectable_gain: Gain that a test of this size finds four times out of five.
        raw: The challenger's mean on the rows that it was chosen by.
        corrected: What it is to be expected to earn on other rows: less the luck that made it the
            best of many.
        corrected_by: What that is by: `both_models`, the search's and the verdict's, or
            `shrinkage`, the latter; empty without it.
        causes: Why there is no gain: what was seen, by its cause such as `NO_HEADROOM`.
    """

    verdict: str
    challenger_id: str
    promoted: bool
    difference: Estimate | None
    method: str
    p_value: float | None
    probability: float | None
    held_out_probability: float | None
    search_rewards: int
    expected: Estimate | None
    min_probability: float
    gained_rows: int
    lost_rows: int
    detectable_gain: float
    raw: Estimate | None
    corrected: Estimate | None
    corrected_by: str
    causes: Mapping[str, str]


def held_out_verdict(
    message: job_result_pb2.HeldOutVerdict,
    estimate: Callable[[rollout_pb2.Estimate], Estimate],
) -> HeldOutVerdict:
    """Returns the verdict as a typed value.

    Args:
        message: As the contract has it.
        estimate: Reads a mean with its uncertainty.
    """
    return HeldOutVerdict(
        verdict=_VERDICTS.get(message.verdict, Verdict.CANNOT_TELL).value,
        challenger_id=message.challenger_candidate_id,
        promoted=message.promoted,
        difference=estimate(message.difference) if message.HasField("difference") else None,
        method=message.method,
        p_value=message.p_value if message.HasField("p_value") else None,
        probability=message.probability if message.HasField("probability") else None,
        held_out_probability=(
            message.held_out_probability if message.HasField("held_out_probability") else None
        ),
        search_rewards=message.search_reward_count,
        expected=estimate(message.expected_gain) if message.HasField("expected_gain") else None,
        min_probability=message.min_probability,
        gained_rows=message.gained_row_count,
        lost_rows=message.lost_row_count,
        detectable_gain=message.detectable_gain,
        raw=estimate(message.raw) if message.HasField("raw") else None,
        corrected=estimate(message.corrected) if message.HasField("corrected") else None,
        corrected_by=message.corrected_by,
        causes={one.cause: one.message for one in message.no_gain_causes},
    )
