"""A search by GEPA in a job's log: generations, the front, where candidates come from."""

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import candidate, demo_component, instruction_component
from burnish_controller.descent import child_of, generation_of, parents_of, read
from burnish_controller.phases import search

PARETO = (10, 11, 12, 13)
BATCH = (14, 15)
MINIBATCH, FULL = search_v1.TRIAL_KIND_MINIBATCH, search_v1.TRIAL_KIND_FULL
TOP_K = search_v1.TRIAL_KIND_TOP_K
ONLINE, VALIDATION = types_v1.POOL_ONLINE, types_v1.POOL_VALIDATION


class Story:
    """A scripted search: each work as the search service would suggest it."""

    def __init__(self, scene):
        self.scene = scene
        self.job = scene.job
        self.trials = 0
        self.asks = 0
        self.rewards: dict[str, dict[int, float | None]] = {}
        scene.dispatcher.reward = lambda cell: self.rewards.get(cell.candidate_id, {}).get(
            cell.seed, 0.5
        )

    def child(self, text, rewards=None, *, parent=None):
        component = instruction_component("main", text, source=types_v1.COMPONENT_SOURCE_PROPOSED)
        found = child_of(parent or self.job.baseline(), component)
        self.rewards[found.candidate_id] = rewards or {}
        return component, found

    async def works(self, *trials, generation):
        """Goes through a work of some trials, each step twice as after a crash."""
        ask, self.asks = self.asks, self.asks + 1
        work = search_v1.Work(ask_index=ask)
        for who, kind, rows, pool in trials:
            cells = [
                types_v1.Cell(candidate_id=who.candidate_id, pool=pool, seed=seed) for seed in rows
            ]
            work.evaluation.trials.add(
                trial_index=self.trials, candidate=who, kind=kind, cells=cells,
                iteration=generation,
            )  # fmt: skip
            self.trials += 1
        self.scene.search.works[ask] = work
        for step in (search.suggest, search.evaluate, search.tell):
            for _ in range(2):
                await step(self.scene.services, self.job, ask)

    async def of(self, kind):
        return [getattr(one, kind) for one in await self.scene.events(kind)]


@pytest.fixture
async def story(make_scene):
    scene = await make_scene(algorithm="gepa")
    scene.job.job.spec.algorithm_settings.update({"num_generations": 4, "pareto_eps": 1e-6})
    components = scene.job.baseline_components()
    await scene.stores.space.add_components("job1", components)
    return Story(scene)


def full(who):
    return (who, FULL, PARETO, ONLINE)


def tried(who):
    return (who, MINIBATCH, BATCH, ONLINE)


async def test_a_generation_is_told_of_from_its_parents_to_what_became_of_its_children(story):
    baseline = story.job.baseline()
    _, good = story.child("Better.", dict.fromkeys(range(10, 20), 1.0))
    _, bad = story.child("Worse.", dict.fromkeys(range(10, 20), 0.0))
    await story.works(full(baseline), generation=0)
    await story.works(tried(baseline), tried(good), tried(bad), generation=1)
    await story.works(full(good), generation=1)
    await story.works(tried(good), generation=2)
    started = await story.of("generation_started")
    assert [(one.generation, one.planned_count, one.population_count) for one in started] == [
        (0, 4, 1), (1, 4, 1), (2, 4, 2),
    ]  # fmt: skip
    completed = await story.of("generation_completed")
    assert [(one.generation, one.proposed_count, one.accepted_count) for one in completed] == [
        (0, 0, 0), (1, 2, 1),
    ]  # fmt: skip
    assert [one.best_reward.mean for one in completed] == [0.5, 1.0]
    status = {one.candidate_id: one.status for one in await story.of("candidate_evaluated")}
    assert status == {
        baseline.candidate_id: job_v1.CANDIDATE_STATUS_EVALUATED,
        good.candidate_id: job_v1.CANDIDATE_STATUS_ACCEPTED,
        bad.candidate_id: job_v1.CANDIDATE_STATUS_REJECTED,
    }
    assert not await story.of("iteration_started")


async def test_the_last_generation_is_closed_once_when_the_search_ends(story):
    await story.works(full(story.job.baseline()), generation=0)
    for _ in range(2):
        await search.end(story.scene.services, story.job, "TERMINATION_REASON_COMPLETED")
    (completed,) = await story.of("generation_completed")
    assert completed.generation == 0


async def test_the_front_tells_who_joined_and_who_left(story):
    baseline = story.job.baseline()
    _, mixed = story.child("Mixed.", {10: 1.0, 11: 0.0, 12: 0.0, 13: 0.0})
    _, best = story.child("Best.", dict.fromkeys(PARETO, 1.0))
    _, dull = story.child("Dull.", dict.fromkeys(PARETO, 0.1))
    for who in (baseline, mixed, dull, best):
        await story.works(full(who), generation=0)
    found = await story.of("frontier_updated")
    names = {
        baseline.candidate_id: "baseline", mixed.candidate_id: "mixed", best.candidate_id: "best"
    }  # fmt: skip
    told = [
        tuple(
            {names[one] for one in part}
            for part in (step.candidate_ids, step.added_candidate_ids, step.removed_candidate_ids)
        )
        for step in found
    ]
    assert told == [
        ({"baseline"}, {"baseline"}, set()),
        ({"baseline", "mixed"}, {"mixed"}, set()),
        # Best is as good as Mixed on its one row, and better on all the others.
        ({"best"}, {"best"}, {"baseline", "mixed"}),
    ]
    assert [one.best_reward.mean for one in found] == [0.5, 0.5, 1.0]


