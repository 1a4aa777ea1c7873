"""Adaptive pools: which rows a search looks at, at any size, and the same in any process."""

import random
from collections import Counter

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from burnish.config import PromptLearningConfig, resolve_adaptive_pool_config, resolve_job
from burnish.search_settings import algorithm_settings
from burnish_search.algorithms.adaptive import likeness, schedule
from burnish_search.algorithms.adaptive.pool import informativeness
from burnish_search.algorithms.adaptive.settings import PoolSettings, parse
from burnish_search.algorithms.engines import MiproEngines
from burnish_search.algorithms.mipro import tpe_engine
from burnish_search.algorithms.random_search import RandomSearch
from burnish_search.history import Row
from burnish_search.model import FinishPlan, Pool, TrialKind
from burnish_search.problems import StudyInvalid

SMALL = {
    "anchor_size": 4,
    "pool_init_size": 24,
    "pool_min_size": 8,
    "warmup_iters": 2,
    "anneal_stop_iter": 6,
    "pool_update_period": 2,
    "min_evals_per_example": 2,
    "k_info_prompts": 4,
}


def settings_of(**table):
    return {
        "batch_size": 6,
        "num_trials": 40,
        "num_evaluations_per_iteration": 3,
        "num_iterations": 12,
        "adaptive_pool": {**SMALL, **table},
    }


def minibatches(run):
    return [trial for trial in run.history.trials if trial.kind is TrialKind.MINIBATCH]


def rows_of(trials):
    return {cell.seed for trial in trials for cell in trial.cells}


def test_every_new_candidate_is_looked_at_on_the_anchors_before_anything_else(rig):
    run = rig(RandomSearch, settings=settings_of(anchor_selection_method="random")).start().run()

    first_of: dict[str, list[int]] = {}
    for trial in minibatches(run):
        first_of.setdefault(trial.candidate.candidate_id, [c.seed for c in trial.cells])
    shared = Counter(seed for seeds in first_of.values() for seed in seeds[:4])

    assert len(first_of) > 5
    assert len(shared) == 4
    assert set(shared.values()) == {len(first_of)}


def test_a_pool_shrinks_from_its_first_size_to_its_last(rig):
    run = rig(RandomSearch, settings=settings_of(heatup_size=1)).start(instructions=30).run()

    before = rows_of(t for t in minibatches(run) if t.iteration < 2)
    after = [t for t in minibatches(run) if t.iteration >= 6]
    looks = Counter(trial.candidate for trial in minibatches(run))
    new = [trial for trial in after if looks[trial.candidate] == 1]

    assert len(before) > 12
    assert new
    assert len(rows_of(new)) <= 8 + len(new)


def test_a_restored_study_goes_on_with_the_same_pool(rig):
    whole = rig(tpe_engine, settings=settings_of()).start().run()
    parts = rig(tpe_engine, settings=settings_of()).start()
    while not (parts.history.works and isinstance(parts.history.works[-1].plan, FinishPlan)):
        parts.restored().run(most_asks=3)

    assert parts.plans() == whole.plans()


def test_no_candidate_is_asked_a_row_twice(rig):
    run = (
        rig(RandomSearch, settings=settings_of(), online=range(9))
        .start(instructions=2, demo_sets=1)
        .run()
    )

    cells = [cell for trial in run.history.trials for cell in trial.cells]

    assert len(cells) == len(set(cells))
    assert rows_of(minibatches(run)) == set(range(9))


@bounded(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 70),
    level=st.sampled_from(["LOW", "MODERATE", "HIGH"]),
    sizes=st.fixed_dictionaries(
        {},
        optional={
            "anchor_size": st.integers(0, 5),
            "pool_min_size": st.integers(5, 20),
            "pool_init_size": st.integers(20, 90),
            "heatup_size": st.integers(1, 90),
            "heatup_cooldown_trials": st.integers(0, 5),
            "k_info_prompts": st.integers(0, 3),
            "info_buffer_factor": st.sampled_from([0.0, 0.5, 1.0]),
            "exploration_strategy": st.sampled_from(["diversity", "random"]),
            "heatup_trigger": st.sampled_from(
                ["after_min_size", "immediate", "every_N_trials_after_min"]
            ),
        },
    ),
    batch=st.integers(1, 40),
)
def test_every_pool_size_from_one_up_can_be_searched(rig, size, level, sizes, batch):
    run = rig(
        RandomSearch,
        settings={
            "batch_size": batch,
            "num_trials": 12,
            "num_evaluations_per_iteration": 1,
            "adaptive_pool": {
                "level": level,
                "warmup_iters": 2,
                "anneal_stop_iter": 8,
                "pool_update_period": 1,
                **sizes,
            },
        },
        online=range(size),
        validation=range(100, 104),
    )
    run.start().run()

    for trial in minibatches(run):
        assert 1 <= len(trial.cells) <= min(batch, size)
        assert {cell.seed for cell in trial.cells} <= set(range(size))
    assert run.reason is not None


