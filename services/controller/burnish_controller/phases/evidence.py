"""What the proposer is shown of the rows that ran: those that went well, and those that did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish.api.proposer import v1 as proposer_v1
from burnish.api.types import v1 as types_v1
from burnish.gepa_plan import GEPA
from burnish_controller.context import DEFAULT_MIN_REWARD, JobContext
from burnish_controller.demos import bindings_text, example_text, message_text, reply_message
from burnish_controller.ledger.calls import Call
from burnish_controller.outputs import output_text, reference_text, stage_reference
from burnish_controller.phases.base import PhaseServices
from burnish_controller.phases.bootstrap import labelled_rows
from burnish_controller.store.rollouts import FinishedRollout
from burnish_controller.task_apps import AppExample

_MOST_DEMOS = 100
# The most that is shown is 50,000 tokens; ten times as much is enough to choose from.
_MOST_REFERENCE_CHARS = 2_000_000
# Rows that candidates are chosen by are not shown: an instruction that quotes them would win by it.
_SHOWN_POOLS = (types_v1.POOL_BOOTSTRAP, types_v1.POOL_ONLINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one rollout went for one stage.

    Attributes:
        came: What came in.
        said: What the stage answered.
        expected: What it should have; empty when nobody tells.
        passed: Whether it went well.
        reward: Reward of the rollout.
        feedback: What was said about it; may be empty.
        labelled: Whether the row is shown with its label besides.
    """

    came: str
    said: str
    expected: str
    passed: bool
    reward: float
    feedback: str
    labelled: bool


def least_reward(job: JobContext) -> float:
    """Returns the least reward of a rollout that counts as one that went well."""
    spec = job.spec.offline.bootstrap
    return spec.min_reward if spec.HasField("min_reward") else DEFAULT_MIN_REWARD


async def outcomes(
    services: PhaseServices,
    job: JobContext,
    stage_id: str,
    rollouts: Sequence[FinishedRollout],
    labels: Mapping[int, AppExample],
) -> list[Outcome]:
    """Returns how rollouts went for one stage, in their order; those without its call are left out.

    Args:
        services: What the phases work with.
        job: The job.
        stage_id: The stage.
        rollouts: Finished rollouts.
        labels: Rows whose answer is known, by seed.
    """
    scored = [one for one in rollouts if one.fused is not None]
    calls = await services.calls.of_scopes([one.result.rollout_id for one in scored])
    found = []
    for one in scored:
        call = _last(calls.get(one.result.rollout_id, []), stage_id)
        if call is None or call.trace is None or one.fused is None:
            continue
        label = labels.get(one.result.cell.seed)
        message = reply_message(call)
        said = message_text(message) if message is not None else output_text(one.result)
        passed = one.fused >= least_reward(job)
        if label is not None:
            came, expected = example_text(label), label.output
        else:
            came = bindings_text(call.trace.bindings)
            expected = stage_reference(one.result, stage_id)
            if expected:
                # The rollout's reward is that of all its stages; this says how this one did.
                passed = said.strip() == expected
            expected = expected or reference_text(one.result)
        found.append(
            Outcome(
                came=came,
                said=said,
                expected=expected,
                passed=passed,
                reward=one.fused,
                feedback=one.reward.feedback if one.reward is not None else "",
                labelled=label is not None,
            )
        )
    return found


async def show_rows(
    services: PhaseServices, job: JobContext, request: proposer_v1.ProposeInstructionsRequest
) -> None:
    """Shows labelled rows of the bootstrap pool, the reference corpus, and how the bootstrap went.

    Reference rows whose answers are classes are shown among the labelled rows, evenly by answer;
    others are texts of the reference corpus, of which the proposer takes what is to the point.
    """
    stage_id = request.stage.stage_id
    rows: list[AppExample] = []
    reference = await labelled_rows(job, job.pools.reference)
    if len(job.stages) == 1:
        rows = await labelled_rows(job, job.pools.bootstrap)
        if _are_classes([*rows, *reference]):
            rows, reference = [*rows, *reference], []
    for row in rows:
        request.examples.add(input=example_text(row), output=row.output)
    for row in _spread(reference):
        request.references.add(text=example_text(row), output=row.output, source=f"row {row.seed}")
    for number, text in enumerate(job.spec.proposer.reference_texts, start=1):
        request.references.add(text=text, source=f"text {number}")
    done = await services.rollouts.of_job(job.job_id, phase="bootstrap")
    if job.spec.algorithm == GEPA:
        # Which online rows may be seen is for its search to say, brief by brief.
        compared = set(job.pools.online)
        done = [one for one in done if one.result.cell.seed not in compared]
    labels = {row.seed: row for row in rows}
    found = await outcomes(services, job, stage_id, done, labels)
    for one in found:
        if one.passed and not one.labelled:
            request.examples.add(input=one.came, output=one.said)
    _show(request, found, demos=_MOST_DEMOS, failures=len(found))


