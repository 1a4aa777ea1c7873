"""Small batches for reflective searches: sizes that always fit, and draws that repeat."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.config import resolve_adaptive_batch_config
from burnish_search.algorithms.adaptive.batches import (
    AdaptiveBatches,
    BatchSettings,
    parse,
)
from burnish_search.model import Pool, StudySpec


def batches(train=20, validation=30, seed=1, **sizes):
    spec = StudySpec(
        name="studies/a",
        algorithm="any",
        random_seed=seed,
        stage_ids=("main",),
        online=tuple(range(train)),
        validation=tuple(range(100, 100 + validation)),
    )
    return AdaptiveBatches(spec, BatchSettings(**sizes))


def rewards(*values):
    return {(Pool.ONLINE, seed): value for seed, value in enumerate(values)}


@pytest.mark.parametrize("level", ["LOW", "MODERATE", "HIGH"])
def test_a_level_means_the_same_as_in_a_file(level):
    sent, problems = parse(resolve_adaptive_batch_config(level=level).model_dump(mode="json"))
    alone, _ = parse(level)

    assert not problems
    assert sent == alone is not None


def test_no_level_is_none_and_what_is_unknown_is_told():
    assert parse("NONE") == (None, [])
    assert parse(None) == (None, [])
    _, problems = parse({"reflection_size": 3, "val_subsample_size": 0})
    assert len(problems) == 2


@given(
    train=st.integers(1, 12),
    validation=st.integers(1, 12),
    size=st.integers(1, 20),
    subsample=st.integers(1, 20),
    mode=st.sampled_from(["full", "subsample"]),
)
def test_every_pool_size_from_one_up_gives_batches_that_fit(
    train, validation, size, subsample, mode
):
    made = batches(
        train,
        validation,
        reflection_minibatch_size=size,
        val_subsample_size=subsample,
        val_evaluation_mode=mode,
    )

    for number in range(5):
        rows = made.reflection(number)
        assert len(set(rows)) == len(rows) == min(size, train)
    rows = made.validation({})
    assert len(set(rows)) == len(rows)
    assert len(rows) == (validation if mode == "full" else min(subsample, validation))


def test_reflections_meet_every_row_before_one_comes_again():
    made = batches(train=12, reflection_minibatch_size=3)

    seen = Counter(row for number in range(8) for row in made.reflection(number))

    assert set(seen.values()) == {2}
    assert len(seen) == 12


def test_subsamples_come_to_cover_all_validation_rows():
    made = batches(validation=30, val_subsample_size=10)
    looks: Counter[tuple[Pool, int]] = Counter()

    for _ in range(6):
        looks.update(made.validation(looks))

    assert set(looks.values()) == {2}
    assert len(looks) == 30


def test_a_child_is_kept_for_a_gain_on_the_rows_that_both_have():
    made = batches(min_local_improvement=0.1)

    assert made.keeps(rewards(1.0, 0.5), rewards(0.5, 0.5))
    assert not made.keeps(rewards(0.6, 0.5), rewards(0.5, 0.5))
    assert not made.keeps(rewards(1.0), {})
    assert not batches().keeps(rewards(0.5), rewards(0.5))
    lenient, _ = parse({"min_local_improvement": -0.2})
    assert lenient is not None
    assert batches(min_local_improvement=lenient.min_local_improvement).keeps(
        rewards(0.4), rewards(0.5)
    )


def test_the_same_seed_draws_the_same():
    def drawn(made):
        return [(made.reflection(number), made.validation({})) for number in range(9)]

    assert drawn(batches(seed=4)) == drawn(batches(seed=4))
    assert drawn(batches(seed=4)) != drawn(batches(seed=5))
