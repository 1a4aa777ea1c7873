"""Graphs, rubrics and judges in a job file: by name, as a file or as a table, in both dialects."""

import json
from pathlib import Path
from typing import Any

import pytest

from burnish.api.verifier import v1 as verifier_v1
from burnish.config import ConfigError, PromptLearningConfig
from burnish.config.resolve import resolve_job
from burnish.config.resolved import ResolvedJob
from burnish.job_spec import to_job_spec

POOLS = {
    "bootstrap_train_seeds": {"start": 0, "end": 10},
    "online_pool": {"start": 10, "end": 40},
    "test_pool": {"start": 40, "end": 60},
}
GRAPH = {
    "nodes": [{"id": "exact", "builtin": {"check": "exact_match"}}],
    "output_node": "exact",
}
RUBRIC = {"version": "1", "goal_text": "Sort.", "criteria": [{"id": "right", "weight": 2}]}
FUSED: dict[str, Any] = {
    "enabled": True,
    "reward_source": "fused",
    "weight_env": 0.5,
    "weight_outcome": 0.5,
}


def resolved(folder: Path | None = None, **judge: Any) -> ResolvedJob:
    data = {
        "algorithm": "mipro",
        "task_app_url": "http://localhost:8002",
        "policy": {"model": "gpt-4o-mini", "provider": "openai"},
        "mipro": POOLS,
        "verifier": judge,
    }
    config = PromptLearningConfig.from_mapping({"prompt_learning": data}, env={}, base_dir=folder)
    return resolve_job(config)


def native(**verifier: Any) -> ResolvedJob:
    job = {
        "task_app": "http://localhost:8002",
        "model": {"provider": "openai", "model": "gpt-4o-mini"},
        "verifier": verifier,
    }
    config = PromptLearningConfig.from_mapping({"job": job}, env={})
    return resolve_job(config, dataset_size=100)


@pytest.mark.parametrize("key", ["synth_verifier_id", "verifier_graph_id", "backend_rubric_id"])
@pytest.mark.parametrize(
    ("named", "sent"),
    [
        ("mine", "verifierGraphs/mine"),
        ("mine@3", "verifierGraphs/mine/versions/3"),
        ("verifierGraphs/mine", "verifierGraphs/mine"),
    ],
)
def test_a_graph_is_named_by_any_of_its_keys_and_by_version(key, named, sent):
    scoring = to_job_spec(resolved(**FUSED, **{key: named})).scoring
    assert scoring.verifier_graph.name == sent
    assert not scoring.verifier_graph.nodes
    assert (scoring.weights.environment, scoring.weights.outcome) == (0.5, 0.5)


def test_a_graph_file_travels_whole_with_the_job(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps(GRAPH))
    job = resolved(tmp_path, **FUSED, verifier_graph_id="mine.json")
    json.dumps(job.to_dict())
    graph = to_job_spec(job).scoring.verifier_graph
    assert [node.builtin.check for node in graph.nodes] == ["exact_match"]
    assert graph.output_node == "exact"


@pytest.mark.parametrize("form", ["table", "file"])
def test_a_rubric_is_given_as_a_table_or_as_a_file(tmp_path, form):
    (tmp_path / "rubric.json").write_text(json.dumps(RUBRIC))
    given = RUBRIC if form == "table" else "rubric.json"
    scoring = to_job_spec(resolved(tmp_path, **FUSED, rubric=given)).scoring
    assert json.loads(scoring.judge_options.rubric_source) == RUBRIC
    assert scoring.verifier_graph.name == "verifierGraphs/zero_shot_verifier"


def test_what_judges_are_told_travels_with_the_job():
    judge: dict[str, Any] = {
        "backend_provider": "groq",
        "backend_model": "llama-3.3-70b-versatile",
        "timeout": 12.5,
        "concurrency": 3,
        "spec_context": "Be kind.",
    }
    options = to_job_spec(resolved(**FUSED, **judge)).scoring.judge_options
    assert options.model.provider == "groq"
    assert options.model.model == "llama-3.3-70b-versatile"
    assert options.timeout.ToMilliseconds() == 12_500
    assert options.max_concurrency == 3
    assert options.context == "Be kind."
    assert options.rubric_source == b""


def test_in_our_own_form_a_graph_alone_makes_the_reward():
    scoring = to_job_spec(native(graph="mine@2")).scoring
    assert scoring.verifier_graph.name == "verifierGraphs/mine/versions/2"
    assert (scoring.weights.environment, scoring.weights.outcome) == (0.0, 1.0)


def test_in_our_own_form_a_rubric_is_a_table():
    scoring = to_job_spec(native(rubric=RUBRIC, weights={"env": 1, "outcome": 2})).scoring
    assert (scoring.weights.environment, scoring.weights.outcome) == (1.0, 2.0)
    assert json.loads(scoring.judge_options.rubric_source)["goal_text"] == "Sort."


def test_checks_make_a_graph_of_their_own_without_any_judge():
    job = resolved(**FUSED, checks=["exact_match", {"check": "sql_result", "weight": 2}])
    scoring = to_job_spec(job).scoring
    checks = [node.builtin.check for node in scoring.verifier_graph.nodes if node.builtin.check]
    assert checks == ["exact_match", "sql_result"]
    assert scoring.verifier_graph.nodes[2].WhichOneof("kind") == "weighted_mean"
    assert not scoring.HasField("judge_options")
    assert scoring.verifier_graph.nodes[0].scope == verifier_v1.NODE_SCOPE_OUTPUT


@pytest.mark.parametrize(
    ("judge", "named"),
    [
        ({"rubric": {"criteria": [{"id": "a"}, {"id": "a"}]}}, "rubric"),
        ({"rubric": "none.yaml"}, "rubric"),
        ({"rubric": "rubric"}, "rubric"),
        ({"verifier_graph_id": "none.json"}, "synth_verifier_id"),
        ({"verifier_graph_id": "broken.json"}, "output_nod"),
        ({"checks": ["f1"], "rubric": RUBRIC}, "checks"),
        ({"checks": ["f1"], "verifier_graph_id": "mine"}, "checks"),
        ({"concurrency": 1000}, "concurrency"),
    ],
)
def test_every_fault_has_its_place(tmp_path, judge, named):
    (tmp_path / "broken.json").write_text(json.dumps({**GRAPH, "output_nod": "x"}))
    with pytest.raises(ConfigError) as refused:
        resolved(tmp_path, **FUSED, **judge)
    assert any(named in f"{one.path} {one.message}" for one in refused.value.problems)


def test_a_key_of_a_rubric_that_nothing_reads_is_a_warning():
    job = resolved(**FUSED, rubric={**RUBRIC, "tone": "kind"})
    assert any("tone" in warning for warning in job.warnings)


def test_limits_of_judges_have_an_effect_and_are_warned_of_no_more():
    job = resolved(**FUSED, timeout=10.0, concurrency=4, backend_options={"a": 1})
    said = [warning for warning in job.warnings if "has no effect" in warning]
    assert len(said) == 1
    assert "backend_options" in said[0]
