"""Minibatches: without replacement within an epoch, the same for a seed, no row twice."""

from hypothesis import given
from hypothesis import strategies as st

from burnish_search.algorithms.minibatches import Minibatches
from burnish_search.model import Pool, StudySpec


def minibatches(seeds, random_seed=5):
    spec = StudySpec(
        name="studies/a", algorithm="any", stage_ids=("main",), random_seed=random_seed
    )
    return Minibatches(spec, Pool.ONLINE, seeds)


def test_an_epoch_uses_every_seed_once():
    drawn = minibatches(range(100, 120))
    rows = [row for number in range(4) for row in drawn.draw(number, 5, asked=set())]
    assert sorted(seed for _, seed in rows) == list(range(100, 120))


def test_epochs_are_shuffled_anew():
    drawn = minibatches(range(20))
    assert drawn.draw(0, 20, asked=set()) != drawn.draw(1, 20, asked=set())


def test_a_minibatch_depends_on_seed_and_number_alone():
    one, other = minibatches(range(30)), minibatches(range(30))
    for number in (0, 1, 2, 9):
        one.draw(number, 7, asked=set())
    assert one.draw(6, 7, asked=set()) == other.draw(6, 7, asked=set())
    assert one.draw(6, 7, asked=set()) != minibatches(range(30), 6).draw(6, 7, asked=set())


def test_a_row_asked_before_is_replaced_by_the_next_that_was_not():
    drawn = minibatches(range(30))
    plain = drawn.draw(0, 5, asked=set())
    replaced = drawn.draw(0, 5, asked={plain[1]})
    assert len(replaced) == 5
    assert plain[1] not in replaced
    assert replaced[:2] == (plain[0], plain[2])


def test_a_batch_larger_than_the_pool_is_the_pool():
    drawn = minibatches(range(4))
    assert sorted(drawn.draw(3, 50, asked=set())) == [(Pool.ONLINE, seed) for seed in range(4)]


@given(
    size=st.integers(1, 40),
    batch=st.integers(1, 50),
    number=st.integers(0, 60),
    asked=st.sets(st.integers(0, 39)),
)
def test_rows_are_fresh_distinct_and_as_many_as_there_are(size, batch, number, asked):
    drawn = minibatches(range(size))
    before = {(Pool.ONLINE, seed) for seed in asked}
    rows = drawn.draw(number, batch, asked=before)
    assert len(set(rows)) == len(rows) == min(batch, drawn.left(before))
    assert not before & set(rows)
