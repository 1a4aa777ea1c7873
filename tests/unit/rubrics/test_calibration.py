"""A judge's quality in figures that can be checked by hand, each with its interval."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.calibration import (
    CalibrationInvalid,
    Judged,
    calibrate,
    cohen_kappa,
    kendall,
    mean,
    ranks,
    share,
    spearman,
)


def judged(*pairs: tuple[float, float]) -> list[Judged]:
    return [
        Judged(rollout_id=str(i), label=label, scores=(score,))
        for i, (label, score) in enumerate(pairs)
    ]


def test_kappa_is_agreement_above_chance():
    # 20 and 15 agree, 5 and 10 do not: .7 observed, .5 by chance.
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10
    pairs += [(False, False)] * 15
    found = cohen_kappa(pairs)
    assert found is not None
    assert found.value == pytest.approx(0.4)
    assert found.count == 50
    assert found.lower < 0.4 < found.upper


def test_kappa_is_unknown_when_all_traces_pass():
    assert cohen_kappa([(True, True)] * 5) is None
    assert cohen_kappa([]) is None


def test_ties_share_their_mean_rank():
    assert ranks([10, 20, 20, 30, 20]) == [1, 3, 3, 5, 3]


def test_spearman_with_ties():
    # Ranks 1 2.5 2.5 4 and 1 2 3 4: covariance 4.5, squares 4.5 and 5.
    found = spearman([1, 2, 2, 3], [1, 2, 3, 4])
    assert found is not None
    assert found.value == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_kendall_tau_b_with_ties():
    # Five concordant pairs of six, one tied on the left: 5 / sqrt(5 * 6).
    found = kendall([1, 2, 2, 3], [1, 2, 3, 4])
    assert found is not None
    assert found.value == pytest.approx(5 / math.sqrt(30))
    reverse = kendall([3, 2, 2, 1], [1, 2, 3, 4])
    assert reverse is not None
    assert reverse.value == pytest.approx(-5 / math.sqrt(30))


def test_correlation_of_one_value_is_unknown():
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    assert kendall([1, 2, 3], [2, 2, 2]) is None
    assert spearman([1], [1]) is None


def test_perfect_agreement_over_few_rows_keeps_a_wide_interval():
    rows = judged((0.0, 0.0), (0.2, 0.2), (0.4, 0.4), (0.6, 0.6), (0.8, 0.8), (1.0, 1.0))
    found = calibrate(rows)
    for figure in (found.kappa, found.spearman, found.kendall, found.agreement):
        assert figure is not None
        assert figure.value == 1.0 == figure.upper
        assert figure.lower < 0.9
        assert figure.count == 6


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = random.Random(5)
    inside = 0
    for _ in range(300):
        values = [float(rng.random() < 0.3) for _ in range(40)]
        found = share(values)
        assert found is not None
        inside += found.lower <= 0.3 <= found.upper
    assert 0.91 <= inside / 300 <= 0.99


def test_the_interval_of_a_rank_correlation_holds_the_truth():
    rng = random.Random(6)
    inside = 0
    for _ in range(300):
        left = [rng.gauss(0, 1) for _ in range(50)]
        right = [0.7 * x + math.sqrt(1 - 0.49) * rng.gauss(0, 1) for x in left]
        found = spearman(left, right)
        assert found is not None
        # Spearman's rho of normal pairs with correlation .7.
        inside += found.lower <= 6 / math.pi * math.asin(0.35) <= found.upper
    assert 0.91 <= inside / 300 <= 0.99


def test_flips_are_counted_over_pairs_of_repeats():
    rows = [
        Judged(rollout_id="steady", label=1.0, scores=(0.9, 0.8, 0.7)),
        Judged(rollout_id="shaky", label=1.0, scores=(0.9, 0.1, 0.9)),
        Judged(rollout_id="once", label=1.0, scores=(0.9,)),
    ]
    found = calibrate(rows).flip_rate
    assert found is not None
    assert found.value == pytest.approx((0 + 2 / 3) / 2)
    assert found.count == 2


def test_position_length_bias_and_cost():
    rows = [
        Judged(
            rollout_id=str(i),
            label=0.5,
            scores=(0.5 + i / 100,),
            reordered=(0.3 + i / 100,),
            length=i,
            costs=(0.01,),
        )
        for i in range(10)
    ]
    found = calibrate(rows)
    assert found.position_bias is not None
    assert found.position_bias.value == pytest.approx(-0.2)
    assert found.position_effect is not None
    assert found.position_effect.value == pytest.approx(0.2)
    assert found.length_bias is not None
    assert found.length_bias.value == pytest.approx(1.0)
    assert found.cost_usd is not None
    assert found.cost_usd.value == pytest.approx(0.01)
    assert found.bias is not None
    assert found.bias.value == pytest.approx(0.045)


def test_an_unknown_price_makes_the_cost_unknown():
    row = Judged(rollout_id="a", label=1.0, scores=(1.0, 1.0), costs=(0.1, None))
    assert calibrate([row]).cost_usd is None


def test_what_was_not_measured_is_none():
    found = calibrate([Judged(rollout_id="a", label=1.0, unscored=2)])
    assert found.unscored is not None
    assert found.unscored.value == 1.0
    assert (found.kappa, found.spearman, found.error, found.flip_rate) == (None,) * 4
    assert (found.position_bias, found.length_bias) == (None, None)


def test_every_fault_of_the_rows_is_named():
    rows = [
        Judged(rollout_id="a", label=1.5),
        Judged(rollout_id="b", label=1.0, scores=(float("nan"),)),
        Judged(rollout_id="c", label=1.0, costs=(-1.0,)),
    ]
    with pytest.raises(CalibrationInvalid) as caught:
        calibrate(rows, threshold=0.0)
    for part in ("`threshold` is 0.0", "`a` has 1.5", "`b` has nan", "`c` has a cost"):
        assert part in caught.value.message
    with pytest.raises(CalibrationInvalid, match="no labelled traces"):
        calibrate([])


floats = st.floats(min_value=0, max_value=1)


@given(st.lists(st.tuples(floats, floats), min_size=1, max_size=12))
def test_every_figure_lies_in_its_interval(pairs):
    found = calibrate(judged(*pairs))
    for name in found.__slots__:
        figure = getattr(found, name)
        if name != "threshold" and figure is not None:
            assert figure.lower - 1e-9 <= figure.value <= figure.upper + 1e-9


@given(st.lists(st.tuples(floats, floats), min_size=2, max_size=12))
def test_rank_figures_see_order_alone(pairs):
    left, right = zip(*pairs, strict=True)
    squeezed = [round(value, 2) for value in left]
    for measure in (spearman, kendall):
        plain, moved = measure(squeezed, right), measure([3 * x + 1 for x in squeezed], right)
        assert (plain is None) is (moved is None)
        if plain is not None and moved is not None:
            assert plain.value == pytest.approx(moved.value)


def test_a_mean_of_one_row_says_nothing_of_others():
    found = mean([0.4], low=0, high=1)
    assert found is not None
    assert (found.lower, found.upper) == (0, 1)
