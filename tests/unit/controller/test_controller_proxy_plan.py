"""What a search is told of trials on the cheap model."""

from types import SimpleNamespace
from typing import cast

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.context import JobContext
from burnish_controller.phases.proxy import Plan
from burnish_controller.proxies.fit import Fit
from burnish_controller.proxies.models import model_at
from burnish_controller.proxies.run import Mode
from burnish_controller.store.rollouts import FinishedRollout

FIT = Fit(intercept=0.1, slope=0.5, r2=0.9, residual_variance=0.01)
JOB = cast(JobContext, SimpleNamespace(rollout_id=lambda cell: f"{cell.seed}/{cell.fidelity}"))


def trial(*seeds):
    cells = [
        types_v1.Cell(candidate_id="c", pool=types_v1.POOL_ONLINE, seed=seed) for seed in seeds
    ]
    return search_v1.Trial(cells=cells, kind=search_v1.TRIAL_KIND_MINIBATCH)


def finished(seed, reward):
    cell = types_v1.Cell(candidate_id="c", pool=types_v1.POOL_ONLINE, seed=seed, fidelity=1)
    result = types_v1.RolloutResult(rollout_id=f"{seed}/1", cell=cell)
    if reward is None:
        result.failure.reason = "MODEL_FAILED"
    return FinishedRollout(
        job_id="job1",
        phase="proxy",
        attempt=1,
        result=result,
        reward=None if reward is None else types_v1.Reward(fused=reward),
        cost_usd=0.01,
    )


def plan(mode, *seeds):
    return Plan(trials=[trial(*seeds)], modes=[mode], fit=FIT)


@pytest.mark.parametrize(
    ("mode", "fidelities"), [(Mode.HIGH, [0, 0]), (Mode.LOW, [1, 1]), (Mode.BOTH, [0, 0, 1, 1])]
)
def test_each_mode_runs_its_cells(mode, fidelities):
    assert [cell.fidelity for cell in plan(mode, 1, 2).cells()] == fidelities


def test_a_cheap_rollout_that_failed_is_a_missing_measurement_and_one_not_begun_is_not_told():
    by_id = {f"{seed}/1": finished(seed, reward) for seed, reward in ((1, 1.0), (2, None))}

    told = plan(Mode.LOW, 1, 2, 3).predictions(JOB, by_id)

    assert [one.cell.seed for one in told] == [1, 2]
    assert told[0].reward == pytest.approx(0.6)
    assert told[1].failure.reason == "MODEL_FAILED"
    assert all(one.predicted and one.cell.fidelity == 0 for one in told)


def test_nothing_is_predicted_of_what_the_dear_model_ran():
    by_id = {"1/1": finished(1, 1.0)}

    assert plan(Mode.BOTH, 1).predictions(JOB, by_id) == []
    assert plan(Mode.HIGH, 1).predictions(JOB, by_id) == []


def test_a_trials_predicted_mean_has_the_interval_of_what_is_left_unexplained():
    low = plan(Mode.LOW, 1, 2)
    rollouts = [finished(1, 1.0), finished(2, 0.0)]

    found = low.predicted(low.trials[0], rollouts)

    assert found is not None
    assert found.mean == pytest.approx(0.35)
    assert (found.lower, found.upper) == (pytest.approx(0.154), pytest.approx(0.546))
    assert found.row_count == 2
    assert low.predicted(low.trials[0], [finished(1, None)]) is None


def test_the_cheap_model_takes_what_it_does_not_say_from_the_stage():
    dear = types_v1.ModelSpec(
        provider="openai_compatible",
        model="dear",
        temperature=0.3,
        max_output_tokens=50,
        base_url="http://localhost:1/v1",
    )
    other = types_v1.ModelSpec(provider="openai", model="else")
    spec = job_v1.JobSpec(
        proxy=job_v1.ProxySpec(
            high_model=types_v1.ModelSpec(provider="openai_compatible", model="dear"),
            low_model=types_v1.ModelSpec(provider="openai_compatible", model="cheap"),
        )
    )

    low = model_at(spec, dear, 1)

    assert (low.model, low.temperature, low.max_output_tokens) == ("cheap", 0.3, 50)
    assert low.base_url == "http://localhost:1/v1"
    assert model_at(spec, dear, 0) is dear
    assert model_at(spec, other, 1) is other
