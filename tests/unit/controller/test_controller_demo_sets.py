import random

from hypothesis import given
from hypothesis import strategies as st

from burnish_controller.bootstrap import DemoPlan, SetKind, demo_sets

PASSED = [f"p{n}" for n in range(8)]
LABELLED = [f"l{n}" for n in range(6)]


def plan(bootstrapped: int = 4, labelled: int = 4, sets: int = 5) -> DemoPlan:
    return DemoPlan(max_bootstrapped=bootstrapped, max_labelled=labelled, max_sets=sets)


def made(passed=PASSED, labelled=LABELLED, seed=0, **fields):
    return demo_sets(passed=passed, labelled=labelled, plan=plan(**fields), rng=random.Random(seed))


def test_sets_come_as_none_labelled_bootstrapped_then_shuffled():
    assert [one.kind for one in made()] == [
        SetKind.ZERO_SHOT, SetKind.LABELLED, SetKind.BOOTSTRAPPED,
        SetKind.SHUFFLED, SetKind.SHUFFLED,
    ]  # fmt: skip


def test_the_bootstrapped_set_is_the_first_that_passed_in_pool_order():
    chosen = made()[2]
    assert chosen.demos == tuple(PASSED[:4])


def test_a_bootstrapped_set_is_filled_up_with_labelled_rows():
    chosen = made(passed=PASSED[:1])[2]
    assert chosen.demos[0] == "p0"
    assert len(chosen.demos) == 4
    assert set(chosen.demos[1:]) <= set(LABELLED)


def test_the_labelled_set_never_has_more_than_there_are():
    assert sorted(made(labelled=LABELLED[:2])[1].demos) == LABELLED[:2]


def test_without_demos_there_is_the_empty_set_alone():
    assert [one.demos for one in made(passed=[], labelled=[])] == [()]
    assert [one.demos for one in made(bootstrapped=0, labelled=0)] == [()]


def test_few_distinct_demos_give_few_sets_and_an_end():
    assert len(made(passed=["p0"], labelled=[], sets=50)) == 2


def test_a_row_that_passed_is_not_filled_in_again():
    chosen = made(passed=["l0"], labelled=["l0", "l1"])
    for one in chosen:
        assert len(set(one.demos)) == len(one.demos)


def test_the_same_seed_gives_the_same_sets_and_another_seed_others():
    assert made(seed=1) == made(seed=1)
    assert made(seed=1) != made(seed=2)


@given(
    passed=st.lists(st.integers(0, 20), unique=True),
    labelled=st.lists(st.integers(10, 30), unique=True),
    bootstrapped=st.integers(0, 6),
    rows=st.integers(0, 6),
    sets=st.integers(1, 8),
    seed=st.integers(0, 5),
)
def test_sets_are_distinct_within_their_sizes_and_made_of_what_was_given(
    passed, labelled, bootstrapped, rows, sets, seed
):
    chosen = demo_sets(
        passed=passed,
        labelled=labelled,
        plan=plan(bootstrapped, rows, sets),
        rng=random.Random(seed),
    )
    demos = [one.demos for one in chosen]
    assert 1 <= len(demos) <= sets
    assert demos[0] == ()
    assert len(set(demos)) == len(demos)
    for one in demos:
        assert set(one) <= {*passed, *labelled}
        assert len(set(one)) == len(one) <= max(bootstrapped, rows)
        assert sum(item not in labelled for item in one) <= bootstrapped
