"""Components that are retired: nothing looks at them again, and what was measured of them stays."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish_search.algorithms.mipro import Mipro
from burnish_search.algorithms.random_search import RandomSearch
from burnish_search.changes import ComponentsRetired
from burnish_search.model import FinishPlan, FinishReason, TrialKind

BOTH = pytest.mark.parametrize("algorithm", [Mipro, RandomSearch])
SETTINGS = {"batch_size": 5, "num_trials": 24, "top_k": 1}


def retire(found, *ids):
    found.study.retire(found.study.revision + 1, list(ids))
    found.log.append(ComponentsRetired(component_ids=tuple(ids)))


def minibatches(found, first):
    trials = found.history.trials[first:]
    return [one.candidate for one in trials if one.kind is TrialKind.MINIBATCH]


@BOTH
def test_no_minibatch_looks_at_a_retired_component(rig, algorithm):
    found = rig(algorithm, settings=SETTINGS).start().run(most_asks=8)
    before = len(found.history.trials)
    retire(found, "ins_main_1", "dem_main_2")
    found.run()
    later = minibatches(found, before)
    assert len(later) > 5
    assert {one.choices[0] for one in later} == {"ins_main_0", "ins_main_2", "ins_main_3"}
    assert {one.choices[1] for one in later} == {"dem_main_0", "dem_main_1"}


@BOTH
def test_what_was_measured_of_a_retired_component_may_still_win(rig, algorithm):
    found = rig(
        algorithm,
        settings=SETTINGS,
        reward=lambda candidate, cell: float(candidate.choices[0] == "ins_main_1"),
    )
    found.start().run(most_asks=10)
    retire(found, "ins_main_1")
    found.run()
    best = found.study.rank(found.study.revision, 1)[0]
    assert best.candidate.choices[0] == "ins_main_1"


def test_the_baseline_and_what_is_unknown_are_not_retired(rig):
    found = rig(RandomSearch, settings=SETTINGS).start()
    retire(found, "ins_main_0", "dem_main_0", "ins_other_9")
    assert found.history.space.offers(found.history.space.baseline())
    assert found.history.space.size == 12


def test_a_space_of_retired_components_is_exhausted(rig):
    found = rig(RandomSearch, settings=SETTINGS, online=range(10)).start(demo_sets=1)
    retire(found, *(f"ins_main_{place}" for place in (1, 2, 3)))
    found.run()
    assert found.reason is FinishReason.SPACE_EXHAUSTED


@settings(deadline=None, max_examples=25)
@given(cut=st.integers(0, 40), retired=st.sets(st.integers(1, 3), max_size=3))
def test_a_study_restored_from_its_log_goes_on_the_same(rig, cut, retired):
    def begun():
        found = rig(Mipro, settings=SETTINGS).start()
        found.run(most_asks=6)
        retire(found, *sorted(f"ins_main_{place}" for place in retired))
        return found

    whole, broken = begun().run(), begun()
    for _ in range(cut):
        work = broken.ask()
        if isinstance(work.plan, FinishPlan):
            break
        broken.do(work)
    if broken.reason is None:
        broken.restored().run()
    assert broken.plans() == whole.plans()
