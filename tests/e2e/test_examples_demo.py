"""The demo as a user runs it: a process that prints, leaves artefacts and says how it went."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "examples.intents.demo", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.slow
def test_the_demo_makes_the_prompt_of_the_unmodified_app_better(tmp_path):
    done = run_demo("--json", "--state-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["improved"]
    assert found["baseline"]["row_count"] == found["winner"]["row_count"] == 300
    assert 0.40 <= found["baseline"]["mean"] <= 0.60
    assert found["difference"]["mean"] >= 0.12
    assert found["usage_by_role"]["task"]["call_count"] <= 300 + 2 * 300
    assert "Neither is a language model" in found["models"]
    assert found["proposed_by"].startswith("local-proposer, mined from")
    prompt = json.loads(Path(found["artefacts"]["best_prompt"]).read_text())
    assert prompt["content"] == found["prompt"]["content"]
    assert Path(found["artefacts"]["report"]).read_text()


@pytest.mark.slow
def test_the_demo_prints_the_prompt_and_both_scores_and_works_a_second_time(tmp_path):
    for _ in range(2):
        done = run_demo("--state-dir", str(tmp_path), "--seed", "1")
        assert done.returncode == 0, done.stderr
        assert "The winning prompt" in done.stdout
        for wanted in ("baseline", "winner", "difference, row by row", "proposer", "local-reader"):
            assert wanted in done.stdout
