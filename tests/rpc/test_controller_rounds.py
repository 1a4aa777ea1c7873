"""Later rounds of proposals: what they are shown, and what becomes of what they write."""

import asyncio

import pytest

from burnish.api.job import v1 as job_v1
from burnish.errors import InvalidArgument
from burnish_controller.testing import World, small_job


@pytest.fixture
async def world(tmp_path):
    async with World(tmp_path) as running:
        running.search.asks = 8
        running.search.briefs = (3, 5)
        running.proposer.text = by_round
        yield running


def by_round(request, index):
    """Every round writes something else: the first Better 1 and 2, the second 3 and 4."""
    return f"Better {index + 2 * request.random_seed}."


def updated(**fields):
    proposer = job_v1.ProposerSpec(instruction_count=2, meta_update=job_v1.MetaUpdate(**fields))
    return small_job(proposer=proposer)


def kinds(events, kind):
    return [getattr(one, kind) for one in events if one.WhichOneof("kind") == kind]


def instructions(events):
    return [
        (one.iteration, one.component.instruction.text)
        for one in kinds(events, "component_added")
        if one.component.HasField("instruction") and one.author
    ]


async def test_later_rounds_add_instructions_and_the_log_tells_so(world):
    await world.create(small_job())
    events = await world.finished()
    assert instructions(events) == [
        (0, "Better 1."), (0, "Better 2."), (1, "Better 3."), (1, "Better 4."),
        (2, "Better 5."), (2, "Better 6."),
    ]  # fmt: skip
    completed = kinds(events, "proposal_completed")
    assert [(one.iteration, one.accepted_count) for one in completed] == [(0, 2), (1, 2), (2, 2)]
    asked = world.proposer.requests
    assert [one.context.request_id for one in asked] == [
        "job1/first/main", "job1/brief-3/main", "job1/brief-5/main",
    ]  # fmt: skip
    assert [one.random_seed for one in asked] == [0, 1, 2]
    added = {one.component.component_id for one in kinds(events, "component_added")}
    assert added <= world.search.known


async def test_later_rounds_know_what_was_tried_and_what_was_only_written(world):
    await world.create(small_job())
    await world.finished()
    history = world.proposer.requests[2].history
    texts = [one.text for one in history]
    assert set(texts) == {"Sort it.", "Better 1.", "Better 2.", "Better 3.", "Better 4."}
    measured = [one for one in history if one.HasField("reward")]
    assert texts[: len(measured)] == [one.text for one in measured]
    means = [one.reward.mean for one in measured]
    assert means == sorted(means, reverse=True)
    assert 0 < len(measured) < 5


async def test_the_first_round_is_shown_bootstrap_demos_with_their_rewards(world):
    await world.create(small_job())
    await world.finished()
    demos = world.proposer.requests[0].demos
    assert [one.input for one in demos] == [f"question {seed}" for seed in range(4)]
    assert {one.reward for one in demos} == {1.0}


async def test_later_rounds_are_shown_what_went_well_under_the_best(world):
    await world.create(updated(success_count=2, failure_count=2, temperature_decay=0.5))
    await world.finished()
    first, second, third = world.proposer.requests
    assert not first.context.HasField("temperature_factor")
    assert second.context.temperature_factor == 0.5
    assert third.context.temperature_factor == 0.25
    shown = [one.input for one in second.demos]
    assert len(shown) == 2
    online = {f"question {seed}" for seed in range(10, 22)}
    assert set(shown) <= online


async def test_no_row_that_candidates_are_chosen_or_tested_by_is_shown(world):
    await world.create(updated(success_count=50, failure_count=50))
    await world.finished()
    held_out = {f"question {seed}" for seed in (*range(30, 36), *range(40, 46))}
    for request in world.proposer.requests:
        said = str(request)
        assert not [one for one in held_out if f'"{one}"' in said]


async def test_the_number_of_instructions_over_all_rounds_is_kept(world):
    spec = small_job()
    spec.proposer.max_instruction_count = 3
    await world.create(spec)
    events = await world.finished()
    assert len(instructions(events)) == 3
    assert [one.count for one in world.proposer.requests] == [2, 1]


async def test_the_first_round_may_be_left_out(world):
    spec = small_job()
    spec.proposer.later_rounds_only = True
    await world.create(spec)
    assert [one for one, _ in instructions(await world.finished())] == [1, 1, 2, 2]


