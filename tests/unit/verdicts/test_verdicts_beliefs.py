"""What all rows together leave one to believe: shrunken, calibrated, vetoed by those held out."""

import math
import random
from collections.abc import Hashable

from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.verdicts import Rule, SearchRows, believed, compare, sentence

ROWS, HELD_OUT, CANDIDATES = 80, 60, 16


class World:
    """Candidates on rows of their own ease; a search picks the best on some rows."""

    def __init__(self, seed: int, *, spread: float) -> None:
        rng = random.Random(seed)
        worth = {f"c{n}": rng.gauss(0.6, spread) for n in range(CANDIDATES)}
        seen: dict[str, dict[int, float]] = {}
        held: dict[str, dict[int, float]] = {}
        ease = [rng.gauss(0, 0.25) for _ in range(ROWS + HELD_OUT)]
        for name, mean in worth.items():
            rewards = [float(rng.random() < mean + easy) for easy in ease]
            number = ROWS if name == "c0" else rng.randint(10, ROWS)
            seen[name] = {row: rewards[row] for row in rng.sample(range(ROWS), number)}
            held[name] = dict(enumerate(rewards[ROWS:]))
        self.worth, self.seen, self.held = worth, seen, held
        self.best = max(seen, key=lambda name: sum(seen[name].values()) / len(seen[name]))

    @property
    def gain(self) -> float:
        return self.worth[self.best] - self.worth["c0"]

    def compared(self, **rule):
        search = SearchRows(rewards=self.seen, challenger=self.best, baseline="c0")
        found = compare(self.held[self.best], self.held["c0"], rule=Rule(**rule), search=search)
        assert found is not None
        return found


def worlds(count: int, spread: float) -> list[World]:
    made = (World(seed, spread=spread) for seed in range(2 * count))
    return [world for world in made if world.best != "c0"][:count]


def test_of_prompts_that_are_no_better_hardly_any_are_promoted():
    promoted = sum(world.compared().promoted for world in worlds(80, 0.0))
    assert promoted <= 4


def test_what_the_search_saw_makes_real_gains_easier_to_show():
    better = [world for world in worlds(60, 0.1) if world.gain > 0.05]
    with_search = [world.compared() for world in better]
    alone = sum(found.held_out_probability >= 0.95 for found in with_search)
    assert sum(found.promoted for found in with_search) > 1.2 * alone
    assert all(found.search_rewards > 0 for found in with_search)


def test_probabilities_are_not_overstated_and_tell_gains_from_losses():
    told = [
        (world.compared().probability, world.gain > 0)
        for spread in (0.01, 0.03, 0.1)
        for world in worlds(60, spread)
    ]
    shares = []
    for low, high in ((0.0, 0.4), (0.4, 0.8), (0.8, 1.0)):
        inside = [(chance, true) for chance, true in told if low <= chance < high]
        said = sum(chance for chance, _ in inside) / len(inside)
        shares.append(sum(true for _, true in inside) / len(inside))
        assert shares[-1] > said - 2 * 0.5 / math.sqrt(len(inside))
    assert shares == sorted(shares)
    assert shares[-1] - shares[0] > 0.4


def test_the_gain_that_is_believed_is_not_that_of_the_luckiest():
    errors, seen = [], []
    for world in worlds(60, 0.03):
        found = world.compared()
        assert found.expected is not None
        assert found.expected.lower <= found.expected.mean <= found.expected.upper
        errors.append(found.expected.mean - world.gain)
        mine, other = world.seen[world.best], world.seen["c0"]
        shared = mine.keys() & other.keys()
        seen.append(sum(mine[row] - other[row] for row in shared) / len(shared) - world.gain)
    assert sum(seen) / len(seen) > 0.05
    assert abs(sum(errors) / len(errors)) < 0.025


def test_held_out_rows_that_speak_against_it_cannot_be_outvoted():
    seen = {"base": dict.fromkeys(range(60), 0.0), "new": dict.fromkeys(range(60), 1.0)}
    held = dict(enumerate([0.0] * 6 + [1.0] * 14)), dict(enumerate([1.0] * 20))
    search = SearchRows(rewards=seen, challenger="new", baseline="base")
    found = compare(*held, search=search)
    assert found is not None
    assert found.held_out_probability < found.probability == 0.5
    assert not found.promoted


