"""The demo as a user runs it: a process that prints, leaves artefacts and says how it went."""

import json
import os
import signal
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
def test_the_demo_makes_the_prompt_of_the_unmodified_app_better_and_works_a_second_time(tmp_path):
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

    again = run_demo("--state-dir", str(tmp_path))
    assert again.returncode == 0, again.stderr
    assert found["verdict"] in again.stdout
    assert found["prompt"]["content"] in again.stdout
    for wanted in ("baseline", "winner", "difference, row by row", "proposer", "local-reader"):
        assert wanted in again.stdout


@pytest.mark.slow
def test_an_interrupted_demo_leaves_no_process_behind(tmp_path):
    demo = subprocess.Popen(
        [sys.executable, "-m", "examples.intents.demo", "--state-dir", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert demo.stdout is not None
        # The app is announced once everything runs.
        while "Ready after" not in demo.stdout.readline():
            assert demo.poll() is None
        started = json.loads((tmp_path / "app" / "app.json").read_text())["pid"]
        services = json.loads((tmp_path / "suite.json").read_text())["processes"]
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    finally:
        demo.kill()
    assert demo.returncode == 130
    assert len(services) == 6
    for pid in (started, *(service["pid"] for service in services.values())):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
