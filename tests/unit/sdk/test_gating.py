import json
from typing import Any

import pytest

from burnish.errors import FailedPrecondition, InvalidArgument
from burnish.gating import (
    Measurement,
    baseline_file,
    hold,
    load,
    measurement,
    models_of,
    of_best,
    render,
    save,
)
from burnish.results import outcome
from burnish.testing.fake_story import scripted_result


def measured(right: int, rows: int = 100, prompt: str = "Sort it.") -> Measurement:
    """A measurement whose first rows are right."""
    return Measurement(
        prompt=prompt,
        models="local/local-reader",
        rewards={seed: float(seed < right) for seed in range(rows)},
    )


def test_what_surely_lost_does_not_pass_and_the_rows_that_got_worse_are_named():
    report = hold(measured(60), measured(80), baseline="production")
    assert (report.outcome, report.passed) == ("regression", False)
    assert list(report.lost) == list(range(60, 80))
    assert report.lost[60] == (1.0, 0.0)
    assert not report.gained
    assert report.comparison.difference.mean == pytest.approx(-0.2)
    assert report.probability_worse > 0.95


@pytest.mark.parametrize(
    ("right", "found"), [(80, "no regression"), (79, "no regression"), (95, "better")]
)
def test_what_did_not_surely_lose_passes(right, found):
    report = hold(measured(right), measured(80), baseline="production")
    assert (report.outcome, report.passed) == (found, True)


def test_a_loss_that_is_not_allowed_has_to_be_ruled_out():
    strict = hold(measured(6, 10), measured(7, 10), baseline="b", max_loss=0.05)
    assert (strict.outcome, strict.passed) == ("unproven", False)
    assert hold(measured(800, 1000), measured(800, 1000), baseline="b", max_loss=0.01).passed
    with pytest.raises(InvalidArgument, match="use 0"):
        hold(measured(7), measured(7), baseline="b", max_loss=-0.1)


@pytest.mark.parametrize(
    ("right", "max_loss", "meaning"),
    [
        (60, None, "Not passed: P(worse) is 0.95 or more."),
        (79, 0.001, "Not passed: a loss of more than 0.001 is not ruled out."),
        (79, None, "Passed: P(worse) is below 0.95."),
        (80, 0.1, "Passed: P(worse) is below 0.95, and no loss of more than 0.1."),
        (95, None, "Passed: P(better) is 0.95 or more."),
    ],
)
def test_a_report_says_what_its_outcome_rests_on(right, max_loss, meaning):
    report = hold(measured(right), measured(80), baseline="production", max_loss=max_loss)
    assert report.plain["meaning"] == report.meaning == meaning
    assert report.plain["max_loss"] == max_loss
    assert meaning in render(report)


def test_only_rows_that_both_have_are_compared_and_without_any_nothing_is_said():
    other = Measurement(prompt="", models="", rewards={500: 1.0})
    with pytest.raises(FailedPrecondition) as caught:
        hold(measured(3), other, baseline="production")
    assert caught.value.reason == "NO_SHARED_ROWS"


def with_unscored(count: int) -> Measurement:
    """A measurement some of whose 100 rows could not be scored."""
    every = measured(80).rewards
    return Measurement(
        prompt="Sort it.",
        models="local/local-reader",
        rewards={seed: reward for seed, reward in every.items() if seed >= count},
        unscored=tuple(range(count)),
    )


def test_rows_left_out_are_named_and_too_many_of_them_are_no_measurement():
    report = hold(with_unscored(20), measured(80), baseline="production")
    assert report.passed
    assert report.plain["unscored"] == list(range(20))
    assert "Left out, as they were not scored: 0, 1, 2" in render(report)
    with pytest.raises(FailedPrecondition) as caught:
        hold(with_unscored(21), measured(80), baseline="production")
    assert caught.value.reason == "TOO_FEW_SCORED"


def test_means_are_over_the_rows_that_both_have():
    report = hold(with_unscored(10), measured(60), baseline="production")
    assert report.means == pytest.approx((50 / 90, 70 / 90))
    told: Any = report.plain
    assert told["mean_now"] == report.means[1]
    assert "expected" not in told["comparison"]


def test_a_baseline_is_read_as_it_was_written_and_one_row_stands_on_one_line(tmp_path):
    path = baseline_file("production", tmp_path / "kept")
    now = Measurement(
        prompt="Sort it.\nQuick.", models="a/b", rewards={2: 0.5, 1: 1.0}, unscored=(3,), job="j"
    )
    save(path, now)
    assert load(path) == now
    assert '  "1": 1.0,\n  "2": 0.5\n' in path.read_text()
    assert baseline_file("kept/x.json", tmp_path) == baseline_file("kept/x.json", tmp_path / "y")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 2}',
        '{"format": 1, "prompt": "", "models": "", "rewards": {"1": 7}, "unscored": [], "job": ""}',
        '{"format": 1, "prompt": "", "models": "", "rewards": [1], "unscored": [], "job": ""}',
    ],
)
def test_what_is_no_baseline_is_refused_with_the_way_out(tmp_path, text):
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(InvalidArgument, match="--record"):
        load(path)


def test_a_name_that_nothing_is_kept_under_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(InvalidArgument) as caught:
        load(tmp_path / "nothing.json")
    assert caught.value.reason == "BASELINE_UNKNOWN"


def test_the_report_has_a_table_the_rows_and_a_diff_that_no_prompt_can_break_out_of():
    before = measured(80, prompt="Sort it.")
    report = hold(measured(50, prompt="```\nSort it now."), before, baseline="production")
    text = render(report)
    assert text.startswith("## Gate against `production`: regression")
    assert "| 100 | 0.8000 | 0.5000 | -0.3000 |" in text
    assert "and 10 more" in text
    assert "````diff" in text
    assert "+Sort it now." in text
    plain = json.loads(json.dumps(report.plain))
    assert plain["outcome"] == "regression"
    assert len(plain["lost"]) == 30
    assert plain["lost"][0] == {"seed": 50, "before": 1.0, "now": 0.0}
    assert plain["comparison"]["difference"]["count"] == 100


def test_an_unchanged_prompt_has_no_diff_and_another_model_has_one():
    assert hold(measured(5), measured(5), baseline="b").diff == ""
    other = Measurement(prompt="Sort it.", models="a/b", rewards={1: 1.0})
    assert "+models: a/b" in hold(other, measured(5), baseline="b").diff


def test_a_finished_job_is_held_by_its_best_prompt_on_its_held_out_rows():
    found = of_best(outcome(scripted_result()), job="jobs/pl_1", models="a/b")
    assert found.rewards == {500: 1.0}
    with pytest.raises(FailedPrecondition, match="test pool"):
        of_best(outcome(type(scripted_result())()), job="jobs/pl_1", models="")


def test_rows_that_could_not_be_scored_are_kept_apart():
    found = measurement("p", {1: 1.0, 2: None}, job="jobs/j", models="")
    assert (dict(found.rewards), found.unscored) == ({1: 1.0}, (2,))
    with pytest.raises(FailedPrecondition, match="none of 1 rows"):
        measurement("p", {2: None}, job="jobs/j", models="")


def test_models_are_those_of_the_stages_and_of_the_job():
    stage = {"model": {"provider": "a", "model": "b"}}
    assert models_of({"stages": [stage], "policy_model": {"provider": "c", "model": "d"}}) == (
        "a/b, c/d"
    )
    assert models_of(None) == ""