@given(
    init=st.integers(1, 200),
    share=st.floats(0, 1),
    warm=st.integers(0, 10),
    length=st.integers(1, 20),
    period=st.integers(1, 7),
)
def test_sizes_fall_from_the_first_to_the_last_and_updates_come_in_order(
    init, share, warm, length, period
):
    config = PoolSettings(
        pool_init_size=init,
        pool_min_size=int(share * init),
        anchor_size=0,
        warmup_iters=warm,
        anneal_stop_iter=warm + length,
        pool_update_period=period,
    )
    iterations = range(warm + length + 5)

    sizes = [schedule.size_at(config, one) for one in iterations]
    updates = [schedule.update_before(config, one) for one in iterations]

    assert sizes[0] == init
    assert sizes[-1] == config.pool_min_size
    assert sizes == sorted(sizes, reverse=True)
    assert updates == sorted(updates)
    assert all(update <= iteration for update, iteration in zip(updates, iterations, strict=True))


def heats(**given):
    config = PoolSettings(warmup_iters=1, anneal_stop_iter=2, **given)
    return [schedule.heat_at(config, trial, trials_per_iteration=5) for trial in range(30)]


def test_rows_come_back_when_the_pool_has_shrunk_and_leave_after_the_cool_down():
    found = heats(heatup_cooldown_trials=4)

    assert found[:10] == [None] * 10
    assert found[10:14] == [0] * 4
    assert found[14:18] == [None] * 4
    assert found[18:22] == [1] * 4


def test_rows_come_back_once_at_once_or_for_good_when_asked_for():
    once = heats(heatup_cooldown_trials=4, heatup_schedule="once")
    soon = heats(heatup_cooldown_trials=4, heatup_trigger="immediate")
    late = heats(heatup_cooldown_trials=4, heatup_trigger="every_N_trials_after_min")
    stay = heats(heatup_cooldown_trials=0)

    assert [trial for trial, turn in enumerate(once) if turn is not None] == [10, 11, 12, 13]
    assert soon[:4] == [0] * 4
    assert late[10:14] == [None] * 4
    assert late[14:18] == [0] * 4
    assert stay[9:] == [None] + [0] * 20


def test_each_heat_up_brings_the_next_rows_of_the_reserve():
    assert list(schedule.wave(5, 2, 0)) == [0, 1]
    assert list(schedule.wave(5, 2, 1)) == [2, 3]
    assert list(schedule.wave(5, 2, 2)) == [4, 0]
    assert list(schedule.wave(3, 8, 1)) == [2, 0, 1]


def test_a_reserve_that_was_given_comes_back_beside_the_pool(rig):
    table = {"heatup_reserve_pool": [70, 71], "heatup_trigger": "immediate", "heatup_size": 2}
    run = rig(RandomSearch, settings=settings_of(**table), seed=1).start(instructions=30).run()

    assert {70, 71} <= rows_of(minibatches(run))


def row(candidate, seed, reward):
    return Row(candidate, Pool.ONLINE, seed, reward)


def test_a_row_is_informative_when_the_best_disagree_on_it_often_enough():
    told = informativeness(
        [
            *(row("a", seed, 1.0) for seed in (1, 2, 3)),
            *(row("b", seed, 0.0) for seed in (1, 3)),
            row("b", 2, 1.0),
            row("worst", 2, 0.0),
            row("worst", 4, 0.0),
        ],
        ["a", "b"],
        least=2,
    )

    assert told[Pool.ONLINE, 1] == pytest.approx(0.25)
    assert told[Pool.ONLINE, 2] == 0
    assert (Pool.ONLINE, 4) not in told


