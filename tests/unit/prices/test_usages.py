"""Sums of usages: an unknown cost makes the sum unknown, never smaller."""

from burnish.api.types.v1 import rollout_pb2
from burnish.usages import total_usage

U = rollout_pb2.Usage


def test_tokens_calls_and_money_add_up():
    one = U(
        input_tokens=10, output_tokens=2, call_count=1, cost_usd=0.25, possibly_paid_call_count=1,
        cached_input_tokens=4, reasoning_tokens=1,
    )  # fmt: skip
    two = U(input_tokens=5, output_tokens=1, call_count=2, cost_usd=0.5, cache_write_tokens=3)
    total = total_usage([one, two])
    assert total == U(
        input_tokens=15, output_tokens=3, call_count=3, cost_usd=0.75, possibly_paid_call_count=1,
        cached_input_tokens=4, reasoning_tokens=1, cache_write_tokens=3,
    )  # fmt: skip


def test_one_unknown_cost_makes_the_sum_unknown_wherever_it_stands():
    known, unknown = U(cost_usd=1.0), U(call_count=1)
    for usages in ([unknown, known], [known, unknown], [known, unknown, known], [unknown]):
        assert not total_usage(usages).HasField("cost_usd")


def test_nothing_costs_nothing():
    assert total_usage([]) == U(cost_usd=0.0)


def test_one_estimate_makes_the_sum_an_estimate():
    assert total_usage([U(estimated=True), U()]).estimated
