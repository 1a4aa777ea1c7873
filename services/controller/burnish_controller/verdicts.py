"""Judges a job by its rollouts: the closing test, what the search promised, why no gain."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from google.protobuf import json_format

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.plain import enum_name
from burnish.promotion import rule_of
from burnish.verdicts import (
    UNSCORED,
    Comparison,
    Corrected,
    Interval,
    Rule,
    SearchRows,
    Symptoms,
    Verdict,
    agreed,
    compare,
    corrected,
    detectable_gain,
    sentence,
    why_no_gain,
)
from burnish_controller.context import DEFAULT_MIN_REWARD, pools_of
from burnish_controller.outputs import output_text
from burnish_controller.phases.base import message_of, scores
from burnish_controller.store.rollouts import FinishedRollout

_VERDICTS = {
    Verdict.BETTER: job_v1.VERDICT_BETTER,
    Verdict.NOT_BETTER: job_v1.VERDICT_NOT_BETTER,
    Verdict.CANNOT_TELL: job_v1.VERDICT_CANNOT_TELL,
}
_SHRINKAGE, _BOTH_MODELS = "shrinkage", "both_models"
_FEWEST_REPEATS = 10
# Searches that have instructions written before they begin, unless their settings name iterations.
_WRITE_FIRST = frozenset({"mipro", "random"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a job came to.

    Attributes:
        held_out: What the closing test says; None without a test pool.
        sentence: The same for a person.
        promoted: Whether the challenger takes the baseline's place.
    """

    held_out: job_v1.HeldOutVerdict | None
    sentence: str
    promoted: bool


def judge(
    job: job_v1.Job, done: Sequence[FinishedRollout], *, challenger: str, baseline: str
) -> Judged:
    """Judges a job whose closing test is over.

    Args:
        job: The job.
        done: Its finished rollouts, of every phase.
        challenger: Id of the candidate that the search chose.
        baseline: Id of the baseline.
    """
    rule, kept = rule_of(job.spec), challenger == baseline
    tested = _rewards([one for one in done if one.phase == "test"])
    found = None
    if not kept:
        search = SearchRows(
            rewards=_unshown(job.spec, done), challenger=challenger, baseline=baseline
        )
        found = compare(
            tested.get(challenger, {}), tested.get(baseline, {}), rule=rule, search=search
        )
    said = sentence(found, rule=rule, kept_baseline=kept)
    rows = len(pools_of(job.spec).test)
    if not rows:
        return Judged(held_out=None, sentence=said, promoted=not kept)
    if found is None and not kept:
        said = UNSCORED
    promoted = found is not None and found.promoted
    message = _message(found, rule, rows=rows, kept=kept)
    message.challenger_candidate_id = challenger
    chosen_by = _chosen_by(job, done, challenger)
    luck = corrected(chosen_by, challenger, prior_deviation=rule.prior_deviation)
    _claim(message, job, luck)
    if not promoted:
        seen = _symptoms(job, done, baseline=baseline, found=found)
        seen = _with_search(seen, chosen_by, luck, challenger=challenger, baseline=baseline)
        for one in why_no_gain(seen, rule=rule):
            message.no_gain_causes.add(cause=one.cause.value, message=one.message)
    return Judged(held_out=message, sentence=said, promoted=promoted)


def challenger_of(done: Sequence[FinishedRollout], *, best: str, baseline: str) -> str:
    """Returns who was tested against the baseline; the best when nobody was."""
    tested = {one.result.cell.candidate_id for one in done if one.phase == "test"}
    return next(iter(sorted(tested - {baseline})), best)


def is_over(job: job_v1.Job, done: Sequence[FinishedRollout], *, kept: bool) -> bool:
    """Whether every cell of the closing test is finished: half of a test says nothing."""
    finished = sum(one.phase == "test" for one in done)
    rows = len(pools_of(job.spec).test)
    return rows > 0 and finished >= rows * (1 if kept else 2)


def _message(
    found: Comparison | None, rule: Rule, *, rows: int, kept: bool
) -> job_v1.HeldOutVerdict:
    message = job_v1.HeldOutVerdict(
        verdict=job_v1.VERDICT_NOT_BETTER if kept else job_v1.VERDICT_CANNOT_TELL,
        min_probability=rule.min_probability,
        detectable_gain=detectable_gain(rows, rule=rule),
    )
    if found is not None:
        message.verdict = _VERDICTS[found.verdict]
        message.promoted = found.promoted
        message.difference.CopyFrom(message_of(found.difference) or types_v1.Estimate())
        message.method = found.method.value
        message.p_value = found.p_value
        message.probability = found.probability
        message.held_out_probability = found.held_out_probability
        message.search_reward_count = found.search_rewards
        if found.expected is not None:
            message.expected_gain.CopyFrom(message_of(found.expected) or types_v1.Estimate())
        message.gained_row_count = found.gained
        message.lost_row_count = found.lost
        message.detectable_gain = detectable_gain(
            found.difference.count, rule=rule, deviation=found.deviation
        )
    return message


