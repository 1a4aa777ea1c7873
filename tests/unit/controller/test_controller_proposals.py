import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.errors import FailedPrecondition, ResourceExhausted, Unavailable
from burnish_controller.phases import baseline, bootstrap, propose
from burnish_controller.phases.briefing import Round
from burnish_controller.phases.logs import positions

BROKE = ResourceExhausted("the call could pass the cap", reason="BUDGET_EXHAUSTED")


def wrote(index: int, text: str = "") -> proposer_v1.ProposeInstructionsResponse:
    return proposer_v1.ProposeInstructionsResponse(
        instruction=proposer_v1.ProposedInstruction(
            index=index, stage_id="main", text=text or f"Try {index}.", model="writer"
        )
    )


def refused() -> proposer_v1.ProposeInstructionsResponse:
    return proposer_v1.ProposeInstructionsResponse(
        refusal=proposer_v1.RefusedProposal(
            index=2, stage_id="main", reason=proposer_v1.PROPOSAL_REFUSAL_DUPLICATE, message="again"
        )
    )


def summary() -> proposer_v1.ProposeInstructionsResponse:
    return proposer_v1.ProposeInstructionsResponse(
        summary=proposer_v1.ProposalSummary(description="writer, shown 4 rows")
    )


async def ask(scene, key: str = "first", iteration: int = 0):
    asked = Round(key=key, iteration=iteration, number=iteration)
    return await propose.propose(scene.services, scene.job, asked)


def texts(components) -> list[str]:
    return [one.instruction.text for one in components]


async def test_instructions_but_the_baseline_become_components(make_scene):
    scene = await make_scene()
    scene.proposer.script = [[wrote(0), wrote(1), refused(), wrote(3), summary()]]
    found = await ask(scene)
    assert texts(found) == ["Try 1.", "Try 3."]
    assert texts(await scene.stores.space.components("job1")) == ["Try 1.", "Try 3."]
    (completed,) = await scene.events("proposal_completed")
    assert completed.level == job_v1.EVENT_LEVEL_INFO
    assert completed.proposal_completed.accepted_count == 2
    assert completed.proposal_completed.refused_count == 1
    assert completed.proposal_completed.description == "writer, shown 4 rows"
    (refusal,) = await scene.events("proposal_refused")
    assert refusal.proposal_refused.reason == "DUPLICATE"


async def test_what_was_paid_before_the_money_ran_out_is_kept_with_a_warning(make_scene):
    scene = await make_scene()
    scene.proposer.script = [[wrote(0), wrote(1), wrote(2), BROKE]]
    assert texts(await ask(scene)) == ["Try 1.", "Try 2."]
    (completed,) = await scene.events("proposal_completed")
    assert completed.level == job_v1.EVENT_LEVEL_WARNING
    assert "BUDGET_EXHAUSTED" in completed.message
    assert completed.proposal_completed.accepted_count == 2
    assert completed.proposal_completed.description == "writer"


async def test_a_job_goes_on_without_instructions_when_there_is_no_money_for_one(make_scene):
    scene = await make_scene()
    scene.proposer.script = [[wrote(0), BROKE]]
    assert await ask(scene) == []
    (completed,) = await scene.events("proposal_completed")
    assert completed.level == job_v1.EVENT_LEVEL_WARNING


@pytest.mark.parametrize(
    "error",
    [
        FailedPrecondition("no key", reason="PROVIDER_KEY_MISSING"),
        ResourceExhausted("unknown price", reason="PRICE_UNKNOWN"),
    ],
)
async def test_a_fault_before_the_first_instruction_fails_loudly(make_scene, error):
    scene = await make_scene()
    scene.proposer.script = [[wrote(0), error]]
    with pytest.raises(type(error)):
        await ask(scene)


async def test_a_fault_after_an_instruction_keeps_it(make_scene):
    scene = await make_scene()
    scene.proposer.script = [[wrote(0), wrote(1), FailedPrecondition("key was withdrawn")]]
    assert texts(await ask(scene)) == ["Try 1."]


