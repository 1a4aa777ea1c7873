"""MIPROv2's protocol: trial by trial as DSPy 3.4.1, where scripts/peers_env.sh has installed it."""

from dataclasses import replace
from unittest.mock import ANY

import numpy as np
import pytest

from benchmarks.search_parts import engines, peers, worlds
from benchmarks.search_parts.chapters.parity import play
from burnish_search.algorithms.mipro import Mipro, tpe_engine
from burnish_search.algorithms.mipro_parity import MiproParity
from burnish_search.model import FinishReason, Pool, StudySpec
from burnish_search.problems import ChangeInvalid, StudyInvalid


@pytest.fixture(scope="module")
def runner():
    if not peers.installed():
        pytest.skip("scripts/peers_env.sh was not run")
    with peers.Runner() as running:
        yield running


def world(shape, *, seed, rows=80, continuous=False):
    rng = np.random.default_rng(seed)
    chance = np.clip(
        rng.normal(0.6, 0.1, (shape[0] * shape[1], 1)) + rng.normal(0, 0.2, rows), 0, 1
    )
    drawn = rng.random(chance.shape)
    rewards = chance * drawn if continuous else (drawn < chance).astype(float)
    return worlds.World(name="made up", seed=seed, shape=shape, seen=rewards, held=rewards)


@pytest.mark.parametrize("seed", [1, 9, 77])
@pytest.mark.parametrize("shape", [(3, 6), (6, 12), (8, 1)])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"num_trials": 23}, {"num_trials": 23}),
        ({"auto": "light"}, {"auto": "light"}),
    ],
)
def test_every_trial_is_that_of_dspy(runner, shape, seed, ours, theirs):
    made = world(shape, seed=seed, rows=120, continuous=seed == 77)
    peer = peers.Peer(name="dspy", method="miprov2", settings=theirs)
    recorded = runner.run(peer, made, budget=0)
    found, outcome = play(ours, made)
    assert found == recorded["trials"]
    assert outcome.arm == recorded["log"][-1][1]
    assert outcome.spent == recorded["log"][-1][0]


def test_a_preset_evaluates_in_full_where_rows_are_few(runner):
    made = world((3, 6), seed=4, rows=40)
    peer = peers.Peer(name="dspy", method="miprov2", settings={"auto": "light"})
    found, _ = play({"auto": "light"}, made)
    assert all(each["full"] for each in found)
    assert found == runner.run(peer, made, budget=0)["trials"]


def test_a_run_that_is_killed_anywhere_goes_on_as_it_would_have():
    made = world((3, 6), seed=5)
    engine = engines.Engine(name="parity", build=MiproParity, settings={"num_trials": 12})
    whole = engines.Session(engine, made, budget=2000)
    expected = whole.run()
    for length in range(1, len(whole.log), 7):
        assert whole.restored(length).run() == replace(expected, seconds=ANY)


def test_a_budget_ends_it_before_an_evaluation_that_it_does_not_pay():
    made = world((3, 6), seed=5)
    engine = engines.Engine(name="parity", build=MiproParity, settings={"num_trials": 12})
    session = engines.Session(engine, made, budget=150)
    assert session.run().spent <= 150
    assert session.reason is FinishReason.BUDGET


def test_missing_measurements_are_left_out_of_the_mean():
    made = world((3, 6), seed=6)
    engine = engines.Engine(name="parity", build=MiproParity, settings={"num_trials": 12})
    lossy = engines.Conditions(fault_share=0.3)
    session = engines.Session(engine, made, budget=2000, conditions=lossy)
    session.run()
    first = session.study.history.trials[0]
    measured = session.study.history.rewards(first.candidate.candidate_id, Pool.VALIDATION)
    score = MiproParity(session.study.spec).evaluations(session.study.history)[0][1]
    assert 0 < first.observed_count < len(first.cells)
    assert score == round(100 * sum(measured[: first.observed_count]) / first.observed_count, 2)


def test_a_batch_larger_than_the_pool_is_refused():
    with pytest.raises(StudyInvalid, match="more than the 20 seeds"):
        play({"num_trials": 3}, world((2, 2), seed=1, rows=20))


def test_the_tpe_engine_takes_the_protocol_by_name():
    def built(protocol):
        settings = {"num_trials": 5, "protocol": protocol}
        spec = StudySpec(name="studies/a", algorithm="mipro", stage_ids=("main",))
        rows = tuple(range(40))
        return tpe_engine(replace(spec, settings=settings, online=rows, validation=rows))

    assert isinstance(built("miprov2"), MiproParity)
    assert isinstance(built("burnish"), Mipro)
    with pytest.raises(StudyInvalid, match="`burnish`, `miprov2`"):
        built("miprov3")


def test_a_space_that_has_grown_is_refused(rig, make):
    grown = rig(MiproParity, settings={"num_trials": 4, "batch_size": 5}).start()
    grown.do(grown.ask())
    grown.add([make["instruction"](9)])
    with pytest.raises(ChangeInvalid, match="a space that is fixed"):
        grown.ask()
