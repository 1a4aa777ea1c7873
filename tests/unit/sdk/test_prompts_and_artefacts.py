"""Prompts as people use them, and the files that a job leaves."""

import json

import pytest

from burnish.api.job.v1 import job_event_pb2, job_result_pb2, job_service_pb2, job_spec_pb2
from burnish.artefacts import write_artefacts
from burnish.cli.train import summary
from burnish.errors import InvalidArgument
from burnish.prompts import Prompt, PromptDemo, StagePrompt, WildcardUnbound
from burnish.report import render_report
from burnish.results import outcome, snapshot
from burnish.testing.fake_story import BASELINE_TEXT, WINNER_TEXT, scripted_result

OUTCOME = outcome(scripted_result())
SNAPSHOT = snapshot(
    job_service_pb2.Job(
        name="jobs/pl_1",
        state=job_event_pb2.JOB_STATE_SUCCEEDED,
        spec=job_spec_pb2.JobSpec(algorithm="mipro"),
        warnings=["small"],
    )
)


def winner() -> Prompt:
    assert OUTCOME.best is not None
    return OUTCOME.best.prompt


def test_messages_hold_instruction_demos_and_the_row_in_the_order_they_are_sent():
    assert winner().messages(query="lost card") == [
        {"role": "system", "content": WINNER_TEXT},
        {"role": "user", "content": "Query: When will my card arrive?"},
        {"role": "assistant", "content": "card_arrival"},
        {"role": "user", "content": "Intents: a, b\nQuery: lost card"},
    ]


def test_a_missing_value_is_named():
    with pytest.raises(WildcardUnbound, match="wildcard `query` has no value"):
        winner().messages()


def test_an_optional_wildcard_may_be_left_out_and_the_instruction_is_rendered_when_it_has_some():
    stage = StagePrompt(
        stage_id="main",
        instruction="Be {tone}.",
        pattern=(("system", "Be {tone}."), ("user", "{q} {hint}")),
        optional_wildcards=frozenset({"hint"}),
        renders_instruction=True,
    )
    assert stage.messages({"tone": "kind", "q": "hi"}) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hi "},
    ]


def test_a_demo_that_answers_by_tool_call_has_its_argument_for_a_label():
    call = {"function": {"name": "classify", "arguments": json.dumps({"intent": "age_limit"})}}
    demo = PromptDemo(
        bindings={"q": "x"}, messages=[{"role": "assistant", "content": None, "tool_calls": [call]}]
    )
    assert demo.label == "age_limit"


@pytest.mark.parametrize("arguments", ["age_limit", "[" * 100_000])
def test_arguments_that_are_no_json_are_the_label_themselves(arguments):
    call = {"function": {"name": "classify", "arguments": arguments}}
    demo = PromptDemo(
        bindings={"q": "x"}, messages=[{"role": "assistant", "content": None, "tool_calls": [call]}]
    )
    assert demo.label == arguments


def test_a_diff_shows_what_the_winner_adds():
    assert OUTCOME.baseline is not None
    diff = winner().diff(OUTCOME.baseline.prompt)
    assert f"-{BASELINE_TEXT}" in diff
    assert "+- card_arrival: where is my card" in diff
    assert winner().diff(winner()) == ""


def test_a_program_of_several_stages_needs_the_stages_name():
    stages = tuple(StagePrompt(stage_id=name, instruction=name) for name in ("draft", "label"))
    prompt = Prompt(candidate_id="c", stages=stages)
    assert prompt.text == "[draft]\ndraft\n\n[label]\nlabel"
    assert prompt.messages("label") == [{"role": "system", "content": "label"}]
    with pytest.raises(InvalidArgument, match="name one of `draft`, `label`"):
        prompt.messages()


