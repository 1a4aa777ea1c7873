"""Two prompts of one program, searched together through all services."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_both_prompts_of_a_program_get_better_together(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "examples.two_stage.demo", "--json", "--state-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["difference"]["mean"] >= 0.10
    stages = found["prompt"]["stages"]
    assert [stage["stage_id"] for stage in stages] == ["route", "intent"]
    rollouts = sum(found["rollouts_by_phase"].values())
    assert found["usage_by_role"]["task"]["call_count"] == 2 * rollouts
    spec = json.loads(Path(found["artefacts"]["job_metadata"]).read_text())["spec"]
    assert [stage["optimise_demos"] for stage in spec["stages"]] == [True, True]
    # The route's guide names groups only: it was mined from what that stage should have said.
    route = stages[0]["instruction"]["content"]
    assert "price_rise" not in route
    changed = [stage for stage in stages if "\n\n" in stage["instruction"]["content"]]
    assert changed or any(stage["demonstrations"] for stage in stages)
