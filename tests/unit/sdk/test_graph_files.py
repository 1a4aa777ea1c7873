"""Graphs as people write them: short names, rubrics of any form, code in a file, every fault."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import BurnishError, InvalidArgument
from burnish.graph_files import GraphFileInvalid, graph_value, is_graph, load_graph, read_graph

CHECK = {"id": "exact", "builtin": {"check": "exact_match", "settings": {"field": "answer"}}}
GRAPH = {"nodes": [CHECK], "output_node": "exact"}
TOML = """
output_node = "all"
event_node = "judge"

[[nodes]]
id = "exact"
builtin = { check = "numeric", settings = { absolute_tolerance = 0.5 } }

[[nodes]]
id = "judge"
scope = "transcript"
[nodes.rubric]
votes = 3
mode = "map_reduce"
model = { provider = "local", model = "local-judge" }
[nodes.rubric.rubric]
version = "1"
goal_text = "Answer."
[[nodes.rubric.rubric.criteria]]
id = "short"
description = "At most 5 words"
weight = 2

[[nodes]]
id = "far"
remote = { target = "127.0.0.1:1", timeout = 2.5 }

[[nodes]]
id = "all"
inputs = ["exact", "judge", "far"]
weighted_mean = { weights = { exact = 2, judge = 1 } }
"""


def test_a_toml_file_becomes_the_graph_it_describes(tmp_path):
    (tmp_path / "g.toml").write_text(TOML)
    graph = load_graph(tmp_path / "g.toml")
    exact, judge, far, together = graph.nodes
    assert exact.builtin.settings["absolute_tolerance"] == 0.5
    assert judge.scope == verifier_v1.NODE_SCOPE_TRANSCRIPT
    assert judge.rubric.mode == verifier_v1.JUDGE_MODE_MAP_REDUCE
    assert judge.rubric.rubric.goal == "Answer."
    assert judge.rubric.rubric.criteria[0].criterion_id == "short"
    assert judge.rubric.rubric.criteria[0].weight == 2
    assert far.remote.timeout.ToMilliseconds() == 2500
    assert dict(together.weighted_mean.weights) == {"exact": 2, "judge": 1}
    assert (graph.output_node, graph.event_node) == ("all", "judge")


@pytest.mark.parametrize("ending", ["json", "yaml"])
def test_json_and_yaml_say_the_same(tmp_path, ending):
    file = tmp_path / f"g.{ending}"
    file.write_text(json.dumps(GRAPH))
    assert load_graph(file) == read_graph(GRAPH)


def test_a_rubric_and_code_may_be_in_files_beside_the_graph(tmp_path):
    (tmp_path / "rubric.json").write_text(json.dumps({"outcome": [{"name": "right"}]}))
    (tmp_path / "score.py").write_text("def score(rollout):\n    return 1.0\n")
    graph = read_graph(
        {
            "nodes": [
                {"id": "judge", "rubric": {"rubric": "rubric.json"}},
                {"id": "code", "python": {"source_file": "score.py", "time_limit": 2}},
            ],
            "output_node": "judge",
        },
        base_dir=tmp_path,
    )
    assert graph.nodes[0].rubric.rubric.criteria[0].criterion_id == "right"
    assert graph.nodes[1].python.source.startswith("def score")
    assert graph.nodes[1].python.time_limit.seconds == 2


def test_a_graph_that_was_shown_can_be_read_back(tmp_path):
    (tmp_path / "g.toml").write_text(TOML)
    graph = load_graph(tmp_path / "g.toml")
    shown = json.loads(json.dumps(graph_value(graph)))
    assert read_graph(shown) == graph


def test_every_fault_is_told_at_once_with_its_place():
    wrong: dict[str, Any] = {
        "nodes": [
            {"id": "a", "bultin": {}},
            {"id": "b", "builtin": {"check": 3}, "minimum": {}},
            {"id": "c", "scope": "everything", "rubric": {"votes": 1.5, "mode": "slow"}},
            {"id": "d", "remote": {"target": "x", "timeout": "soon"}},
            {"id": "e", "rubric": {"rubric": {"criteria": [{"id": "x"}, {"id": "x"}]}}},
            {"id": "f", "weighted_mean": {"weights": {"a": "much"}}},
        ],
        "output_nod": "a",
    }
    with pytest.raises(GraphFileInvalid) as refused:
        read_graph(wrong, source="g.json")
    for text in (
        "`g.json`", "`nodes[0].bultin`", "did you mean `builtin`?", "`nodes[1].builtin.check`",
        "`nodes[1].minimum` stands beside `builtin`", "`nodes[2].scope`", "transcript",
        "`nodes[2].rubric.votes`", "`nodes[2].rubric.mode`", "map_reduce",
        "`nodes[3].remote.timeout`", "`nodes[4].rubric.rubric`", "`output_nod`",
        "`nodes[5].weighted_mean.weights.a`",
    ):  # fmt: skip
        assert text in refused.value.message, text
    assert int(refused.value.metadata["problems"]) >= 10


@pytest.mark.parametrize("value", [None, 3, "x", [], [1], {"nodes": {}}, {"nodes": [3]}])
def test_what_is_no_graph_at_all_is_refused_in_one_error(value):
    with pytest.raises(GraphFileInvalid):
        read_graph(value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidArgument) as refused:
        load_graph(tmp_path / "none.json")
    assert "none.json" in refused.value.message
    with pytest.raises(GraphFileInvalid) as refused:
        read_graph(
            {"nodes": [{"id": "c", "python": {"source_file": "none.py"}}]}, base_dir=tmp_path
        )
    assert "source_file" in refused.value.message


def test_a_rubric_is_told_from_a_graph():
    assert is_graph(GRAPH)
    assert not is_graph({"outcome": []})
    assert not is_graph([])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["nodes", "id", "inputs", "scope", "rubric", "builtin", "settings", "check",
                 "python", "source", "model", "votes", "weights", "weighted_mean", "criteria"]
            ),
            inner, max_size=4,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_any_value_is_a_graph_or_refused_with_a_reason(value):
    try:
        graph = read_graph(value, base_dir=Path("/nowhere"))
    except BurnishError:
        return
    assert read_graph(graph_value(graph)) == graph