def test_medoids_stand_for_groups_of_rows_that_the_same_candidates_fail_on():
    groups = [[0, 0, 0, 1], [1, 1, 0, 0], [0, 1, 1, 1]]
    points = np.array([groups[place % 3] for place in range(30)], dtype=np.float64)

    found = likeness.medoids(points, 3, random.Random(0))

    assert {tuple(points[place]) for place in found} == {tuple(map(float, g)) for g in groups}


@given(
    count=st.integers(0, 12),
    points=st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=3, max_size=3), min_size=1),
)
def test_there_are_as_many_medoids_as_asked_for_and_no_point_twice(count, points):
    found = likeness.medoids(np.array(points), count, random.Random(1))

    assert len(found) == len(set(found)) == min(count, len(points))


def test_a_missing_reward_is_taken_for_the_rows_own_mean():
    measured = [row("a", 1, 1.0), row("b", 1, 1.0), row("a", 2, 0.0), row("c", 1, 1.0)]

    found = likeness.vectors(measured, [(Pool.ONLINE, 1), (Pool.ONLINE, 2), (Pool.ONLINE, 3)])

    assert found[0].tolist() == [1.0, 1.0, 1.0]
    assert found[1][0] == 0.0
    assert found[1][1] < found[2][1] == pytest.approx(0.75)


def test_the_search_reads_a_level_alone_and_refuses_what_it_does_not_know(rig):
    level, problems = parse("HIGH")
    none, _ = parse({"level": "NONE"})

    assert not problems
    assert level is not None
    assert (level.anchor_size, level.pool_init_size, level.pool_min_size) == (20, 60, 30)
    assert none is None
    with pytest.raises(StudyInvalid, match="anchor_sizes"):
        rig(tpe_engine, settings={"adaptive_pool": {"anchor_sizes": 3}})
    with pytest.raises(StudyInvalid, match="adaptive_pool"):
        rig(tpe_engine, settings={"adaptive_pool": 3})


@pytest.mark.parametrize("level", ["LOW", "MODERATE", "HIGH"])
@pytest.mark.parametrize("size", [1, 2, 29, 40, 1000])
def test_the_engine_and_a_file_clamp_a_level_to_the_same_sizes(level, size):
    resolved = resolve_adaptive_pool_config(level=level, dev_pool_size=size)
    sent, problems = parse(resolved.model_dump(mode="json"))
    alone, _ = parse(level)

    assert not problems
    assert sent is not None
    assert alone is not None
    assert sent.fitted(size) == alone.fitted(size)
    assert sent.fitted(size).pool_init_size == resolved.pool_init_size
    assert sent.fitted(size).anchor_size == resolved.anchor_size


def test_numbers_may_come_as_json_has_them(rig):
    table = {"anchor_size": 4.0, "pool_min_size": 6.0, "heatup_reserve_pool": [1.0]}
    config, problems = parse(table)

    assert not problems
    assert config is not None
    assert (config.anchor_size, config.heatup_reserve_pool) == (4, (1,))


@pytest.mark.parametrize("algorithm", ["mipro", "random"])
@pytest.mark.parametrize("size", [1, 7, 300])
def test_a_files_pool_reaches_the_engine_over_the_wire(rig, algorithm, size):
    data = {
        "algorithm": algorithm,
        "task_app_url": "http://localhost:1",
        "policy": {"model": "gpt-4o-mini", "provider": "openai"},
        "mipro": {
            "adaptive_pool": {"level": "HIGH", "heatup_reserve_pool": [900, 901]},
            "online_pool": list(range(size)),
            "bootstrap_train_seeds": [800],
            "test_pool": [801],
        },
    }
    job = resolve_job(PromptLearningConfig.from_mapping(data, env={}))
    struct = ParseDict(algorithm_settings(job), Struct())
    engine = {"mipro": MiproEngines, "random": RandomSearch}[algorithm]

    run = rig(engine, settings=MessageToDict(struct), online=range(size))
    run.start().run(most_asks=20)

    assert minibatches(run)
    assert rows_of(minibatches(run)) <= {*range(size), 900, 901}


def test_other_engines_refuse_a_pool(rig):
    for more in ({"engine": "race"}, {"engine": "tpe", "protocol": "miprov2"}):
        with pytest.raises(StudyInvalid, match="adaptive_pool"):
            rig(MiproEngines, settings={**more, "adaptive_pool": "LOW"})