async def test_a_stream_broken_by_a_restart_is_asked_again_as_the_next_attempt(make_scene):
    scene = await make_scene()
    scene.proposer.script = [
        [wrote(0), wrote(1), Unavailable("gone")],
        [wrote(0), wrote(1), wrote(2), summary()],
    ]
    assert texts(await ask(scene)) == ["Try 1.", "Try 2."]
    assert [one.context.attempt for one in scene.proposer.requests] == [1, 2]
    (completed,) = await scene.events("proposal_completed")
    assert completed.level == job_v1.EVENT_LEVEL_INFO


async def test_a_cancelled_job_asks_for_nothing(make_scene):
    scene = await make_scene()
    scene.job.cancelled = True
    assert await ask(scene) == []
    assert scene.proposer.requests == []


async def test_repeating_a_proposal_after_a_crash_changes_nothing(make_scene):
    scene = await make_scene()
    scene.proposer.script = [[wrote(0), wrote(1), refused(), summary()]] * 2
    await ask(scene)
    before = await scene.events()
    await ask(scene)
    assert await scene.events() == before
    assert len(await scene.stores.space.components("job1")) == 1


async def test_stages_that_want_no_instructions_are_left_out(make_scene, make_spec):
    kept = make_spec().stages[0]
    kept.template.stage_id = "kept"
    kept.optimise_instruction = False
    scene = await make_scene(stages=[kept])
    scene.proposer.script = [[wrote(0), wrote(1), summary()]]
    assert {one.stage_id for one in await ask(scene)} == {"main"}
    assert len(scene.proposer.requests) == 1
    study = scene.job.study()
    assert list(study.stage_ids) == ["main", "kept"]
    assert list(study.written_stage_ids) == ["main"]


# The summary of the rows.


async def test_the_rows_are_summarised_and_the_summary_passed_on(make_scene):
    scene = await make_scene()
    scene.app.rows = {0: ("where is it", "delivery"), 1: ("refund me", "refund")}
    scene.proposer.script = [[wrote(0), summary()]]
    await ask(scene)
    (asked,) = scene.proposer.summaries
    assert [one.input for one in asked.examples] == ["where is it", "refund me"]
    assert asked.context.request_id == "job1/summary/main"
    assert asked.context.job == "jobs/job1"
    assert asked.context.attempt == 1
    assert scene.proposer.requests[0].dataset_summary == "short questions"
    assert scene.proposer.requests[0].context.request_id == "job1/first/main"


async def test_a_later_proposal_asks_for_the_same_summary(make_scene):
    scene = await make_scene()
    scene.app.rows = {0: ("where is it", "delivery")}
    scene.proposer.script = [[summary()], [summary()]]
    await ask(scene, "first")
    await ask(scene, "brief-3", iteration=1)
    assert len({one.context.request_id for one in scene.proposer.summaries}) == 1
    assert len({one.context.request_id for one in scene.proposer.requests}) == 2


@pytest.mark.parametrize("effort", [proposer_v1.EFFORT_LOW_CONTEXT, proposer_v1.EFFORT_LOW])
async def test_no_summary_is_paid_without_rows_or_at_the_lowest_effort(make_scene, effort):
    scene = await make_scene(proposer=job_v1.ProposerSpec(instruction_count=1, effort=effort))
    if effort == proposer_v1.EFFORT_LOW_CONTEXT:
        scene.app.rows = {0: ("where is it", "delivery")}
    scene.proposer.script = [[wrote(0), summary()]]
    await ask(scene)
    assert scene.proposer.summaries == []
    assert scene.proposer.requests[0].dataset_summary == ""


async def test_a_summary_without_money_is_left_out_with_a_warning(make_scene):
    scene = await make_scene()
    scene.app.rows = {0: ("where is it", "delivery")}
    scene.proposer.summary = BROKE
    scene.proposer.script = [[wrote(0), wrote(1), summary()]]
    assert len(await ask(scene)) == 1
    assert scene.proposer.requests[0].dataset_summary == ""
    warnings = [one for one in await scene.events() if one.level == job_v1.EVENT_LEVEL_WARNING]
    assert ["summarised" in one.message for one in warnings] == [True]