def test_the_winner_file_has_the_shape_that_scripts_read(tmp_path):
    written = write_artefacts(tmp_path, SNAPSHOT, OUTCOME)
    best = json.loads(written["best_prompt"].read_text())
    assert best["instruction"] == {"role": "system", "content": WINNER_TEXT}
    assert best["content"] == WINNER_TEXT
    assert best["demonstrations"] == [
        {"query": "When will my card arrive?", "label": "card_arrival"}
    ]
    assert best["stages"][0]["stage_id"] == "main"
    demos = json.loads(written["selected_demos"].read_text())
    assert demos[0]["messages"] == [{"role": "assistant", "content": "card_arrival"}]
    history = json.loads(written["score_history"].read_text())
    assert [trial["score"] for trial in history["trials"]] == [0.45, 0.65]
    metadata = json.loads(written["job_metadata"].read_text())
    assert (metadata["job_id"], metadata["best_score"], metadata["best_reward"]) == (
        "pl_1",
        0.65,
        0.65,
    )
    assert (tmp_path / "mipro_results_pl_1.txt").read_text() == written["report"].read_text()


def test_what_the_reward_consists_of_is_in_the_files_and_the_closing_lines(tmp_path):
    result = scripted_result()
    result.verifier_graph = "verifierGraphs/g/versions/2"
    result.reward_weights.environment = result.reward_weights.outcome = 0.5
    result.simulated_count = 7
    part = result.best.parts["outcome"]
    part.mean, part.row_count = 0.25, 4
    result.candidates[0].parts["outcome"].CopyFrom(part)
    fused = outcome(result)
    written = write_artefacts(tmp_path, SNAPSHOT, fused)
    metadata = json.loads(written["job_metadata"].read_text())
    assert metadata["verifier_graph"] == "verifierGraphs/g/versions/2"
    assert metadata["reward_weights"] == {"environment": 0.5, "outcome": 0.5}
    assert metadata["simulated_count"] == 7
    history = json.loads(written["score_history"].read_text())
    assert history["candidates"][0]["parts"]["outcome"]["mean"] == 0.25
    assert "outcome x0.5" in written["report"].read_text()
    assert any("simulated judge" in line for line in summary(SNAPSHOT, fused))
    assert not any("simulated judge" in line for line in summary(SNAPSHOT, OUTCOME))


def test_a_job_without_a_winner_leaves_what_is_known_and_no_prompt(tmp_path):
    empty = outcome(type(scripted_result())())
    written = write_artefacts(tmp_path, SNAPSHOT, empty)
    assert "best_prompt" not in written
    assert json.loads(written["job_metadata"].read_text())["best_score"] is None


def test_the_report_compares_baseline_and_winner_on_the_same_rows_with_interval_and_verdict():
    report = render_report(SNAPSHOT, OUTCOME)
    assert "| baseline | 0.4400 | [0.3400, 0.5400] (95%) | 100 |" in report
    assert "| winner | 0.6400 | [0.5400, 0.7400] (95%) | 100 |" in report
    assert "| difference (paired) | +0.2000 | [+0.1000, +0.3000] (95%) | 100 |" in report
    assert "**The prompt got better: +0.20 on 100 held-out rows.**" in report
    assert "| task | 40 | 0 | 900 | 100 | 0.0125 |" in report
    assert "| proposer | 2 | 0 | 300 | 80 | unknown |" in report
    assert WINNER_TEXT in report
    assert "- small" in report
    assert "local-proposer, mined from 70 rows" in report


def unpromoted():
    """A result whose challenger was tested and not promoted."""
    result = scripted_result()
    result.held_out.verdict = job_result_pb2.VERDICT_CANNOT_TELL
    result.held_out.challenger_candidate_id = result.best.candidate.candidate_id
    result.held_out.method = "exact_mcnemar"
    result.held_out.p_value, result.held_out.probability = 0.2, 0.85
    result.held_out.min_probability, result.held_out.detectable_gain = 0.95, 0.12
    result.held_out.gained_row_count, result.held_out.lost_row_count = 12, 6
    result.held_out.raw.mean, result.held_out.raw.row_count = 0.7, 40
    result.held_out.corrected.mean, result.held_out.corrected.row_count = 0.62, 40
    result.held_out.corrected_by = "shrinkage"
    result.held_out.no_gain_causes.add(cause="NO_HEADROOM", message="nothing differs")
    result.best.CopyFrom(result.baseline)
    return result


