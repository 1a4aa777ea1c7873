"""What a brief of GEPA is shown: its parents on the rows that it names, and nothing else."""

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import instruction_component
from burnish_controller.descent import child_of
from burnish_controller.ledger.calls import CallState
from burnish_controller.phases.briefing import Round, proposal_request
from burnish_controller.phases.propose import propose
from burnish_controller.phases.reflecting import show_parents
from burnish_controller.phases.rounds import round_of, settle
from burnish_controller.store.rollouts import FinishedRollout

REFLECTION = search_v1.PROPOSAL_MODE_REFLECTION
MERGE = search_v1.PROPOSAL_MODE_MERGE
PROPOSED = types_v1.COMPONENT_SOURCE_PROPOSED
# The online pool of a scene is rows 10 to 19.
EVIDENCE = (12, 13, 14)
PARETO = (10, 11, 17, 18, 19)


class Calls:
    """One answered call of stage `main` for every rollout, named after it."""

    async def of_scopes(self, scopes):
        return {one: [self._call(one)] for one in scopes if not one.startswith("proposals/")}

    def _call(self, name):
        message = {"choices": [{"message": {"content": f"said {name}"}}]}
        return SimpleNamespace(
            trace=ledger_v1.CallTrace(stage_id="main", bindings={"query": f"in {name}"}),
            state=CallState.DONE,
            reply=SimpleNamespace(
                status=200, content_type="application/json", body=json.dumps(message).encode()
            ),
        )


@dataclass
class Nursery:
    """A scene with a baseline, a candidate better than it, and rollouts of both."""

    scene: Any
    better: types_v1.Candidate

    @property
    def job(self):
        return self.scene.job

    @property
    def services(self):
        return self.scene.services

    async def ran(self, who, rewards, *, pool=types_v1.POOL_ONLINE, feedback=""):
        for seed, reward in rewards.items():
            cell = types_v1.Cell(candidate_id=who.candidate_id, pool=pool, seed=seed)
            await self.scene.stores.rollouts.save(
                FinishedRollout(
                    job_id="job1",
                    phase="search",
                    attempt=1,
                    result=types_v1.RolloutResult(rollout_id=self.job.rollout_id(cell), cell=cell),
                    reward=types_v1.Reward(fused=reward, feedback=feedback),
                    cost_usd=0.0,
                )
            )

    def asked(self, mode, *parents, seeds=EVIDENCE):
        return Round(
            key="brief-5",
            iteration=2,
            number=2,
            stage_ids=["main"],
            count=1,
            parents=[one.candidate_id for one in parents],
            mode=mode,
            evidence_seeds=seeds,
        )

    async def request(self, asked):
        template = self.job.stages[0].template
        request = await proposal_request(self.services, self.job, template, asked)
        assert request is not None
        await show_parents(self.services, self.job, request, asked)
        return request

    async def messages(self):
        return [one.message for one in await self.scene.events()]


@pytest.fixture
async def nursery(make_scene):
    scene = await make_scene(algorithm="gepa")
    scene.app.rows = {seed: (f"row {seed}", "abc"[seed % 3]) for seed in range(40)}
    scene.job.pools.bootstrap.clear()
    scene.services.calls.of_scopes = Calls().of_scopes
    baseline = scene.job.baseline()
    written = instruction_component("main", "Sort it well.", source=PROPOSED)
    better = child_of(baseline, written)
    await scene.stores.space.add_components("job1", [*scene.job.baseline_components(), written])
    await scene.stores.space.add_candidates("job1", [baseline, better])
    return Nursery(scene, better)


async def test_a_rewrite_is_shown_what_went_wrong_with_its_parent_on_the_rows_of_the_brief(nursery):
    await nursery.ran(nursery.better, {12: 0.0, 13: 1.0, 14: 0.3}, feedback="name the class")
    request = await nursery.request(nursery.asked(REFLECTION, nursery.better))
    assert request.WhichOneof("mode") == "reflection"
    assert request.reflection.parent.text == "Sort it well."
    assert request.reflection.parent.reward.row_count == 3
    assert [one.input for one in request.failures] == ["row 12", "row 14"]
    assert {one.feedback for one in request.failures} == {"name the class"}
    assert [one.input for one in request.demos] == ["row 13"]
    assert [one.input for one in request.examples] == ["row 12", "row 13", "row 14"]


