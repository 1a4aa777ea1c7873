"""Puts together what a job found, from its rows; while it runs, what is known so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish.verdicts import mean_interval
from burnish_controller.context import baseline_candidate, stages_of
from burnish_controller.ledger.engine import CallLedger
from burnish_controller.phases.base import estimate, message_of
from burnish_controller.store.events import EventLog
from burnish_controller.store.jobs import JobStore
from burnish_controller.store.rollouts import FinishedRollout, RolloutStore
from burnish_controller.store.space import SpaceStore
from burnish_controller.store.study_log import StudyLog
from burnish_controller.tradeoff import objectives_of, standing_of
from burnish_controller.verdicts import challenger_of, is_over, judge

_KINDS = {
    search_v1.TRIAL_KIND_MINIBATCH: "minibatch",
    search_v1.TRIAL_KIND_FULL: "full",
    search_v1.TRIAL_KIND_TOP_K: "top_k",
}
Rollouts = Mapping[str, Sequence[FinishedRollout]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultBuilder:
    """Reads the stores; keeps nothing of its own."""

    jobs: JobStore
    events: EventLog
    space: SpaceStore
    log: StudyLog
    rollouts: RolloutStore
    ledger: CallLedger

    async def build(self, job_id: str) -> job_v1.JobResult:
        """Returns a job's result."""
        job = await self.jobs.get(job_id)
        stages = stages_of(job.spec, await self.jobs.templates(job_id))
        done = [one for one in await self.rollouts.of_job(job_id) if one.own]
        candidates = {one.candidate_id: one for one in await self.space.candidates(job_id)}
        baseline_id = baseline_candidate(stages).candidate_id if stages else ""
        best_id = job.best_candidate_id or baseline_id
        components = await self.space.components(job_id)
        ranked = self._rank(candidates, done, best_id=best_id, baseline_id=baseline_id)
        _weigh(ranked, job, done, components)
        by_id = {one.candidate.candidate_id: one for one in ranked}
        entries = await self.log.entries(job_id)
        result = job_v1.JobResult(
            best=by_id.get(best_id),
            baseline=by_id.get(baseline_id),
            candidates=ranked,
            components=components,
            history=_history(entries, done),
            usage_by_role=await self.ledger.usage(job_id),
            rollouts_by_phase={
                phase: finished
                for phase, (finished, _) in (await self.rollouts.counts(job_id)).items()
            },
            unscored_by_reason=await self.rollouts.unscored(job_id),
            proposer_description=await self._described(job_id),
            templates=[stage.template for stage in stages],
            reward_weights=job.reward_weights if job.HasField("reward_weights") else None,
            verifier_graph=job.verifier_graph,
            simulated_count=sum(one.simulated for one in done),
            tradeoff=job.tradeoff if job.HasField("tradeoff") else None,
        )
        _judge(result, job, done, best_id=best_id, baseline_id=baseline_id)
        return result

    def _rank(
        self,
        candidates: Mapping[str, types_v1.Candidate],
        done: Sequence[FinishedRollout],
        *,
        best_id: str,
        baseline_id: str,
    ) -> list[job_v1.CandidateResult]:
        grouped: dict[str, dict[str, list[FinishedRollout]]] = defaultdict(
            lambda: {"search": [], "validation": [], "test": []}
        )
        for one in done:
            kinds = grouped[one.result.cell.candidate_id]
            if one.phase == "test":
                kinds["test"].append(one)
            elif one.phase in {"search", "baseline"}:
                kinds["search"].append(one)
                if one.result.cell.pool == types_v1.POOL_VALIDATION:
                    kinds["validation"].append(one)
        ranked = [
            _candidate_result(
                candidate, grouped[candidate_id], baseline=candidate_id == baseline_id
            )
            for candidate_id, candidate in candidates.items()
        ]
        ranked.sort(key=lambda one: _order(one, best_id))
        for rank, result in enumerate(ranked, start=1):
            result.rank = rank
        return ranked

    async def _described(self, job_id: str) -> str:
        sequence = 0
        while page := await self.events.after(job_id, sequence):
            sequence = page[-1].sequence
            for event in page:
                if event.HasField("proposal_completed"):
                    return event.proposal_completed.description
        return ""