def test_held_out_rows_decide_alone_when_the_search_is_not_to_count():
    world = worlds(1, 0.1)[0]
    alone = compare(world.held[world.best], world.held["c0"])
    assert world.compared(search_evidence=False) == alone
    few = SearchRows(rewards={world.best: {1: 1.0}}, challenger=world.best, baseline="c0")
    assert compare(world.held[world.best], world.held["c0"], search=few) == alone
    assert alone is not None
    assert (alone.expected, alone.search_rewards) == (None, 0)
    assert alone.probability == alone.held_out_probability


def test_a_smaller_prior_is_more_sceptical():
    gaining = [world for world in worlds(30, 0.05) if world.compared().probability > 0.7]
    sums = [
        sum(world.compared(prior_deviation=prior).probability for world in gaining)
        for prior in (0.01, 0.03, 0.1)
    ]
    assert sums == sorted(sums)


def test_more_candidates_than_can_be_reckoned_with_are_sampled():
    rng = random.Random(5)
    rewards: dict[str, dict[Hashable, float]] = {
        f"c{n:03}": {row: float(rng.random() < 0.5) for row in range(12)} for n in range(450)
    }
    found = believed(rewards, "c449", baseline="c000", prior_deviation=0.1)
    assert found is not None
    assert 0.05 < found.probability < 0.95


def test_who_was_never_scored_is_not_judged():
    assert believed({"a": {1: 1.0}, "b": {}}, "a", baseline="b", prior_deviation=0.1) is None
    assert believed({"a": {1: 1.0}}, "a", baseline="a", prior_deviation=0.1) is None


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "d"]),
        st.dictionaries(
            st.integers(0, 8),
            st.sampled_from([0.0, 1.0, 0.3]) | st.floats(0, 1),
            min_size=1,
        ),
        min_size=2,
    )
)
def test_beliefs_are_sane_whatever_was_scored(rewards):
    mine, other = sorted(rewards)[:2]
    there = believed(rewards, mine, baseline=other, prior_deviation=0.1)
    back = believed(rewards, other, baseline=mine, prior_deviation=0.1)
    assert there is not None
    assert back is not None
    for found in (there, back):
        assert 0 <= found.probability <= 1
        assert found.error >= 0
        assert -0.5 < found.level < 1.5
        assert -1 < found.gain < 1
    assert there.probability + back.probability <= 1.5


def test_the_sentence_names_the_search_only_where_it_decided():
    found = [world.compared() for world in worlds(60, 0.1)]
    by_search = next(one for one in found if one.promoted and one.decided_by_search)
    assert by_search.expected is not None
    said = sentence(by_search, rule=Rule(), kept_baseline=False)
    assert f"{by_search.difference.mean:+.3f} on {HELD_OUT} held-out rows" in said
    gain = by_search.expected.mean
    assert f"with the search's {by_search.search_rewards} rewards {gain:+.3f}" in said
    clear = next(one for one in found if one.held_out_probability > 0.99)
    assert "the search's" not in sentence(clear, rule=Rule(), kept_baseline=False)


def test_a_baseline_that_the_search_never_ran_is_known_by_the_held_out_rows():
    world = worlds(1, 0.1)[0]
    del world.seen["c0"]
    found = world.compared()
    assert found.expected is not None
    assert found.probability != found.held_out_probability


def test_a_prompt_that_gains_nothing_on_held_out_rows_is_not_called_better():
    seen = {"base": dict.fromkeys(range(60), 0.0), "new": dict.fromkeys(range(60), 1.0)}
    held = dict(enumerate([1.0, 0.0] * 20)), dict(enumerate([0.0, 1.0] * 20))
    found = compare(*held, search=SearchRows(rewards=seen, challenger="new", baseline="base"))
    assert found is not None
    assert found.difference.mean == 0
    assert found.probability <= 0.5
