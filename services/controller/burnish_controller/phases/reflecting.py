"""What a brief for a rewrite or a merge is shown: how its parents did on the rows that it names.

Only those rows: a proposer that saw a row on which candidates are compared could write an
instruction that wins by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from burnish.api.job import v1 as job_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import JobContext
from burnish_controller.demos import example_text
from burnish_controller.phases.base import PhaseServices, estimate
from burnish_controller.phases.bootstrap import labelled_rows
from burnish_controller.phases.briefing import Round
from burnish_controller.phases.evidence import Outcome, outcomes, show_outcomes
from burnish_controller.store.rollouts import FinishedRollout
from burnish_controller.task_apps import AppExample

_PARENTS_PLACE = "{{parents}}"


async def show_parents(
    services: PhaseServices,
    job: JobContext,
    request: proposer_v1.ProposeInstructionsRequest,
    asked: Round,
) -> None:
    """Makes a request one for a rewrite or a merge, as its round asks.

    A merge of two equal texts becomes a rewrite, and a rewrite of what made no mistake a fresh
    proposal: there is nothing that the proposer could go by. The log says so.
    """
    if asked.mode == search_v1.PROPOSAL_MODE_UNSPECIFIED:
        return
    seen = await _Seen.of(services, job, request.stage.stage_id, asked)
    _show_labels(request, seen)
    if asked.mode == search_v1.PROPOSAL_MODE_MERGE and _merge(request, seen):
        return
    if not _reflect(request, seen):
        await services.events.append(
            job.job_id,
            f"unreflected/{request.context.request_id}",
            job_v1.JobEvent(
                message=f"stage {request.stage.stage_id}: nothing went wrong on the"
                f" {len(asked.evidence_seeds)} rows of this brief, so a fresh instruction is asked"
                " for in place of a rewrite",
            ),
        )


class _Seen:
    """What may be shown of a round's parents.

    Attributes:
        texts: Instruction of each parent, best first.
        rewards: What each of them earned in the search.
        outcomes: How each of them did on the rows of the round, by seed.
        labels: Labelled rows of this round and those before it.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.rewards: list[types_v1.Estimate | None] = []
        self.outcomes: list[Mapping[int, Outcome]] = []
        self.labels: Sequence[AppExample] = ()

    @classmethod
    async def of(
        cls, services: PhaseServices, job: JobContext, stage_id: str, asked: Round
    ) -> _Seen:
        """Reads it from the stores."""
        found = cls()
        if len(job.stages) == 1:
            found.labels = await labelled_rows(job, await _shown_so_far(services, job, asked))
        labels = {row.seed: row for row in found.labels}
        known = {one.candidate_id: one for one in await services.space.candidates(job.job_id)}
        texts = {one.component_id: one for one in await services.space.components(job.job_id)}
        place = {seed: n for n, seed in enumerate(asked.evidence_seeds)}
        done = await services.rollouts.of_job(job.job_id, phase="search")
        for parent in asked.parents:
            if parent not in known:
                continue
            own = [one for one in done if one.own and one.result.cell.candidate_id == parent]
            rows = [one for one in own if _is_evidence(one, place)]
            rows.sort(key=lambda one: place[one.result.cell.seed])
            choice = known[parent].stages[stage_id].instruction_id
            found.texts.append(texts[choice].instruction.text)
            found.rewards.append(estimate(own))
            found.outcomes.append(
                {
                    seed: one
                    for row in rows
                    for seed in [row.result.cell.seed]
                    for one in await outcomes(services, job, stage_id, [row], labels)
                }
            )
        return found

    def tried(self, number: int) -> proposer_v1.ScoredInstruction:
        """Returns a parent's instruction with its reward."""
        return proposer_v1.ScoredInstruction(text=self.texts[number], reward=self.rewards[number])


async def _shown_so_far(services: PhaseServices, job: JobContext, asked: Round) -> list[int]:
    """Returns the rows that this round and those before it may show, the first one first."""
    seeds: dict[int, None] = {}
    for entry in await services.log.entries(job.job_id):
        work = entry.work_suggested
        if not work.HasField("proposal") or work.proposal.iteration > asked.iteration:
            continue
        if f"brief-{work.ask_index}" == asked.key:
            break
        seeds.update(dict.fromkeys(work.proposal.evidence_seeds))
    seeds.update(dict.fromkeys(asked.evidence_seeds))
    return list(seeds)


def _is_evidence(one: FinishedRollout, place: Mapping[int, int]) -> bool:
    cell = one.result.cell
    return cell.pool == types_v1.POOL_ONLINE and cell.seed in place


def _show_labels(request: proposer_v1.ProposeInstructionsRequest, seen: _Seen) -> None:
    """Adds the rows with their answers, or where nobody tells those that went well."""
    for row in seen.labels:
        request.examples.add(input=example_text(row), output=row.output)
    if seen.labels:
        return
    for found in seen.outcomes[:1]:
        for one in found.values():
            if one.expected or one.passed:
                request.examples.add(input=one.came, output=one.expected or one.said)


def _reflect(request: proposer_v1.ProposeInstructionsRequest, seen: _Seen) -> bool:
    """Makes a request one for a rewrite; returns whether there is anything to go by."""
    if not seen.texts:
        return False
    found = list(seen.outcomes[0].values())
    show_outcomes(request, found)
    if not request.failures:
        return False
    request.reflection.parent.CopyFrom(seen.tried(0))
    return True


def _merge(request: proposer_v1.ProposeInstructionsRequest, seen: _Seen) -> bool:
    """Makes a request one for a merge; returns whether there are two texts to be merged."""
    texts = [text.split() for text in seen.texts[:2]]
    if len(texts) < 2 or not all(texts) or texts[0] == texts[1]:
        return False
    show_outcomes(request, list(seen.outcomes[0].values()))
    for number in (0, 1):
        mine, theirs = seen.outcomes[number], seen.outcomes[1 - number]
        parent = request.merge.parents.add(instruction=seen.tried(number))
        for seed, one in mine.items():
            if one.passed and seed in theirs and not theirs[seed].passed:
                parent.solved.add(input=one.came, output=one.expected or one.said)
    # A meta-prompt of the user's own that has no place for the parents cannot ask for a merge.
    if _PARENTS_PLACE not in request.meta_prompt:
        request.meta_prompt = ""
    return True
