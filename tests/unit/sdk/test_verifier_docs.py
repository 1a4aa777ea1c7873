"""The examples on the page about verifiers are what they say: job tables, a rubric and graphs."""

import json
import re
import tomllib
from pathlib import Path

from burnish.config import PromptLearningConfig
from burnish.config.resolve import resolve_job
from burnish.graph_files import read_graph
from burnish.job_spec import to_job_spec
from burnish.rubric_files import load_rubric

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "verifier.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_both_job_tables_ask_for_the_same_scoring(tmp_path):
    (tmp_path / "rubric.yaml").write_text(blocks("yaml")[0])
    synth, own = map(tomllib.loads, blocks("toml"))
    pools = {"bootstrap_train_seeds": [1], "online_pool": [2], "test_pool": [3]}
    synth["prompt_learning"] |= {
        "algorithm": "mipro",
        "task_app_url": "http://localhost:1",
        "policy": {"provider": "openai", "model": "gpt-4o-mini"},
        "mipro": pools,
    }
    own["job"] |= {
        "task_app": "http://localhost:1",
        "model": {"provider": "openai", "model": "gpt-4o-mini"},
    }
    scorings = []
    for table in (synth, own):
        config = PromptLearningConfig.from_mapping(table, env={}, base_dir=tmp_path)
        assert not [one for one in config.warnings if "verifier" in one]
        scorings.append(to_job_spec(resolve_job(config, dataset_size=100)).scoring)
    assert scorings[0] == scorings[1]
    assert scorings[0].verifier_graph.name == "verifierGraphs/support"
    assert scorings[0].weights.outcome == 0.5


def test_the_rubric_and_the_graphs_are_read(tmp_path):
    (tmp_path / "rubric.yaml").write_text(blocks("yaml")[0])
    rubric = load_rubric(tmp_path / "rubric.yaml")
    assert [one.criterion_id for one in rubric.criteria] == ["right", "short"]
    whole, remote = map(json.loads, blocks("json"))
    graph = read_graph(whole, base_dir=tmp_path)
    assert [node.WhichOneof("kind") for node in graph.nodes] == ["builtin", "rubric", "gate"]
    node = read_graph({"nodes": [remote], "output_node": remote["id"]}).nodes[0]
    assert node.remote.settings["strict"] is True


def test_every_kind_of_node_is_on_the_page():
    kinds = read_graph({"nodes": [{"id": "x"}]}).nodes[0].DESCRIPTOR.oneofs_by_name["kind"].fields
    assert [kind.name for kind in kinds if f"`{kind.name}`" not in PAGE] == []