async def test_no_row_but_those_of_briefs_is_ever_shown(nursery):
    held = {seed: 0.0 for seed in PARETO}
    for who in (nursery.job.baseline(), nursery.better):
        await nursery.ran(who, {**held, 12: 0.0, 13: 1.0, 14: 0.0, 15: 0.0})
        await nursery.ran(who, {20: 0.0, 21: 1.0}, pool=types_v1.POOL_VALIDATION)
        # The same numbers name other rows in another pool.
        await nursery.ran(who, {16: 0.0}, pool=types_v1.POOL_VALIDATION)
    for mode in (REFLECTION, MERGE):
        asked = nursery.asked(mode, nursery.better, nursery.job.baseline())
        said = str(await nursery.request(asked))
        assert "row 12" in said
        for seed in (*PARETO, 15, 16, 20, 21):
            assert f"row {seed}" not in said
            cell = types_v1.Cell(
                candidate_id=nursery.better.candidate_id, pool=types_v1.POOL_ONLINE, seed=seed
            )
            assert nursery.job.rollout_id(cell) not in said


async def test_rows_of_earlier_briefs_are_shown_with_their_labels_and_later_ones_are_not(nursery):
    log = nursery.scene.stores.log
    for ask, seeds in ((3, [15]), (5, EVIDENCE), (7, [16])):
        brief = search_v1.ProposalBrief(iteration=ask // 4, mode=REFLECTION, evidence_seeds=seeds)
        work = search_v1.Work(ask_index=ask, proposal=brief)
        await log.append(
            "job1",
            f"work/{ask}",
            lambda revision, work=work: search_v1.StudyEntry(
                revision=revision, work_suggested=work
            ),
        )
    await nursery.ran(nursery.better, {12: 0.0, 13: 1.0})
    request = await nursery.request(nursery.asked(REFLECTION, nursery.better))
    assert [one.input for one in request.examples] == ["row 15", "row 12", "row 13", "row 14"]


async def test_a_merge_has_both_parents_with_the_rows_that_only_one_of_them_solved(nursery):
    baseline = nursery.job.baseline()
    await nursery.ran(nursery.better, {12: 1.0, 13: 1.0, 14: 0.0})
    await nursery.ran(baseline, {12: 0.0, 13: 1.0, 14: 1.0})
    request = await nursery.request(nursery.asked(MERGE, nursery.better, baseline))
    first, second = request.merge.parents
    assert (first.instruction.text, second.instruction.text) == ("Sort it well.", "Sort it.")
    assert [one.input for one in first.solved] == ["row 12"]
    assert [one.input for one in second.solved] == ["row 14"]


async def test_a_merge_of_one_text_with_itself_becomes_a_rewrite(nursery):
    await nursery.ran(nursery.better, {12: 0.0})
    request = await nursery.request(nursery.asked(MERGE, nursery.better, nursery.better))
    assert request.WhichOneof("mode") == "reflection"


async def test_a_parent_without_mistakes_gets_a_fresh_proposal_and_the_log_says_so(nursery):
    await nursery.ran(nursery.better, dict.fromkeys(EVIDENCE, 1.0))
    request = await nursery.request(nursery.asked(REFLECTION, nursery.better))
    assert request.WhichOneof("mode") is None
    assert len(request.demos) == 3
    assert any("nothing went wrong on the 3 rows" in one for one in await nursery.messages())


async def test_rows_without_labels_are_shown_as_they_went_well(nursery):
    nursery.scene.app.rows = {}
    await nursery.ran(nursery.better, {12: 0.0, 13: 1.0}, feedback="wrong")
    request = await nursery.request(nursery.asked(REFLECTION, nursery.better))
    assert len(request.examples) == 1
    assert request.examples[0].output.startswith("said ")
    assert [one.feedback for one in request.failures] == ["wrong"]


async def test_a_prompt_of_the_users_own_without_a_place_for_parents_is_left_out_of_merges(nursery):
    own = "version: 1\n=== user\n{{current_instruction}} {{variant}}"
    nursery.job.spec.proposer.meta_prompt = own
    baseline = nursery.job.baseline()
    await nursery.ran(nursery.better, {12: 0.0, 13: 1.0})
    await nursery.ran(baseline, {12: 0.0, 13: 1.0})
    rewrite = await nursery.request(nursery.asked(REFLECTION, nursery.better))
    merge = await nursery.request(nursery.asked(MERGE, nursery.better, baseline))
    assert (rewrite.meta_prompt, merge.meta_prompt) == (own, "")


async def brief(nursery, mode, *parents):
    """A brief of the search as the ledger has it."""
    work = search_v1.Work(
        ask_index=5,
        proposal=search_v1.ProposalBrief(
            stage_ids=["main"], count=1, iteration=2, mode=mode, evidence_seeds=EVIDENCE,
            parent_candidate_ids=[one.candidate_id for one in parents],
        ),
    )  # fmt: skip
    await nursery.scene.stores.log.append(
        "job1",
        "work/5",
        lambda revision: search_v1.StudyEntry(revision=revision, work_suggested=work),
    )
    return work


def writes(*texts):
    return [
        proposer_v1.ProposeInstructionsResponse(
            instruction=proposer_v1.ProposedInstruction(index=n, stage_id="main", text=text)
        )
        for n, text in enumerate(("Sort it.", *texts))
    ]


async def test_what_is_written_knows_its_parents_and_is_told_of_once(nursery):
    baseline = nursery.job.baseline()
    await nursery.ran(nursery.better, {12: 0.0, 13: 1.0})
    await nursery.ran(baseline, {12: 1.0, 13: 0.0})
    work = await brief(nursery, MERGE, nursery.better, baseline)
    nursery.scene.proposer.script = [writes("Sort it best.")] * 2
    for _ in range(2):
        asked = await round_of(nursery.services, nursery.job, work)
        found = await propose(nursery.services, nursery.job, asked)
    (component,) = found
    for _ in range(2):
        await settle(nursery.services, nursery.job, work, [component.component_id])
    own = [one.stages["main"].instruction_id for one in (nursery.better, baseline)]
    assert list(component.parent_component_ids) == own
    (told,) = [one.transformation_proposed for one in await nursery.scene.events(
        "transformation_proposed"
    )]  # fmt: skip
    assert told.operator == "merge"
    assert told.candidate_id == child_of(nursery.better, component).candidate_id
    assert dict(told.text_by_stage) == {"main": "Sort it best."}
    assert list(told.parent_candidate_ids) == [nursery.better.candidate_id, baseline.candidate_id]
    first, second = nursery.scene.proposer.requests
    assert first.context.request_id == second.context.request_id
    assert first == second


async def test_a_brief_is_answered_however_many_instructions_there_are(nursery):
    """GEPA has no bank: what is too few to begin with does not bound what comes later."""
    nursery.job.spec.proposer.instruction_count = 1
    await nursery.ran(nursery.better, {12: 0.0})
    asked = nursery.asked(REFLECTION, nursery.better)
    assert (await nursery.request(asked)).count == 1


async def test_nothing_is_screened_or_retired_where_the_search_has_its_own_gate(nursery):
    update = nursery.job.spec.proposer.meta_update
    update.screen_row_count, update.max_kept_count = 4, 1
    work = await brief(nursery, REFLECTION, nursery.better)
    await settle(nursery.services, nursery.job, work, [])
    assert nursery.scene.dispatcher.ran == []
    (settled,) = await nursery.scene.events("proposal_settled")
    assert not settled.proposal_settled.retired_component_ids


async def test_a_baseline_is_learnt_from_rows_that_may_be_seen_anyway(make_scene):
    scene = await make_scene(algorithm="gepa", stages=[])
    scene.job.pools.bootstrap.clear()
    assert scene.job.learning_seeds() == scene.job.pools.online[:8]
    scene.job.pools.reference.extend(range(50, 60))
    assert scene.job.learning_seeds() == list(range(50, 58))


async def test_rows_of_the_online_pool_that_the_baseline_was_learnt_from_are_not_shown(nursery):
    baseline = nursery.job.baseline()
    for seed, reward in ((11, 0.0), (50, 0.0), (51, 1.0)):
        cell = types_v1.Cell(
            candidate_id=baseline.candidate_id, pool=types_v1.POOL_BOOTSTRAP, seed=seed
        )
        await nursery.scene.stores.rollouts.save(
            FinishedRollout(
                job_id="job1",
                phase="bootstrap",
                attempt=1,
                result=types_v1.RolloutResult(rollout_id=f"learnt-{seed}", cell=cell),
                reward=types_v1.Reward(fused=reward, feedback="wrong"),
                cost_usd=0.0,
            )
        )
    asked = Round(key="first")
    request = await proposal_request(
        nursery.services, nursery.job, nursery.job.stages[0].template, asked
    )
    assert request is not None
    assert [one.input for one in request.failures] == ["in learnt-50"]
    assert "learnt-51" in str(request.demos)
    assert "learnt-11" not in str(request)
