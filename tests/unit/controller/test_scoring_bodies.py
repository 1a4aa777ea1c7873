"""Bodies of the scoring endpoints: both published shapes are read, every fault is told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish_controller.http_api.bodies import (
    Asked,
    BodyRefused,
    answer,
    read_body,
    referred_rollout,
    with_trace,
)
from burnish_controller.http_api.settings import ApiMisconfigured, api_listen, api_options

TRACE = {
    "schema_version": "3.0",
    "event_history": [
        {
            "type": "lm_call",
            "llm_request": {"messages": [{"role": "user", "content": "Capital?"}]},
            "llm_response": {"message": {"role": "assistant", "content": "Paris"}},
        }
    ],
    "metadata": {"session_id": "s1"},
}
OLD = {
    "policy_name": "p",
    "task_app": {"id": "a"},
    "trace": TRACE,
    "options": {"provider": "groq", "model": "llama-3.3-70b-versatile", "rubric_id": "mine"},
    "rubric": {"outcome": [{"name": "right"}]},
}
NEW = {
    "job_id": "zero_shot_verifier_rubric_single",
    "input": {
        "session_trace": TRACE,
        "rubric": {"outcome": [{"name": "right"}]},
        "options": {"event": False, "outcome": True},
        "system_prompt": "Be strict.",
        "user_prompt": "Look at the answer.",
        "gold_examples": [{"summary": "s", "gold_score": 0.5, "gold_reasoning": "r"}],
        "calibration_examples": [
            {"session_trace": TRACE, "event_rewards": [1.0], "outcome_reward": 1.0}
        ],
    },
    "model": "gpt-4o-mini",
}


def read(body: Any, **more: Any) -> Asked:
    return read_body({**body, **more}, max_cost_usd=1.0)


def test_the_older_shape_is_read():
    request = read(OLD).request
    assert request.verifier_graph == "verifierGraphs/mine"
    assert request.judge_options.model.model == "llama-3.3-70b-versatile"
    assert json.loads(request.judge_options.rubric_source) == OLD["rubric"]
    (rollout,) = request.rollouts
    assert (rollout.rollout_id, json.loads(rollout.output)) == ("s1", "Paris")
    assert json.loads(request.session_traces["s1"]) == TRACE
    assert not read(OLD).wrapped


def test_the_later_shape_is_read():
    asked = read(NEW)
    options = asked.request.judge_options
    assert asked.request.verifier_graph == "verifierGraphs/zero_shot_verifier_rubric_single"
    assert (options.model.provider, options.model.model) == ("openai", "gpt-4o-mini")
    assert options.context == "Be strict.\n\nLook at the answer."
    assert options.gold_examples[0].gold_reward == 0.5
    assert list(options.calibration_examples[0].event_rewards) == [1.0]
    assert (asked.wrapped, asked.events, asked.outcome) == (True, False, True)


@pytest.mark.parametrize("shape", ["old", "new"])
def test_a_trace_of_the_suites_own_is_named_by_reference(shape):
    inner = {"trace_ref": "trace:r7", "rubric": {"outcome": [{"name": "right"}]}}
    body = inner if shape == "old" else {"job_id": "g", "input": inner}
    assert referred_rollout(body) == "r7"
    asked = read(with_trace(body, TRACE))
    assert json.loads(asked.request.session_traces["s1"]) == TRACE
    assert asked.request.judge_options.rubric_source
    assert asked.wrapped == (shape == "new")


@pytest.mark.parametrize("body", [OLD, NEW, 3, {"trace_ref": 3}, {"input": []}, None])
def test_a_trace_that_is_given_is_not_looked_for(body):
    assert referred_rollout(body) == ""


def test_a_request_may_spend_less_than_is_allowed_and_never_more():
    assert read(OLD).request.max_cost_usd == 1.0
    assert read(OLD, options={"max_cost_usd": 0.25}).request.max_cost_usd == 0.25
    for more in (9, 10**400):
        assert read(OLD, options={"max_cost_usd": more}).request.max_cost_usd == 1.0


def test_every_fault_is_told_at_once():
    body = {
        "trace": 3,
        "stream": True,
        "options": {"model": "nobody-knows-it", "max_cost_usd": -1},
        "gold_examples": [{"gold_score": 3}],
        "calibration_examples": "x",
    }
    with pytest.raises(BodyRefused) as refused:
        read(body)
    for text in ("stream", "trace", "nobody-knows-it", "max_cost_usd", "gold", "calibration"):
        assert text in refused.value.message


HALF = "\ud83d"


@pytest.mark.parametrize(
    "more",
    [
        {"job_id": HALF},
        {"options": {"provider": HALF, "model": "m"}},
        {"system_prompt": HALF},
        {"gold_examples": [{"summary": HALF}]},
        {"trace": {**TRACE, "session_id": HALF}},
    ],
)
def test_half_of_a_character_is_refused_with_its_reason(more):
    with pytest.raises(BodyRefused, match="half of a character"):
        read(OLD, **more)


def test_a_trace_may_hold_an_answer_that_was_cut_off_in_a_character():
    trace = json.loads(json.dumps(TRACE).replace("Paris", "Paris \\ud83d"))
    request = read(OLD, trace=trace).request
    assert json.loads(request.rollouts[0].output) == f"Paris {HALF}"
    assert json.loads(request.session_traces["s1"]) == trace


def test_a_reference_that_no_rollout_can_have_is_refused():
    with pytest.raises(BodyRefused):
        referred_rollout({"trace_ref": f"trace:{HALF}"})


@pytest.mark.parametrize("body", [None, [], 3, {}, {"input": 3}, {"options": []}])
def test_what_is_no_request_is_refused(body):
    with pytest.raises(BodyRefused):
        read_body(body, max_cost_usd=0.0)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.integers(min_value=10**399, max_value=10**400)
    | st.text(st.characters(), max_size=5)
    | st.just(HALF),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["input", "trace", "event_history", "options", "rubric", "model",
                             "llm_response", "message", "metadata", "gold_examples", "artifact",
                             "max_cost_usd", "job_id", "provider", "system_prompt", "id"]),
            inner, max_size=4,
        )
    ),
    max_leaves=10,
)  # fmt: skip


@given(JSON)
def test_any_body_is_read_or_refused(body):
    try:
        asked = read_body(body, max_cost_usd=0.0)
    except BodyRefused:
        return
    assert len(asked.request.rollouts) == 1


def scored(**fields: Any) -> verifier_v1.ScoredRollout:
    found = verifier_v1.ScoredRollout(rollout_id="s1", **fields)
    judge = found.node_results.add(node_id="judge", score=0.75, reason="mostly", cached=True)
    judge.criteria.add(criterion_id="right", score=0.75, reason="near", weight=2.0)
    review = judge.event_reviews.add(event_index=0, total=0.5, summary="fine")
    review.criteria.add(criterion_id="polite", score=0.5)
    judge.evidence.add(description="d", snippet="Paris", iteration=1)
    return found


GRAPH = verifier_v1.VerifierGraph(
    name="verifierGraphs/g/versions/1", output_node="judge", event_node="judge"
)


def test_a_review_has_criteria_totals_and_evidence():
    found = scored(reward=types_v1.Reward(fused=0.75, outcome=0.75))
    review = answer(read(OLD), found, GRAPH, ms=12.0)
    assert review["status"] == "ok"
    assert review["outcome_review"]["total"] == 0.75
    assert review["outcome_review"]["criteria"]["right"]["weight"] == 2.0
    assert review["event_totals"] == [0.5]
    assert review["event_reviews"][0]["criteria"]["polite"]["score"] == 0.5
    assert review["evidence"] == [{"description": "d", "evidence_snippet": "Paris", "iteration": 1}]


def test_the_later_answer_wraps_the_review_and_tells_cost_and_cache():
    found = scored(reward=types_v1.Reward(fused=0.75, outcome=0.75))
    found.usage.input_tokens, found.usage.output_tokens = 30, 10
    body = answer(read(NEW), found, GRAPH, ms=12.3456)
    assert body["cache_status"] == "warm"
    assert body["latency_ms"] == 12.346
    assert body["usage"] == {
        "prompt_tokens": 30, "completion_tokens": 10, "total_tokens": 40, "cost_usd": None,
    }  # fmt: skip
    assert body["output"]["event_reviews"] == []


def test_a_failed_judge_is_a_failed_review_and_no_score():
    found = scored(failure=types_v1.Failure(reason="JUDGE_REPLY_INVALID", message="no JSON"))
    review = answer(read(OLD), found, GRAPH, ms=1.0)
    assert review["status"] == "failed"
    assert review["outcome_review"] is None
    assert review["details"]["failure"]["reason"] == "JUDGE_REPLY_INVALID"


def test_the_endpoints_are_off_unless_asked_for_and_never_open_to_others():
    assert api_listen({}, token=None) is None
    assert api_listen({"BURNISH_API_LISTEN": "127.0.0.1:0"}, token=None) == ("127.0.0.1", 0)
    assert api_listen({"BURNISH_API_LISTEN": "0.0.0.0:80"}, token="t") is not None
    for wrong in ("0.0.0.0:80", "nowhere"):
        with pytest.raises(ApiMisconfigured):
            api_listen({"BURNISH_API_LISTEN": wrong}, token=None)


@pytest.mark.parametrize("text", ["-1", "much", "inf", "nan"])
def test_what_a_request_may_spend_is_a_number(text):
    assert api_options({"BURNISH_API_MAX_USD": "0.5"}, token=None).max_cost_usd == 0.5
    assert api_options({}, token=None).max_cost_usd == 0.0
    with pytest.raises(ApiMisconfigured):
        api_options({"BURNISH_API_MAX_USD": text}, token=None)
