"""What the sampler tells of itself: how it splits the trials that it was told."""

import pytest
from optuna.samplers._tpe.sampler import default_gamma

from burnish_search import convert_log
from burnish_search.algorithms.mipro import Mipro
from burnish_search.algorithms.random_search import RandomSearch
from burnish_search.algorithms.tpe import good_count
from burnish_search.model import TrialKind

SETTINGS = {"batch_size": 5, "num_trials": 12, "tpe": {"n_startup_trials": 6}}


def minibatches(found):
    """The works that hold minibatches, in order."""
    return [
        work
        for work in found.history.works
        if work.trials and work.trials[0].kind is TrialKind.MINIBATCH
    ]


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 249, 250, 251, 4_000])
def test_the_split_is_the_one_that_optuna_makes(count):
    assert good_count(count) == default_gamma(count)


def test_the_sampler_tells_its_split_once_the_space_is_covered(rig):
    found = rig(Mipro, settings=SETTINGS).start().run()
    told = [work.sampler for work in minibatches(found)]
    assert told[:6] == [None] * 6
    first, last = told[6], told[-1]
    # Six minibatches, one full evaluation and the baseline.
    assert (first.observation_count, first.good_count, first.bad_count) == (8, 1, 7)
    assert first.gamma == pytest.approx(1 / 8)
    assert last.observation_count == last.good_count + last.bad_count > first.observation_count


def test_trials_without_a_reward_are_not_observations(rig):
    found = rig(Mipro, settings=SETTINGS, reward=lambda candidate, cell: None).start().run()
    last = minibatches(found)[-1].sampler
    assert (last.observation_count, last.good_count, last.bad_count, last.gamma) == (0, 0, 0, 0.0)


def test_only_an_evaluation_by_a_sampler_tells_of_one(rig):
    found = rig(Mipro, settings=SETTINGS).start().run()
    others = [work for work in found.history.works if work not in minibatches(found)]
    assert all(work.sampler is None for work in others)
    plain = rig(RandomSearch, settings={"batch_size": 5, "num_trials": 12}).start().run()
    assert all(work.sampler is None for work in plain.history.works)


def test_the_split_is_on_the_wire_as_it_was_recorded(rig):
    found = rig(Mipro, settings=SETTINGS).start().run()
    work = minibatches(found)[-1]
    sent = convert_log.work(work).evaluation.sampler
    assert sent.observation_count == work.sampler.observation_count
    assert (sent.good_count, sent.bad_count) == (work.sampler.good_count, work.sampler.bad_count)
