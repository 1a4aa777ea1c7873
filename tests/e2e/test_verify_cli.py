"""`burnish verify` against a real suite: scores, faults, versions, and how good a judge is."""

import json
from pathlib import Path

import pytest

from burnish.cli.output import BUDGET_EXHAUSTED, FAILED, OK, UNREACHABLE, USAGE
from tests.e2e.commands import burnish

pytestmark = pytest.mark.asyncio(loop_scope="session")
GRAPH = {
    "nodes": [
        {"id": "exact", "builtin": {"check": "exact_match"}},
        {
            "id": "judge",
            "rubric": {
                "model": {"provider": "local", "model": "local-judge"},
                "rubric": {
                    "version": "1",
                    "goal_text": "Answer with the label.",
                    "criteria": [
                        {"id": "short", "description": "At most 2 words."},
                        {"id": "no_please", "description": "Does not say 'please'.", "weight": 3},
                    ],
                },
            },
        },
        {"id": "all", "inputs": ["exact", "judge"], "weighted_mean": {}},
    ],
    "output_node": "all",
}
ROWS = [
    {"id": "good", "output": {"answer": "refund"}, "reference": "refund", "label": 1, "reward": 1},
    {
        "id": "bad",
        "output": {"answer": "please send it back to me"},
        "reference": "refund",
        "label": 0,
        "reward": 0,
    },
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
    return tmp_path


async def test_every_node_of_every_rollout_is_shown_with_its_score_and_reason(suite, files):
    ran = await burnish(
        suite, "verify", "run", str(files / "rows.jsonl"), "-g", str(files / "graph.json")
    )
    assert ran.exit_code == OK, ran.output
    good, bad = ran.stdout.split("\nbad ")
    assert "good  1.0000  (environment 1.0000, outcome 1.0000)" in good
    assert "wanted `refund`" in bad
    for line in ("short", "no_please", "exact", "all", "simulated"):
        assert line in good
        assert line in bad
    assert "simulated judge" in ran.stderr


async def test_as_json_the_same_is_one_object_with_parts_and_criteria(suite, files):
    ran = await burnish(
        suite, "verify", "run", str(files / "rows.jsonl"), "-g", str(files / "graph.json"),
        "--weight", "env=1", "--weight", "outcome=3", "--json",
    )  # fmt: skip
    assert ran.exit_code == OK, ran.output
    good, bad = json.loads(ran.stdout)["rollouts"]
    assert good["reward"]["fused"] == 1.0
    assert bad["reward"]["environment"] == 0.0
    # exact 0; short 0 (6 words) and no_please 0, so the judge gives 0 and so does the mean.
    assert (bad["reward"]["outcome"], bad["reward"]["fused"]) == (0.0, 0.0)
    names = [node["node_id"] for node in good["node_results"]]
    assert sorted(names) == ["all", "exact", "judge"]
    judge = next(node for node in good["node_results"] if node["node_id"] == "judge")
    assert judge["simulated"] is True
    assert {one["criterion_id"] for one in judge["criteria"]} == {"short", "no_please"}


async def test_a_given_rubric_is_judged_alone_by_a_shipped_graph(suite, files):
    rubric = {"outcome": [{"name": "short", "description": "At most 2 words."}]}
    (files / "rubric.json").write_text(json.dumps(rubric))
    ran = await burnish(
        suite, "verify", "run", str(files / "rows.jsonl"), "--rubric", str(files / "rubric.json"),
        "-g", "zero_shot_verifier_rubric_single", "--model", "local/local-judge", "--json",
    )  # fmt: skip
    assert ran.exit_code == OK, ran.output
    good, bad = json.loads(ran.stdout)["rollouts"]
    assert (good["reward"]["outcome"], bad["reward"]["outcome"]) == (1.0, 0.0)
    criteria = [one["criterion_id"] for node in good["node_results"] for one in node["criteria"]]
    assert criteria == ["short"]


async def test_a_rollout_that_cannot_be_scored_is_told_and_fails_the_command(suite, files):
    (files / "rows.jsonl").write_text(json.dumps({"id": "x", "output": "refund"}))
    ran = await burnish(
        suite, "verify", "run", str(files / "rows.jsonl"), "-g", str(files / "graph.json")
    )
    assert ran.exit_code == FAILED
    assert "REFERENCE_MISSING" in ran.stdout


async def test_a_paid_judge_without_money_is_refused_and_nothing_is_called(suite, files):
    ran = await burnish(
        suite, "verify", "run", str(files / "rows.jsonl"), "-g", str(files / "graph.json"),
        "--model", "openai/gpt-4o-mini", "--json",
    )  # fmt: skip
    assert ran.exit_code in {FAILED, BUDGET_EXHAUSTED}
    assert json.loads(ran.stdout)["error"]["reason"] in {
        "BUDGET_EXHAUSTED",
        "PROVIDER_NOT_CONFIGURED",
    }
    assert ran.stderr.count("error: ") == 1


async def test_each_fault_of_a_graph_is_one_line_with_its_fix(suite, files):
    wrong = {
        "nodes": [
            {"id": "a", "inputs": ["b", "zz"], "minimum": {}},
            {"id": "b", "builtin": {"check": "vibes"}},
        ],
        "output_node": "nowhere",
    }
    (files / "wrong.json").write_text(json.dumps(wrong))
    ran = await burnish(suite, "verify", "check", str(files / "wrong.json"))
    lines = [line for line in ran.stdout.splitlines() if line.startswith("✗")]
    assert len(lines) == 3
    for word in ("vibes", "zz", "nowhere"):
        assert sum(word in line for line in lines) == 1, lines
    assert "3 problems" in ran.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ({**GRAPH, "output_node": "nowhere"}, "nowhere"),
        ({**GRAPH, "output_nod": "x"}, "did you mean `output_node`"),
        ({"nodes": [{"id": "a", "inputs": ["b"], "minimum": {}},
                    {"id": "b", "inputs": ["a"], "minimum": {}}], "output_node": "a"}, "circle"),
        ({"nodes": [{"id": "a", "builtin": {"check": "f1", "settings": {"filed": "x"}}}],
          "output_node": "a"}, "filed"),
        ({"criteria": [{"id": "a"}, {"id": "a"}]}, "a"),
        ({"criteria": [{"id": "a", "wieght": 1}]}, "wieght"),
    ],
)  # fmt: skip
async def test_faults_are_told_with_exit_code_2(suite, files, text, told):
    (files / "wrong.json").write_text(json.dumps(text))
    ran = await burnish(suite, "verify", "check", str(files / "wrong.json"), "--json")
    assert ran.exit_code == USAGE
    answer = json.loads(ran.stdout)
    assert answer["valid"] is False
    assert any(told in problem for problem in answer["problems"]), answer