async def show_latest(
    services: PhaseServices,
    job: JobContext,
    request: proposer_v1.ProposeInstructionsRequest,
    parents: Sequence[str],
) -> None:
    """Shows how the best candidates went instead, as many rows as the job's settings say.

    What there is none of is left as it was, so that a round is never without failures when the
    baseline had some.

    Args:
        services: What the phases work with.
        job: The job.
        request: The request so far.
        parents: Ids of the best candidates, best first.
    """
    spec, stage_id = job.spec.proposer.meta_update, request.stage.stage_id
    done = await services.rollouts.of_job(job.job_id, phase="search")
    place = {candidate_id: rank for rank, candidate_id in enumerate(parents)}
    mine = [
        one
        for one in done
        if one.result.cell.candidate_id in place and one.result.cell.pool in _SHOWN_POOLS
    ]
    mine.sort(key=lambda one: (place[one.result.cell.candidate_id], one.result.cell.seed))
    labels: dict[int, AppExample] = {}
    if len(job.stages) == 1:
        seeds = sorted({one.result.cell.seed for one in mine})
        labels = {row.seed: row for row in await labelled_rows(job, seeds)}
    found = await outcomes(services, job, stage_id, mine, labels)
    if any(one.passed for one in found):
        del request.demos[:]
    if any(_is_failure(one) for one in found):
        del request.failures[:]
    _show(request, found, demos=spec.success_count, failures=spec.failure_count)


def show_outcomes(
    request: proposer_v1.ProposeInstructionsRequest, found: Sequence[Outcome]
) -> None:
    """Shows rollouts in place of what a request shows: those that went well, and the others."""
    del request.demos[:]
    del request.failures[:]
    _show(request, found, demos=_MOST_DEMOS, failures=len(found))


def _show(
    request: proposer_v1.ProposeInstructionsRequest,
    found: Sequence[Outcome],
    *,
    demos: int,
    failures: int,
) -> None:
    passed = sorted((one for one in found if one.passed), key=lambda one: -one.reward)
    for one in _distinct(passed)[:demos]:
        request.demos.add(input=one.came, output=one.said, reward=one.reward)
    failed = [one for one in found if _is_failure(one)]
    for one in _distinct(failed)[:failures]:
        request.failures.add(
            input=one.came,
            expected=one.expected,
            actual=one.said,
            feedback=one.feedback,
            reward=one.reward,
        )


def _is_failure(one: Outcome) -> bool:
    # A row that went wrong teaches something when it is known what was wanted, or what was wrong.
    return not one.passed and bool(one.expected or one.feedback)


def _distinct(found: Sequence[Outcome]) -> list[Outcome]:
    """Leaves a row out that went the same way under a better candidate."""
    return list({(one.came, one.said): one for one in reversed(found)}.values())[::-1]


def _spread(rows: Sequence[AppExample]) -> Sequence[AppExample]:
    """Returns rows taken at even steps, so few that they fit a message many times over."""
    size = sum(len(example_text(row)) + len(row.output) for row in rows)
    return rows[:: max(1, -(-size // _MOST_REFERENCE_CHARS))]


def _are_classes(rows: Sequence[AppExample]) -> bool:
    """Whether answers repeat so often that they are classes rather than texts."""
    return 2 * len({row.output for row in rows}) <= len(rows)


def _last(calls: Sequence[Call], stage_id: str) -> Call | None:
    for call in reversed(calls):
        if call.trace is not None and call.trace.stage_id in {stage_id, ""}:
            return call
    return None