def test_a_challenger_that_is_not_promoted_is_reported_as_such_and_why(tmp_path):
    found = outcome(unpromoted())
    report = render_report(SNAPSHOT, found)
    assert "| challenger | 0.6400 |" in report
    assert "Verdict: **cannot tell at this n**. P(improve) is 0.850" in report
    assert "better on 12, worse on 6 (p = 0.2, exact mcnemar)" in report
    assert "| less the luck of being the best of many | 0.6200 |" in report
    assert "- `NO_HEADROOM`: nothing differs" in report
    result = unpromoted()
    result.held_out.corrected_by = "both_models"
    report = render_report(SNAPSHOT, outcome(result))
    assert "on other rows, by the search's model and the verdict's | 0.6200 |" in report
    lines = summary(SNAPSHOT, found)
    assert "Why no gain: nothing differs" in lines
    assert any(line.startswith("Challenger on held-out rows: 0.6400") for line in lines)
    written = write_artefacts(tmp_path, SNAPSHOT, found)
    held_out = json.loads(written["job_metadata"].read_text())["held_out"]
    assert held_out["verdict"] == "cannot tell at this n"
    assert held_out["causes"] == {"NO_HEADROOM": "nothing differs"}
    assert json.loads(written["best_prompt"].read_text())["is_baseline"]


def test_a_report_tells_what_held_out_rows_alone_say_from_what_all_rows_do():
    result = unpromoted()
    assert "By the held-out rows alone" not in render_report(SNAPSHOT, outcome(result))
    result.held_out.held_out_probability, result.held_out.search_reward_count = 0.61, 900
    gain = result.held_out.expected_gain
    gain.mean, gain.lower, gain.upper, gain.confidence = 0.03, -0.01, 0.07, 0.95
    report = render_report(SNAPSHOT, outcome(result))
    assert "By the held-out rows alone P(improve) is 0.610; 900 rewards of the search" in report
    assert "believed to be +0.0300 [-0.0100, +0.0700] (95%)" in report


def test_a_report_without_held_out_rows_says_so():
    result = scripted_result()
    result.best.ClearField("test")
    told = render_report(SNAPSHOT, outcome(result))
    assert "None of 200 rollouts of the test pool could be scored" in told
    assert "No test pool was run" not in told
    del result.rollouts_by_phase["test"]
    assert "No test pool was run" in render_report(SNAPSHOT, outcome(result))


def test_a_prompt_with_a_fence_in_it_cannot_end_the_fence_of_the_report():
    result = scripted_result()
    result.components[1].instruction.text = "```\nanswer\n```"
    report = render_report(SNAPSHOT, outcome(result))
    assert "````text" in report


def test_the_front_of_reward_and_cost_is_in_the_files_and_the_report(tmp_path):
    result = scripted_result()
    result.tradeoff.choice = "the lowest `prompt_length` within 0.01 of the best reward"
    result.tradeoff.unknown_count = 1
    result.tradeoff.candidate_count = 3
    written = write_artefacts(tmp_path, SNAPSHOT, outcome(result))
    history = json.loads(written["score_history"].read_text())
    assert [one["candidate_id"] for one in history["front"]["points"]] == ["cand_1", "cand_0"]
    assert history["candidates"][0]["objectives"]["prompt_length"]["mean"] == 150
    assert history["candidates"][0]["standing"] == "front"
    report = written["report"].read_text()
    assert "## Reward against prompt_length" in report
    assert "| baseline | 0.4500 | 100 | - |" in report
    assert "| `cand_1` | 0.6500 | 150 | 0.004 |" in report
    assert "The `prompt_length` of 1 is not known" in report
    assert "Chosen by the lowest `prompt_length`" in report


def test_before_the_search_ended_the_report_has_no_front(tmp_path):
    result = scripted_result()
    result.ClearField("tradeoff")
    written = write_artefacts(tmp_path, SNAPSHOT, outcome(result))
    assert "## Reward against" not in written["report"].read_text()
    assert json.loads(written["score_history"].read_text())["front"] is None
