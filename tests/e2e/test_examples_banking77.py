"""Banking77 through all services, and the walkthrough as a user runs it; skipped without the data.

Without Banking77 the walkthrough runs on the shipped messages, which it has to say.
"""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "banking77"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="Banking77 is not here")
ARTEFACTS = ("best_prompt", "score_history", "job_metadata", "selected_demos")


def run(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )


def accept(*arguments: str) -> Any:
    done = run(
        "examples.banking77.acceptance", "--data", str(DATA), "--seeds", "1", "--json", *arguments
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@needs_data
@pytest.mark.slow
def test_confusable7_gets_better_within_200_rollouts_whatever_is_in_flight():
    found = accept("--preset", "confusable7", "--repeat")
    assert found["problems"] == []
    assert [run["concurrency"] for run in found["runs"]] == [1, 8]
    for run_ in found["runs"]:
        assert run_["rows"] == 280
        assert run_["rollouts"] <= 200
        assert 0.42 <= run_["baseline"] <= 0.52
        assert run_["gain"] >= 0.08


@needs_data
@pytest.mark.slow
def test_labels_in_the_system_message_can_be_optimised_too():
    found = accept("--preset", "confusable7", "--labels-in", "system", "--first-seed", "1")
    assert found["runs"][0]["gain"] >= 0.08


@pytest.mark.slow
@pytest.mark.parametrize("data", ["given", "absent"])
def test_the_walkthrough_takes_its_six_steps_and_leaves_its_files(tmp_path, data):
    if data == "given" and not DATA.is_dir():
        pytest.skip("Banking77 is not here")
    folder, empty = tmp_path / "walk", tmp_path / "cache"
    given = ("--data", str(DATA)) if data == "given" else ()
    done = run(
        "examples.banking77.walkthrough",
        *("--yes", "--offline", "--dir", str(folder), *given),
        XDG_CACHE_HOME=str(empty),
        BURNISH_BANKING77_DIR="",
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for number in range(1, 7):
        assert f"Step {number}: " in done.stdout
    credit = done.stdout.count("CC BY 4.0")
    assert (credit, "NOT Banking77" in done.stdout) == ((1, False) if given else (0, True))
    config = tomllib.loads((folder / "mipro_config.toml").read_text())
    assert config["prompt_learning"]["mipro"]["top_k"] == 2
    assert (folder / "env_key.txt").stat().st_mode & 0o077 == 0
    assert (folder / "env_key.txt").read_text().strip() not in done.stdout
    found = {
        name: json.loads((folder / "results" / f"{name}.json").read_text()) for name in ARTEFACTS
    }
    assert found["best_prompt"]["instruction"]["content"] == found["best_prompt"]["content"]
    assert found["job_metadata"]["improvement"]["mean"] > 0.05
    assert found["score_history"]["trials"]
    assert (folder / "results" / "report.md").read_text()


@pytest.mark.slow
def test_the_walkthrough_says_which_key_a_model_needs(tmp_path):
    done = run(
        "examples.banking77.walkthrough",
        *("--yes", "--offline", "--dir", str(tmp_path), "--model", "openai/gpt-4o-mini"),
        OPENAI_API_KEY="",
    )
    assert done.returncode == 1
    assert "OPENAI_API_KEY" in done.stderr
