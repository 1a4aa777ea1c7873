"""`burnish verify calibrate` of a shipped graph, by a rubric that the command gives."""

import json

import pytest

from burnish.cli.output import OK
from tests.attacks.attacks import cases
from tests.e2e.commands import burnish

pytestmark = pytest.mark.asyncio(loop_scope="session")
RUBRIC = {
    "version": "1",
    "goal_text": "Answer what was asked.",
    "criteria": [
        {"id": "agrees", "description": "Agrees with the reference", "weight": 3},
        {"id": "short", "description": "At most 40 words"},
    ],
}


async def test_a_shipped_graph_is_measured_by_the_rubric_that_is_given(suite, tmp_path):
    rows = [
        {"rollout_id": f"{work.name}/{label}", "output": text, "reference": work.good,
         "label": label, "trace": json.loads(work.trace)}
        for work in cases()
        for text, label in ((work.good, 1.0), (work.answer, 0.0))
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "rubric.json").write_text(json.dumps(RUBRIC))
    ran = await burnish(
        suite, "verify", "calibrate", str(tmp_path / "rows.jsonl"), "--rubric",
        str(tmp_path / "rubric.json"), "--model", "local/local-judge", "--repeats", "2", "--json",
    )  # fmt: skip
    assert ran.exit_code == OK, ran.output
    found = json.loads(ran.stdout)
    assert found["simulated"] is True
    figures = found["calibration"]
    # Gold answers are the reference; one poor answer of eight shares enough words with it to pass:
    # 15 of 16 agree, and half would by chance (9 of 16 pass, 8 should).
    assert figures["kappa"]["value"] == pytest.approx((15 / 16 - 1 / 2) / (1 - 1 / 2))
    assert figures["kappa"]["lower"] < figures["kappa"]["value"] < figures["kappa"]["upper"]
    assert figures["spearman"]["value"] > 0.8
    assert figures["flip_rate"]["value"] == 0.0
    # The criteria were judged in reverse order too, and a lexical judge does not mind.
    assert figures["position_effect"] == {
        "value": 0.0, "count": len(rows), "lower": 0.0, "upper": 0.0,
    }  # fmt: skip
