"""Which prompts are worth their price, and which one a rule takes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.tradeoffs import COST_USD, PROMPT_LENGTH, Offer, Rule, Standing, choose, standings

FRONT, DOMINATED, UNKNOWN = Standing.FRONT, Standing.DOMINATED, Standing.UNKNOWN


def offer(reward, cost, deviation=0.0):
    return Offer(reward=reward, deviation=deviation, cost=cost)


def test_an_offer_that_earns_less_for_more_is_dominated():
    offers = [offer(0.8, 3.0), offer(0.7, 1.0), offer(0.6, 2.0), offer(0.8, 4.0)]
    assert standings(offers) == [FRONT, FRONT, DOMINATED, DOMINATED]


def test_equal_offers_stand_alike():
    assert standings([offer(0.8, 1.0), offer(0.8, 1.0)]) == [FRONT, FRONT]


def test_an_unknown_cost_neither_dominates_nor_is_dominated():
    offers = [offer(0.9, None), offer(0.8, 1.0), offer(0.1, None)]
    assert standings(offers) == [UNKNOWN, FRONT, UNKNOWN]


some = st.builds(
    offer,
    st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
    st.none() | st.sampled_from([0.0, 1.0, 2.0, 3.0]),
)


@given(st.lists(some, max_size=12))
def test_standings_are_those_of_comparing_every_pair(offers):
    def dominates(one, other):
        if one.cost is None or other.cost is None:
            return False
        at_least = one.reward >= other.reward and one.cost <= other.cost
        return at_least and (one.reward > other.reward or one.cost < other.cost)

    expected = [
        UNKNOWN
        if one.cost is None
        else DOMINATED
        if any(dominates(other, one) for other in offers)
        else FRONT
        for one in offers
    ]
    assert standings(offers) == expected


def test_the_cheapest_of_the_nearly_best_is_taken():
    offers = [offer(0.80, 9.0), offer(0.795, 2.0), offer(0.77, 1.0)]
    choice = choose(offers, Rule(objective=COST_USD, tolerance=0.01))
    assert choice.place == 1
    assert "the lowest `cost_usd` within 0.01 of the best reward" in choice.why


def test_a_reward_that_is_not_sure_to_be_near_is_not_near():
    rule = Rule(objective=COST_USD, tolerance=0.02, probability=0.9)
    assert choose([offer(0.8, 9.0), offer(0.8, 1.0, 0.05)], rule).place == 0
    assert choose([offer(0.8, 9.0), offer(0.8, 1.0, 0.01)], rule).place == 1


def test_a_weight_says_what_a_unit_of_cost_is_worth():
    offers = [offer(0.80, 3.0), offer(0.70, 1.0)]
    assert choose(offers, Rule(objective=COST_USD, weight=0.01)).place == 0
    assert choose(offers, Rule(objective=COST_USD, weight=0.10)).place == 1


def test_a_limit_leaves_out_what_costs_more():
    rule = Rule(objective=PROMPT_LENGTH, tolerance=0.0, limit=500)
    choice = choose([offer(0.9, 900.0), offer(0.7, 400.0), offer(0.6, 100.0)], rule)
    assert choice.place == 1
    assert "within 500 characters" in choice.why


@pytest.mark.parametrize(
    ("offers", "rule", "why"),
    [
        ([offer(0.5, None), offer(0.6, None)], Rule(objective=COST_USD), "no `cost_usd` is known"),
        (
            [offer(0.5, 9.0), offer(0.6, 8.0)],
            Rule(objective=COST_USD, limit=1.0),
            "none is known to cost at most 1",
        ),
        ([offer(0.5, 1.0), offer(0.6, None)], Rule(objective=COST_USD), "its own `cost_usd`"),
    ],
)
def test_without_costs_to_go_by_the_best_is_taken_and_it_is_said(offers, rule, why):
    choice = choose(offers, rule)
    assert choice.place == 1
    assert why in choice.why


def test_an_unknown_cost_is_never_the_cheapest():
    offers = [offer(0.8, 5.0), offer(0.8, None), offer(0.799, 4.0)]
    assert choose(offers, Rule(objective=COST_USD)).place == 2
    assert choose(offers, Rule(objective=COST_USD, limit=4.5)).place == 2
    assert choose(offers, Rule(objective=COST_USD, weight=1e-6)).place == 0


@given(st.lists(some, min_size=1, max_size=12), st.sampled_from([0.0, 0.1, 0.5]))
def test_what_is_chosen_is_never_dominated(offers, tolerance):
    choice = choose(offers, Rule(objective=COST_USD, tolerance=tolerance))
    assert standings(offers)[choice.place] is not DOMINATED
    assert not math.isnan(offers[choice.place].reward)