async def test_a_sound_graph_and_a_sound_rubric_pass_the_check(suite, files):
    rubric = {"version": "1", "goal_text": "x", "criteria": [{"id": "a", "weight": 0.5}]}
    (files / "rubric.json").write_text(json.dumps(rubric))
    for name in ("graph.json", "rubric.json"):
        ran = await burnish(suite, "verify", "check", str(files / name))
        assert ran.exit_code == OK, ran.output
    strict = await burnish(suite, "verify", "check", str(files / "rubric.json"), "--strict")
    assert strict.exit_code == USAGE


async def test_a_graph_is_registered_in_versions_and_listed(suite, files):
    async def registered() -> str:
        ran = await burnish(
            suite, "verify", "register", str(files / "graph.json"), "--name", "listed"
        )
        assert ran.exit_code == OK, ran.output
        return str(ran.stdout.strip())

    assert await registered() == "listed@1"
    assert await registered() == "listed@1"
    changed = json.dumps(GRAPH).replace("exact_match", "normalized_match")
    (files / "graph.json").write_text(changed)
    assert await registered() == "listed@2"
    listed = await burnish(suite, "verify", "list", "--json")
    graphs = {
        one["name"].split("/")[1]: one for one in json.loads(listed.stdout)["verifier_graphs"]
    }
    assert not graphs["listed"]["shipped"]
    assert graphs["zero_shot_verifier"]["shipped"]
    versions = await burnish(suite, "verify", "list", "listed", "--json")
    assert [one["version"] for one in json.loads(versions.stdout)["verifier_graphs"]] == [1, 2]


async def test_a_judge_is_measured_against_labels_and_repeats(suite, files):
    ran = await burnish(
        suite, "verify", "calibrate", str(files / "rows.jsonl"), "-g", str(files / "graph.json"),
        "--repeats", "2", "--json",
    )  # fmt: skip
    assert ran.exit_code == OK, ran.output
    found = json.loads(ran.stdout)
    assert found["simulated"] is True
    assert found["calibration"]["agreement"]["value"] == 1.0
    assert found["calibration"]["flip_rate"]["value"] == 0.0
    assert found["calibration"]["position_effect"]["value"] == 0.0
    shown = await burnish(
        suite, "verify", "calibrate", str(files / "rows.jsonl"), "-g", str(files / "graph.json")
    )
    assert "kappa" in shown.stdout
    assert "simulated" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("verify", "run", "none.json"), USAGE),
        (("verify", "run", "rows.jsonl", "-g", "never_registered"), FAILED),
        (("verify", "run", "rows.jsonl", "--weight", "much=1"), USAGE),
        (("verify", "run", "rows.jsonl", "--model", "gpt"), USAGE),
        (("verify", "register", "none.json"), USAGE),
        (("verify", "list", "--backend", "127.0.0.1:1"), UNREACHABLE),
    ],
)
async def test_a_wrong_word_has_one_clear_error(suite, files, arguments, code):
    placed = [str(files / one) if one.endswith(("json", "jsonl")) else one for one in arguments]
    ran = await burnish(suite, *placed)
    assert ran.exit_code == code, ran.output
    assert ran.stderr.startswith("error: ")
    assert "Traceback" not in ran.output