async def test_an_instruction_that_does_worse_beyond_doubt_stays_out(world):
    def text(request, index):
        return "Worse." if "brief-3" in request.context.request_id and index == 1 else by_round(
            request, index
        )  # fmt: skip

    usual = world.program.reward
    world.program.reward = lambda said, seed: 0.0 if said == "Worse." else usual(said, seed)
    world.proposer.text = text
    await world.create(updated(screen_row_count=12))
    events = await world.finished()
    (refusal,) = [one for one in kinds(events, "proposal_refused") if one.reason == "SCREENED_OUT"]
    assert refusal.stage_id == "main"
    assert "worse than the incumbent on 12 rows" in refusal.message
    assert "Worse" not in refusal.message
    ids = {
        one.component.instruction.text: one.component.component_id
        for one in kinds(events, "component_added")
        if one.component.HasField("instruction")
    }
    assert world.search.retired == {ids["Worse."]}
    assert list(world.proposer.requests[2].avoid) == ["Worse."]
    first, second = kinds(events, "proposal_settled")
    assert (first.iteration, first.screen_row_count) == (1, 12)
    assert list(first.screened_component_ids) == [ids["Worse."]]
    assert list(first.joined_component_ids) == [ids["Better 4."]]
    assert len(second.joined_component_ids) == 2


async def test_only_so_many_instructions_go_on_and_the_worst_are_retired(world):
    await world.create(updated(max_kept_count=3))
    events = await world.finished()
    retired = [
        one for each in kinds(events, "proposal_settled") for one in each.retired_component_ids
    ]
    assert set(retired) == world.search.retired
    ids = {
        one.component.component_id: one.component.instruction.text
        for one in kinds(events, "component_added")
        if one.component.HasField("instruction")
    }
    left = {text for one, text in ids.items() if one not in world.search.retired}
    assert len(left) == 3
    assert {"Sort it.", "Better 5.", "Better 6."} == left


async def run(state_dir, spec, *, cut=None):
    """Runs a job; it is stopped and started again once an event of a kind has come."""
    async with World(state_dir) as running:
        running.search.asks, running.search.briefs = 8, (3, 5)
        running.proposer.text = by_round
        await running.create(spec)
        if cut is not None:
            await cut(running)
        events = await running.finished()
        asked = [one.SerializeToString(deterministic=True) for one in running.proposer.requests]
        return await running.result(), events, set(asked), running.program.paid


def told(events):
    """What happened, without when and how far it was."""
    left_out = {"progress", "budget_updated", "state_changed", "billing_ended"}
    found = []
    for event in events:
        if event.WhichOneof("kind") not in left_out:
            slim = job_v1.JobEvent()
            slim.CopyFrom(event)
            slim.ClearField("sequence")
            slim.ClearField("event_time")
            found.append(slim.SerializeToString(deterministic=True))
    return found


def screened(**fields):
    return updated(success_count=2, failure_count=2, screen_row_count=6, max_kept_count=4, **fields)


async def test_concurrency_changes_nothing(tmp_path):
    alone, together = screened(), screened()
    alone.max_concurrency, together.max_concurrency = 1, 8
    first, events, asked, _ = await run(tmp_path / "one", alone)
    again, more, asked_again, _ = await run(tmp_path / "eight", together)
    assert told(events) == told(more)
    assert asked == asked_again
    assert first.best.candidate == again.best.candidate


async def test_a_stop_in_the_middle_of_a_round_changes_nothing(tmp_path):
    _, events, asked, paid = await run(tmp_path / "whole", screened())

    async def stop_while_screening(running):
        # The screen's rollouts are held at their call, so the round is written and not settled.
        seen = asyncio.Event()
        usual = running.proposer.text

        def text(request, index):
            if "brief-3" in request.context.request_id:
                running.program.gate.clear()
                seen.set()
            return usual(request, index)

        running.proposer.text = text
        await seen.wait()
        async with asyncio.timeout(20):
            while running.program.running == 0:  # noqa: ASYNC110 - the fake has no event for it
                await asyncio.sleep(0.01)
        running.proposer.text = usual
        await running.stop()
        running.program.gate.set()
        await running.start()

    _, more, asked_again, paid_again = await run(
        tmp_path / "cut", screened(), cut=stop_while_screening
    )
    assert told(events) == told(more)
    assert asked == asked_again
    assert set(paid_again.values()) == {1}
    assert paid == paid_again


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_kept_count": -1}, "max_kept_count"),
        ({"duplicate_overlap": 1.5}, "duplicate_overlap"),
        ({"temperature_decay": 0.0}, "temperature_decay"),
    ],
)
async def test_settings_out_of_their_range_are_refused(world, change, words):
    with pytest.raises(InvalidArgument, match=words):
        await world.create(updated(**change))


async def test_a_protected_text_that_the_baseline_lacks_is_refused(world):
    spec = small_job()
    spec.stages[0].protected_texts.extend(["Sort it.", "Never guess."])
    with pytest.raises(InvalidArgument, match=r"protected_texts\[1\]") as refused:
        await world.create(spec)
    assert "protected_texts[0]" not in refused.value.message


async def test_a_proposer_that_nobody_installed_is_refused(world):
    spec = small_job()
    spec.proposer.proposer = "mine"
    with pytest.raises(InvalidArgument, match="`mine`, which is neither installed"):
        await world.create(spec)