async def test_a_look_at_the_validation_pool_is_neither_acceptance_nor_front(story):
    _, child = story.child("Good.", dict.fromkeys(range(30), 1.0))
    await story.works(full(story.job.baseline()), generation=0)
    await story.works(tried(child), generation=1)
    await story.works((child, FULL, (20, 21), VALIDATION), generation=1)
    assert len(await story.of("frontier_updated")) == 1
    await story.works((child, TOP_K, (22, 23), VALIDATION), generation=1)
    assert [one.generation for one in await story.of("generation_started")] == [0, 1]
    found = read(
        await story.scene.stores.log.entries("job1"),
        baseline_id=story.job.baseline().candidate_id,
    )
    assert found.accepted(1) == []
    assert found.children(1) == [child.candidate_id]


async def test_a_child_that_nothing_was_measured_of_failed_and_was_not_rejected(story):
    _, lost = story.child("Lost.", dict.fromkeys(range(30)))
    await story.works(full(story.job.baseline()), generation=0)
    await story.works(tried(lost), generation=1)
    await story.works(tried(story.job.baseline()), generation=2)
    (_, told) = await story.of("candidate_evaluated")
    assert told.candidate_id == lost.candidate_id
    assert told.status == job_v1.CANDIDATE_STATUS_FAILED
    assert not told.HasField("reward")


async def test_the_initial_population_is_the_baseline_with_one_new_instruction_each(story):
    component, child = story.child("To begin with.")
    await story.scene.stores.space.add_components("job1", [component])
    for _ in range(2):
        await search.open_space(story.scene.services, story.job)
    (told,) = await story.of("transformation_proposed")
    assert told.candidate_id == child.candidate_id
    assert told.mutation_type == job_v1.MUTATION_TYPE_INITIAL_POPULATION
    assert list(told.parent_candidate_ids) == [story.job.baseline().candidate_id]
    await story.works(full(story.job.baseline()), generation=0)
    await story.works(tried(child), generation=0)
    assert len(await story.of("transformation_proposed")) == 1


async def test_given_instructions_and_gathered_demos_are_part_of_the_initial_population(story):
    given = instruction_component("main", "By hand.", source=types_v1.COMPONENT_SOURCE_GIVEN)
    demos = demo_component(
        "main",
        [types_v1.Demo(bindings={"query": "hi"}, messages=[b'{"role": "assistant"}'])],
        source=types_v1.COMPONENT_SOURCE_LABELLED,
    )
    await story.scene.stores.space.add_components("job1", [given, demos])
    await search.open_space(story.scene.services, story.job)
    told = await story.of("transformation_proposed")
    assert {one.operator: dict(one.text_by_stage) for one in told} == {
        "given": {"main": "By hand."},
        "gather": {},
    }
    await story.works(full(story.job.baseline()), generation=0)
    shown = child_of(story.job.baseline(), demos)
    assert shown.stages["main"].demo_set_id == demos.component_id
    await story.works(tried(shown), generation=0)
    assert len(await story.of("transformation_proposed")) == 2


async def test_a_candidate_that_nobody_wrote_is_a_recombination(story):
    _, child = story.child("From nowhere.")
    await story.works(full(story.job.baseline()), generation=0)
    await story.works(tried(child), generation=1)
    (told,) = await story.of("transformation_proposed")
    assert (told.operator, told.generation) == ("recombine", 1)
    assert told.mutation_type == job_v1.MUTATION_TYPE_CROSSOVER


def two_stages(route, intent):
    return candidate(
        {
            "route": types_v1.StageChoice(instruction_id=route, demo_set_id="none"),
            "intent": types_v1.StageChoice(instruction_id=intent, demo_set_id="none"),
        }
    )


def test_the_parents_of_a_recombination_are_those_that_it_has_its_parts_from():
    one, other, third = two_stages("r1", "i0"), two_stages("r0", "i1"), two_stages("r2", "i2")
    known = {each.candidate_id: each for each in (one, other, third)}
    among = [third.candidate_id, other.candidate_id, one.candidate_id]
    child = two_stages("r1", "i1")
    assert parents_of(child, known, among) == (other.candidate_id, one.candidate_id)
    assert parents_of(two_stages("r9", "i1"), known, among) == ()
    # What has every part from one of them is no recombination.
    assert parents_of(two_stages("r2", "i2"), known, among) == ()


def test_the_last_look_at_the_best_belongs_to_no_generation():
    work = search_v1.Work()
    work.evaluation.trials.add(kind=TOP_K, iteration=3)
    assert generation_of(work) is None
    work.evaluation.trials.add(kind=MINIBATCH, iteration=3)
    assert generation_of(work) == 3