def _candidate_result(
    candidate: types_v1.Candidate, rollouts: Rollouts, *, baseline: bool
) -> job_v1.CandidateResult:
    test = sorted(rollouts["test"], key=lambda one: one.result.cell.seed)
    return job_v1.CandidateResult(
        candidate=candidate,
        baseline=baseline,
        search=estimate(rollouts["search"]),
        validation=estimate(rollouts["validation"]),
        test=estimate(test),
        test_scores=[job_v1.SeedScore(seed=one.result.cell.seed, reward=one.fused) for one in test],
        parts=_parts(test or rollouts["validation"]),
    )


def _weigh(
    ranked: Sequence[job_v1.CandidateResult],
    job: job_v1.Job,
    done: Sequence[FinishedRollout],
    components: Sequence[types_v1.Component],
) -> None:
    """Adds what candidates cost in the search, and where they stand by it."""
    grouped: dict[str, list[FinishedRollout]] = defaultdict(list)
    for one in done:
        if one.phase in {"search", "baseline"}:
            grouped[one.result.cell.candidate_id].append(one)
    by_id = {one.component_id: one for one in components}
    for result in ranked:
        name = result.candidate.candidate_id
        costs = objectives_of(result.candidate, grouped[name], by_id)
        for objective, mean in costs.items():
            result.objectives[objective].CopyFrom(mean)
        result.standing = standing_of(job.tradeoff, name, costs)


def _parts(rollouts: Sequence[FinishedRollout]) -> dict[str, types_v1.Estimate]:
    """Returns the mean of each part of the reward that any of some rollouts has."""
    rewards = [one.reward for one in rollouts if one.reward is not None]
    found = {}
    for name in ("environment", "event", "outcome"):
        values = [float(getattr(one, name)) for one in rewards if one.HasField(name)]
        mean = message_of(mean_interval(values))
        if mean is not None:
            found[name] = mean
    return found


def _order(one: job_v1.CandidateResult, best_id: str) -> tuple[bool, float, float, str]:
    """The winner first, then by validation, then by everything else that was seen."""
    validation = one.validation.mean if one.HasField("validation") else -1.0
    search = one.search.mean if one.HasField("search") else -1.0
    identity = one.candidate.candidate_id
    return (identity != best_id, -validation, -search, identity)


def _judge(
    result: job_v1.JobResult,
    job: job_v1.Job,
    done: Sequence[FinishedRollout],
    *,
    best_id: str,
    baseline_id: str,
) -> None:
    challenger = challenger_of(done, best=best_id, baseline=baseline_id)
    if not is_over(job, done, kept=challenger == baseline_id):
        return
    found = judge(job, done, challenger=challenger, baseline=baseline_id)
    result.verdict = found.sentence
    if found.held_out is not None:
        result.held_out.CopyFrom(found.held_out)
        if found.held_out.HasField("difference"):
            result.test_difference.CopyFrom(found.held_out.difference)


def _history(
    entries: Sequence[search_v1.StudyEntry], done: Sequence[FinishedRollout]
) -> list[job_v1.TrialScore]:
    by_cell = {one.result.cell.SerializeToString(deterministic=True): one for one in done}
    told = {entry.work_closed.ask_index for entry in entries if entry.HasField("work_closed")}
    best: float | None = None
    found = []
    for entry in entries:
        work = entry.work_suggested
        if not entry.HasField("work_suggested") or work.ask_index not in told:
            continue
        for trial in work.evaluation.trials:
            keys = [cell.SerializeToString(deterministic=True) for cell in trial.cells]
            reward = estimate([by_cell[key] for key in keys if key in by_cell])
            score = job_v1.TrialScore(
                trial_index=trial.trial_index,
                iteration=trial.iteration,
                candidate_id=trial.candidate.candidate_id,
                kind=_KINDS.get(trial.kind, ""),
                reward=reward,
            )
            if reward is not None and trial.kind != search_v1.TRIAL_KIND_MINIBATCH:
                best = reward.mean if best is None else max(best, reward.mean)
            if best is not None:
                score.best_so_far = best
            found.append(score)
    return found
