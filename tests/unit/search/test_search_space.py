"""What may be chosen, and how candidates are named."""

import pytest

from burnish import identity
from burnish_search.model import Component, Kind
from burnish_search.problems import SpaceIncomplete
from burnish_search.space import Space


def component(name, kind=Kind.INSTRUCTION, stage="main", **flags):
    return Component(component_id=name, stage_id=stage, kind=kind, **flags)


def test_the_baseline_is_first_whenever_it_was_added():
    space = Space(["main"])
    space.add([component("ins_b"), component("dem_b", Kind.DEMO_SET)])
    space.add(
        [component("ins_a", baseline=True), component("dem_a", Kind.DEMO_SET, zero_shot=True)]
    )
    assert [options[0] for options in space.options] == ["ins_a", "dem_a"]
    assert space.baseline().choices == ("ins_a", "dem_a")


def test_a_baseline_with_demos_goes_before_zero_shot():
    space = Space(["main"])
    space.add([component("dem_zero", Kind.DEMO_SET, zero_shot=True)])
    space.add([component("ins_a"), component("dem_own", Kind.DEMO_SET, baseline=True)])
    assert space.baseline().choices == ("ins_a", "dem_own")


def test_known_components_change_nothing():
    space = Space(["main"])
    assert space.add([component("ins_a"), component("dem_a", Kind.DEMO_SET)])
    assert not space.add([component("ins_a")])
    assert (space.revision, space.size) == (1, 1)


def test_every_growth_is_a_revision_that_moves_no_choice():
    space = Space(["main"])
    space.add([component("ins_a"), component("dem_a", Kind.DEMO_SET)])
    before = space.baseline()
    space.add([component("ins_b"), component("ins_c")])
    assert (space.revision, space.size) == (2, 3)
    assert space.baseline() == before


def test_candidates_are_named_by_the_hash_of_their_choices():
    space = Space(["one", "two"])
    chosen = space.candidate(["ins_1", "dem_1", "ins_2", "dem_2"])
    assert chosen.candidate_id == identity.candidate_id(
        {"two": ("ins_2", "dem_2"), "one": ("ins_1", "dem_1")}
    )


def test_a_stage_without_options_is_named():
    space = Space(["one", "two"])
    space.add([component("ins_a", stage="one"), component("dem_a", Kind.DEMO_SET, stage="one")])
    with pytest.raises(
        SpaceIncomplete, match="`two` has no instruction, stage `two` has no demo set"
    ):
        space.baseline()


def test_a_candidate_of_unknown_components_is_not_held():
    space = Space(["main"])
    space.add([component("ins_a"), component("dem_a", Kind.DEMO_SET)])
    assert space.holds(space.candidate(["ins_a", "dem_a"]))
    assert not space.holds(space.candidate(["ins_a", "dem_b"]))