async def test_a_summary_that_cannot_be_had_fails_loudly(make_scene):
    scene = await make_scene()
    scene.app.rows = {0: ("where is it", "delivery")}
    scene.proposer.summary = FailedPrecondition("no key")
    with pytest.raises(FailedPrecondition):
        await ask(scene)


# Component events.


async def test_every_component_is_announced_once_with_its_place(make_scene):
    scene = await make_scene()
    scene.app.rows = {n: (f"m{n}", "x") for n in range(8)}
    await baseline.evaluate_baseline(scene.services, scene.job)
    while await bootstrap.run_bootstrap_pool(scene.services, scene.job, 0):
        pass
    await bootstrap.build_demo_sets(scene.services, scene.job)
    scene.proposer.script = [
        [wrote(0), wrote(1), wrote(2), summary()],
        [wrote(0), wrote(1, "Later."), summary()],
    ]
    await ask(scene)
    await ask(scene, "brief-1", iteration=1)
    added = [one.component_added for one in await scene.events("component_added")]
    instructions = [one for one in added if one.component.WhichOneof("content") == "instruction"]
    demo_sets = [one for one in added if one.component.WhichOneof("content") == "demo_set"]
    assert [one.index for one in instructions] == [0, 1, 2, 3]
    assert [one.index for one in demo_sets] == [0, 1, 2]
    assert instructions[0].component.instruction.text == "Sort it."
    assert [one.iteration for one in instructions] == [0, 0, 0, 1]
    assert len(demo_sets[0].component.demo_set.demos) == 0
    assert len({one.component.component_id for one in added}) == len(added)
    places = await positions(scene.services, scene.job)
    assert all(places[one.component.component_id] == one.index for one in added)


async def test_the_places_of_two_stages_are_counted_apart(make_scene, make_spec):
    spec = make_spec()
    second = job_v1.StageSpec()
    second.CopyFrom(spec.stages[0])
    second.template.stage_id = "second"
    scene = await make_scene(stages=[second])
    await baseline.evaluate_baseline(scene.services, scene.job)
    added = [one.component_added for one in await scene.events("component_added")]
    assert [(one.component.stage_id, one.index) for one in added] == [
        ("main", 0), ("main", 0), ("second", 0), ("second", 0),
    ]  # fmt: skip


# A proposer outside the suite.


async def outside(make_scene):
    scene = await make_scene(proposer=job_v1.ProposerSpec(proposer="mine", instruction_count=2))
    scene.app.rows = {0: ("where is it", "delivery")}
    external = type(scene.proposer)()
    scene.services.peers.external_proposers["mine"] = external
    return scene, external


async def test_what_an_outside_proposer_writes_is_judged_by_the_suites_guards(make_scene):
    scene, external = await outside(make_scene)
    external.script = [
        [wrote(0), wrote(1, "Fine."), wrote(2, "Bad."), wrote(3, "More."), summary()]
    ]
    scene.proposer.script = [[wrote(0), wrote(1, "Fine."), refused(), summary()]]
    assert texts(await ask(scene)) == ["Fine."]
    (judged,) = scene.proposer.requests
    assert list(judged.given_texts) == ["Fine.", "Bad."]
    assert (judged.count, judged.retry_limit) == (2, 0)
    assert judged.stage == external.requests[0].stage
    (added,) = await scene.events("component_added")
    assert added.component_added.author == "mine (writer)"
    (refusal,) = await scene.events("proposal_refused")
    assert refusal.proposal_refused.reason == "DUPLICATE"
    (completed,) = await scene.events("proposal_completed")
    assert completed.proposal_completed.description.startswith("`mine`, outside the suite")


async def test_an_outside_proposer_is_paid_no_summary(make_scene):
    scene, external = await outside(make_scene)
    external.script = [[wrote(0), summary()]]
    assert await ask(scene) == []
    assert scene.proposer.summaries == []
    assert scene.proposer.requests == []
    assert external.summaries == []


async def test_an_outside_proposer_that_fails_fails_loudly(make_scene):
    scene, external = await outside(make_scene)
    external.script = [[FailedPrecondition("no disk")]]
    with pytest.raises(FailedPrecondition):
        await ask(scene)