def _claim(message: job_v1.HeldOutVerdict, job: job_v1.Job, luck: Corrected | None) -> None:
    """Adds what the challenger is to be expected to earn, beside what was seen of it."""
    if luck is None:
        return
    claim, message.corrected_by = luck.corrected, _SHRINKAGE
    if job.HasField("expected_reward"):
        claim = agreed(luck.corrected, _interval(job.expected_reward))
        message.corrected_by = _BOTH_MODELS
    message.raw.CopyFrom(message_of(luck.raw) or types_v1.Estimate())
    message.corrected.CopyFrom(message_of(claim) or types_v1.Estimate())


def _interval(estimate: types_v1.Estimate) -> Interval:
    return Interval(
        mean=estimate.mean,
        count=estimate.row_count,
        lower=estimate.lower,
        upper=estimate.upper,
        confidence=estimate.confidence,
    )


def _rewards(rollouts: Sequence[FinishedRollout]) -> dict[str, dict[int, float]]:
    grouped: dict[str, list[FinishedRollout]] = defaultdict(list)
    for one in rollouts:
        grouped[one.result.cell.candidate_id].append(one)
    return {name: scores(own) for name, own in grouped.items()}


def _unshown(spec: job_v1.JobSpec, done: Sequence[FinishedRollout]) -> dict[str, dict[int, float]]:
    """Returns the search's rewards on rows that no prompt of the job was made from.

    Demos are taken from bootstrap rows, and instructions are written with them in view. Where more
    are written later, the rows that were searched by then were in view, too.
    """
    pools = pools_of(spec)
    shown = {*pools.bootstrap, *pools.reference}
    if _writes_later(spec):
        shown |= {*pools.online}
    return _rewards([one for one in _searched(done) if one.result.cell.seed not in shown])


def _searched(done: Sequence[FinishedRollout]) -> list[FinishedRollout]:
    """Returns what the search measured, without what a cheaper model did."""
    return [
        one for one in done if one.phase in {"baseline", "search"} and not one.result.cell.fidelity
    ]


def _writes_later(spec: job_v1.JobSpec) -> bool:
    """Whether instructions may be written once the search is under way."""
    if spec.algorithm not in _WRITE_FIRST:
        return True
    asked = json_format.MessageToDict(spec.algorithm_settings).get("generate_at_iterations", [0])
    return any(asked)


def _chosen_by(
    job: job_v1.Job, done: Sequence[FinishedRollout], challenger: str
) -> dict[str, dict[int, float]]:
    """Returns the rewards that the challenger was chosen by.

    A search with a model of its own goes by all of them, others by validation rows when there are
    any of the challenger's.
    """
    searched = _searched(done)
    if job.HasField("expected_reward"):
        return _rewards(searched)
    validated = _rewards(
        [one for one in searched if one.result.cell.pool == types_v1.POOL_VALIDATION]
    )
    found = validated if validated.get(challenger) else _rewards(searched)
    return {name: rewards for name, rewards in found.items() if rewards}


def _symptoms(
    job: job_v1.Job,
    done: Sequence[FinishedRollout],
    *,
    baseline: str,
    found: Comparison | None,
) -> Symptoms:
    earlier = [one for one in done if one.phase != "test" and not one.result.cell.fidelity]
    own = [
        one.fused
        for one in earlier
        if one.fused is not None and one.result.cell.candidate_id == baseline
    ]
    spec = job.spec.offline.bootstrap
    least = spec.min_reward if spec.HasField("min_reward") else DEFAULT_MIN_REWARD
    scored = [one for one in _searched(earlier) if one.fused is not None]
    return Symptoms(
        comparison=found,
        baseline_mean=math.fsum(own) / len(own) if own else None,
        baseline_rows=len(own),
        failures=sum(reward < least for reward in own),
        candidates=len({one.result.cell.candidate_id for one in scored}),
        search_rows=len(scored),
        ended=enum_name(job_v1.TerminationReason.DESCRIPTOR, job.termination_reason),
        judge_noise=_judge_noise(done),
    )


def _with_search(
    seen: Symptoms,
    chosen_by: Mapping[str, Mapping[int, float]],
    luck: Corrected | None,
    *,
    challenger: str,
    baseline: str,
) -> Symptoms:
    mine, other = chosen_by.get(challenger, {}), chosen_by.get(baseline, {})
    shared = mine.keys() & other.keys()
    promised = None
    if shared and challenger != baseline:
        promised = math.fsum(mine[seed] - other[seed] for seed in shared) / len(shared)
    return replace(seen, spread=None if luck is None else luck.spread, promised=promised)


def _judge_noise(done: Sequence[FinishedRollout]) -> float | None:
    """Returns how much a judge's scores of the same answer to the same row differ.

    None when too few answers were judged more than once, as different prompts often give the same.
    """
    answers: dict[tuple[int, str], list[float]] = defaultdict(list)
    for one in done:
        if one.reward is None or not one.reward.HasField("outcome"):
            continue
        answers[one.result.cell.seed, output_text(one.result)].append(one.reward.outcome)
    repeats = [values for values in answers.values() if len(values) > 1]
    freedom = sum(len(values) - 1 for values in repeats)
    if freedom < _FEWEST_REPEATS:
        return None
    left = math.fsum(
        (value - math.fsum(values) / len(values)) ** 2 for values in repeats for value in values
    )
    return math.sqrt(left / freedom)
