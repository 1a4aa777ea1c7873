"""Saved rollouts are read from every form that Burnish or a person writes them in."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish import trace_v3
from burnish.api.job import v1 as job_v1
from burnish.api.trace import v1 as trace_v1
from burnish.api.types import v1 as types_v1
from burnish.plain import to_plain
from burnish.saved_rollouts import RolloutFileInvalid, load_rollouts, read_rollouts, session_traces


def call(rollout: str = "r1", number: int = 0, text: str = "Paris") -> trace_v1.Trace:
    answer = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    trace = trace_v1.Trace(call_id=f"{rollout}/{number}", rollout_id=rollout, model="m")
    asked = {"messages": [{"role": "user", "content": "Capital?"}]}
    trace.call.app_request = json.dumps(asked).encode()
    trace.call.start_time.FromSeconds(100 + number)
    trace.reply.status, trace.reply.body = 200, json.dumps(answer).encode()
    return trace


def saved(tmp_path: Any, value: object, name: str = "saved.json") -> Any:
    path = tmp_path / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return load_rollouts(path)


@pytest.mark.parametrize("write", [trace_v3.session, trace_v3.compact])
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_last_answer_of_a_trace_is_its_output(tmp_path, write, wrapped):
    trace = write("r1", [call(), call(number=1, text='{"city": "Paris"}')])
    (found,) = saved(tmp_path, {"session_trace": trace} if wrapped else trace)
    assert json.loads(found.output) == {"city": "Paris"}
    assert json.loads(found.session_trace)["schema_version"] == "3.0"
    if not wrapped:
        assert found.rollout_id == "r1"


def test_a_trace_beside_an_output_does_not_replace_it(tmp_path):
    trace = trace_v3.session("r1", [call()])
    (found,) = saved(tmp_path, {"rollout_id": "r9", "output": "Rome", "session_trace": trace})
    assert (found.rollout_id, json.loads(found.output)) == ("r9", "Rome")


def test_calls_of_an_evaluation_are_put_together_by_rollout(tmp_path):
    traces = [call("a"), call("b", text="Rome"), call("a", 1, text="Bern")]
    lines = "\n".join(json.dumps(to_plain(one)) for one in traces)
    first, second = saved(tmp_path, lines, "traces.jsonl")
    assert (first.rollout_id, json.loads(first.output)) == ("a", "Bern")
    assert len(json.loads(first.session_trace)["event_history"]) == 2
    assert (second.rollout_id, json.loads(second.output)) == ("b", "Rome")


def test_rollouts_that_a_job_lists_are_read_back(tmp_path):
    record = job_v1.RolloutRecord(
        rollout_id="r1", output=b'{"answer":"x"}', reference=b'"y"', environment_reward=0.5
    )
    record.cell.seed = 3
    (found,) = saved(tmp_path, {"rollouts": [to_plain(record)]})
    assert found.message == types_v1.RolloutResult(
        rollout_id="r1", output=b'{"answer":"x"}', reference=b'"y"', environment_reward=0.5
    )


def test_what_has_no_saved_calls_has_an_empty_trace_unless_a_suite_knows_it(tmp_path):
    trace = trace_v3.session("a", [call("a")])
    record = to_plain(job_v1.RolloutRecord(rollout_id="c", output=b"1", cell=types_v1.Cell()))
    found = saved(tmp_path, [trace, {"id": "b", "output": 1}, record])
    traces = session_traces(found)
    assert traces.keys() == {"a", "b"}
    assert json.loads(traces["b"])["event_history"] == []


def test_a_table_by_hand_needs_an_output_and_no_more(tmp_path):
    (found,) = saved(tmp_path, {"output": "12", "expected": 12, "label": 1, "reward": 0.25})
    assert (found.rollout_id, found.output, found.reference) == ("1", b'"12"', b"12")
    assert (found.label, found.environment_reward) == (1.0, 0.25)


def test_every_fault_is_told_with_its_place(tmp_path):
    lines = '{"output": "x", "label": 3}\n[1]\nnot json\n{"id": "a"}\n{"output": 1, "id": "1"}\n'
    with pytest.raises(RolloutFileInvalid) as refused:
        saved(tmp_path, lines, "rows.jsonl")
    for text in ("line 3", "value 1: the label is 3", "value 2 is list", "value 3 has neither"):
        assert text in refused.value.message
    assert "`1` again" in refused.value.message


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", '{"rollouts": []}'])
def test_a_file_without_rollouts_is_refused(tmp_path, text):
    with pytest.raises(RolloutFileInvalid):
        saved(tmp_path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RolloutFileInvalid) as refused:
        load_rollouts(tmp_path / "none.json")
    assert "none.json" in refused.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["output", "reference", "event_history", "call_records", "llm_response", "message",
                 "trace", "metadata", "id", "label", "call", "call_id", "cell", "output_text"]
            ),
            inner, max_size=4,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(JSON, max_size=4))
def test_no_value_breaks_the_reader(values):
    problems: list[str] = []
    found = read_rollouts(values, problems)
    assert all(one.rollout_id for one in found)
    assert len({one.rollout_id for one in found}) == len(found)
    for trace in (one.session_trace for one in found if one.session_trace):
        assert isinstance(json.loads(trace), dict)


HALF = "cut off \ud83d"


def test_an_answer_cut_off_in_a_character_is_kept_as_json_has_it(tmp_path):
    trace = trace_v3.session("r1", [call()])
    trace["event_history"][0]["call_records"][0]["output_text"] = HALF
    rows = [{"output": HALF, "reference": [HALF]}, {"session_trace": trace}]
    first, second = saved(tmp_path, rows)
    assert (json.loads(first.output), json.loads(first.reference)) == (HALF, [HALF])
    assert json.loads(second.output) == HALF
    assert json.loads(second.session_trace) == trace
    assert first.message.output.decode() == '"cut off \\ud83d"'


def test_a_rollout_has_no_id_that_cannot_be_sent(tmp_path):
    with pytest.raises(RolloutFileInvalid, match="half of a character"):
        saved(tmp_path, {"id": HALF, "output": 1})
