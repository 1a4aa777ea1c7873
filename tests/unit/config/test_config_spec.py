"""System specs load, are checked, and never render beyond their limit."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.config import ConfigError, PromptLearningConfig, load_spec, render_spec, resolve_job
from burnish.config.spec import BYTES_PER_TOKEN, SpecView, SystemSpec, parse_spec


def data(**changes: Any) -> dict[str, Any]:
    return {
        "metadata": {"id": "spec.desk", "title": "Help desk", "version": "1.0.0", "scope": "mail"},
        "principles": [{"id": "P-1", "text": "Be brief.", "rationale": "People skim."}],
        "rules": [
            {
                "id": "R-low",
                "title": "Greeting",
                "priority": 2,
                "constraints": {"must": ["say hello"]},
                "examples": [{"kind": "bad", "prompt": "hi", "response": "what"}],
            },
            {
                "id": "R-high",
                "title": "Refunds",
                "priority": 9,
                "constraints": {"should": ["name the date"], "should_not": ["promise money"]},
                "examples": [
                    {"kind": "bad", "prompt": "refund?", "response": "sure"},
                    {"kind": "good", "prompt": "refund?", "response": "by Friday"},
                ],
            },
        ],
        "glossary": [{"term": "SLA", "definition": "time to answer", "aliases": ["deadline"]}],
    } | changes


def spec(**changes: Any) -> SystemSpec:
    return parse_spec(data(**changes))[0]


def test_everything_is_rendered_in_order_of_priority():
    text = render_spec(spec(), SpecView())

    order = ["Help desk", "Be brief", "Refunds", "by Friday", "sure", "Greeting", "SLA"]
    assert [text.index(word) for word in order] == sorted(text.index(word) for word in order)
    assert "Should: name the date" in text, "should counts without a must as well"
    assert "Should not: promise money" in text
    assert "also: deadline" in text


def test_examples_and_low_rules_can_be_left_out():
    text = render_spec(spec(), SpecView(include_examples=False, priority_threshold=5))

    assert "by Friday" not in text
    assert "Greeting" not in text
    assert "Refunds" in text


def test_what_does_not_fit_goes_in_steps_and_low_rules_first():
    whole = len(render_spec(spec(), SpecView()))

    text = render_spec(spec(), SpecView(max_tokens=whole // BYTES_PER_TOKEN - 5))

    assert "Greeting" not in text
    assert "by Friday" in text


@given(limit=st.integers(1, 400), count=st.integers(0, 30), words=st.text(max_size=60))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_the_limit_holds_for_every_spec(limit, count, words):
    rules = [
        {"id": f"R-{i}", "title": f"T{i} {words}", "priority": 10, "constraints": {"must": [words]}}
        for i in range(count)
    ]

    text = render_spec(spec(rules=rules), SpecView(max_tokens=limit))

    assert len(text.encode()) <= limit * BYTES_PER_TOKEN


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"metadata": {"id": "spec.x", "title": "t"}}, "spec.metadata.version"),
        ({"rules": [{"id": "R-1", "title": "a"}, {"id": "R-1", "title": "b"}]}, "spec.rules[1].id"),
        ({"rules": [{"id": "R-1", "title": "a", "priority": 11}]}, "spec.rules[0].priority"),
        (
            {"rules": [{"id": "R-1", "title": "a", "examples": [{"kind": "ugly"}]}]},
            "spec.rules[0].examples[0].kind",
        ),
        ({"glossary": [{"term": "a"}, {"term": "a"}]}, "spec.glossary[1].term"),
    ],
)
def test_a_bad_spec_is_refused_with_its_place(changes, path):
    with pytest.raises(ConfigError) as caught:
        parse_spec(data(**changes))

    assert [problem.path for problem in caught.value.problems] == [path]


def test_style_is_a_warning_and_strictly_a_problem():
    loose = data(metadata={"id": "desk", "title": "t", "version": "1"}, rules=[])

    _, warnings = parse_spec(loose)
    with pytest.raises(ConfigError) as caught:
        parse_spec(loose, strict=True)

    assert len(warnings) == 3
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a": NaN}', "[" * 5000, '{"a": ' * 3000 + "1" + "}" * 3000]
)
def test_files_that_are_no_spec_are_refused(tmp_path, text):
    file = tmp_path / "spec.json"
    file.write_text(text)

    with pytest.raises(ConfigError):
        load_spec(file)


def job_data(**mipro: Any) -> dict[str, Any]:
    return {"algorithm": "mipro", "task_app_url": "http://localhost:1", "mipro": mipro}


def test_a_job_reads_its_spec_beside_its_file(tmp_path):
    (tmp_path / "spec.json").write_text(json.dumps(data()))
    config = PromptLearningConfig.from_mapping(
        job_data(spec_path="spec.json", spec_max_tokens=20), env={}, base_dir=tmp_path
    )

    text = resolve_job(config).proposer.spec_text

    assert text is not None
    assert "Help desk" in text
    assert len(text) <= 80


@pytest.mark.parametrize("path", ["gone.json", "../gone.json"])
def test_a_missing_spec_is_a_problem(tmp_path, path):
    config = PromptLearningConfig.from_mapping(job_data(spec_path=path), env={}, base_dir=tmp_path)

    with pytest.raises(ConfigError, match="cannot be read"):
        resolve_job(config)


def test_without_a_folder_no_file_is_read():
    config = PromptLearningConfig.from_mapping(job_data(spec_path="spec.json"), env={})

    with pytest.raises(ConfigError, match="no folder"):
        resolve_job(config)
