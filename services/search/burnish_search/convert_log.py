"""Between protobuf and a study's log: its changes, its works and their trials."""

from __future__ import annotations

import itertools

from burnish.api.search.v1 import search_service_pb2 as search_v1
from burnish.api.types.v1 import rollout_pb2
from burnish_search import convert
from burnish_search.changes import (
    Change,
    ComponentsAdded,
    ComponentsRetired,
    ObservationsTold,
    WorkClosed,
    WorkSuggested,
)
from burnish_search.model import (
    Candidate,
    FinishPlan,
    FinishReason,
    ProposalMode,
    ProposalPlan,
    Sampler,
    Trial,
    TrialKind,
    Work,
)
from burnish_search.problems import ChangeInvalid


def change(name: str, entry: search_v1.StudyEntry, stage_ids: tuple[str, ...]) -> Change:
    """Reads an entry of the log."""
    match entry.WhichOneof("change"):
        case "components_added":
            added = convert.components(name, entry.components_added.components)
            return ComponentsAdded(components=tuple(added))
        case "components_retired":
            return ComponentsRetired(component_ids=tuple(entry.components_retired.component_ids))
        case "observations_told":
            told = convert.observations(name, entry.observations_told.observations)
            return ObservationsTold(observations=tuple(told))
        case "work_closed":
            return WorkClosed(ask_index=entry.work_closed.ask_index)
        case "work_suggested":
            return _work_suggested(name, entry.work_suggested, stage_ids)
    raise ChangeInvalid(name, [f"entry {entry.revision} holds no change"])


def work(suggested: Work) -> search_v1.Work:
    """Returns a work as a message."""
    message = search_v1.Work(ask_index=suggested.ask_index)
    match suggested.plan:
        case None:
            message.evaluation.trials.extend(map(trial, suggested.trials))
            if suggested.sampler is not None:
                sampler = search_v1.Sampler(**convert.fields_of(suggested.sampler, Sampler))
                message.evaluation.sampler.CopyFrom(sampler)
        case ProposalPlan() as plan:
            message.proposal.proposal_id = plan.proposal_id
            message.proposal.stage_ids.extend(plan.stage_ids)
            message.proposal.count = plan.count
            message.proposal.parent_candidate_ids.extend(plan.parent_candidate_ids)
            message.proposal.iteration = plan.iteration
            message.proposal.mode = search_v1.ProposalMode.ValueType(plan.mode)
            message.proposal.evidence_seeds.extend(plan.evidence_seeds)
        case FinishPlan() as plan:
            message.finished.reason = search_v1.FinishReason.ValueType(plan.reason)
    return message


def trial(seen: Trial) -> search_v1.Trial:
    """Returns a trial as a message."""
    message = search_v1.Trial(
        trial_index=seen.trial_index,
        kind=search_v1.TrialKind.ValueType(seen.kind),
        iteration=seen.iteration,
        observed_count=seen.observed_count,
        state=search_v1.TrialState.ValueType(seen.state),
    )
    convert.write_candidate(message.candidate, seen.candidate)
    for cell in seen.cells:
        message.cells.add(
            candidate_id=cell.candidate_id,
            pool=rollout_pb2.Pool.ValueType(cell.pool),
            seed=cell.seed,
            repeat=cell.repeat,
            fidelity=cell.fidelity,
        )
    if seen.mean_reward is not None:
        message.mean_reward = seen.mean_reward
    return message


def _work_suggested(
    name: str, message: search_v1.Work, stage_ids: tuple[str, ...]
) -> WorkSuggested:
    match message.WhichOneof("action"):
        case "proposal":
            proposal = ProposalPlan(
                proposal_id=message.proposal.proposal_id,
                stage_ids=tuple(message.proposal.stage_ids),
                count=message.proposal.count,
                parent_candidate_ids=tuple(message.proposal.parent_candidate_ids),
                iteration=message.proposal.iteration,
                mode=ProposalMode(message.proposal.mode),
                evidence_seeds=tuple(message.proposal.evidence_seeds),
            )
            return WorkSuggested(ask_index=message.ask_index, plan=proposal, trials=())
        case "finished":
            finished = FinishPlan(reason=FinishReason(message.finished.reason))
            return WorkSuggested(ask_index=message.ask_index, plan=finished, trials=())
        case "evaluation":
            trials = [_trial(name, one, stage_ids) for one in message.evaluation.trials]
            sampler = None
            if message.evaluation.HasField("sampler"):
                sampler = Sampler(**convert.fields_of(message.evaluation.sampler, Sampler))
            return WorkSuggested(
                ask_index=message.ask_index, plan=None, trials=trials, sampler=sampler
            )
    raise ChangeInvalid(name, [f"work {message.ask_index} holds no action"])


def _trial(name: str, message: search_v1.Trial, stage_ids: tuple[str, ...]) -> Trial:
    stages = message.candidate.stages
    if set(stages) != set(stage_ids):
        raise ChangeInvalid(name, [f"trial {message.trial_index} has other stages than the study"])
    chosen = Candidate.of(
        stage_ids,
        tuple(
            itertools.chain.from_iterable(
                (stages[stage].instruction_id, stages[stage].demo_set_id) for stage in stage_ids
            )
        ),
    )
    pools = [convert.pool_of(cell.pool) for cell in message.cells]
    return Trial(
        trial_index=message.trial_index,
        candidate=chosen,
        kind=TrialKind(message.kind),
        cells=tuple(
            convert.cell_of(cell, pool)
            for cell, pool in zip(message.cells, pools, strict=True)
            if pool is not None
        ),
        iteration=message.iteration,
    )
