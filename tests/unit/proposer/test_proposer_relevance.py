"""Which texts of a reference corpus are shown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish_proposer.blocks import json_line, tokens
from burnish_proposer.brief import Brief, Effort, OutputTier, Reference
from burnish_proposer.evidence import reference_lines
from burnish_proposer.relevance import choose, passages

PARCELS = [f"The parcel number {n} is late and the courier was not seen" for n in range(20)]
OTHERS = [
    "Gardens need water in summer",
    "Refunds of a parcel take five days",
    "The moon is far away from here",
]


def test_a_corpus_that_fits_is_shown_whole_in_its_order():
    texts = PARCELS + OTHERS
    assert choose(texts, query="parcel", costs=[1] * 23, budget=23) == list(range(23))


def test_what_is_to_the_point_comes_before_what_is_not():
    texts = [OTHERS[2], OTHERS[0], OTHERS[1], "Weather is nice", "Stars are many"]
    assert choose(texts, query="when is my refund of the parcel", costs=[1] * 5, budget=1) == [2]


def test_texts_that_are_all_alike_leave_room_for_others():
    texts = PARCELS + OTHERS[:2]
    chosen = choose(texts, query="late parcel refunds", costs=[1] * len(texts), budget=3)
    assert 21 in chosen
    assert sum(place < 20 for place in chosen) <= 2


def test_a_text_that_is_too_dear_is_passed_over():
    assert choose(["refund a", "refund b"], query="refund", costs=[9, 2], budget=3) == [1]


@settings(deadline=None)
@given(
    texts=st.lists(st.text(alphabet="abc d", max_size=30), max_size=30),
    budget=st.integers(0, 60),
    data=st.data(),
)
def test_the_budget_is_kept_and_the_choice_repeats(texts, budget, data):
    costs = data.draw(st.lists(st.integers(1, 9), min_size=len(texts), max_size=len(texts)))
    chosen = choose(texts, query="a b", costs=costs, budget=budget)
    assert sum(costs[place] for place in chosen) <= budget
    assert chosen == sorted(set(chosen))
    assert chosen == choose(texts, query="a b", costs=costs, budget=budget)
    rest = [cost for place, cost in enumerate(costs) if place not in chosen]
    left = budget - sum(costs[place] for place in chosen)
    assert all(cost > left for cost in rest)


@settings(deadline=None)
@given(st.text(alphabet="ab c\n", max_size=6_000))
def test_passages_hold_every_word_of_a_text_in_order(text):
    found = passages(text)
    assert (
        " ".join(found).split() == text.split()
        or "".join(found).replace(" ", "").split() == "".join(text.split(" ")).split()
    )
    assert all(0 < len(one) <= 2_400 for one in found)


@pytest.mark.parametrize("effort_tokens", [0, 500, 5_000, 50_000])
def test_the_reference_corpus_never_passes_its_limit(effort_tokens):
    manual = "\n\n".join(
        f"Chapter {n}. Überweisungen dauern {n} Tage. " + f"word{n} " * 60 for n in range(2_000)
    )
    brief = Brief(
        stage_id="s",
        baseline="How long do transfers take?",
        count=1,
        random_seed=1,
        effort=Effort.HIGH,
        output_tier=OutputTier.FAST,
        references=(Reference(text=manual, source="manual"),),
    )
    lines = reference_lines(brief, max_tokens=effort_tokens)
    size = sum(tokens(json_line(line)) for line in lines)
    assert size <= effort_tokens
    assert size > 0.8 * effort_tokens - 10
