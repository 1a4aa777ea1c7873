"""Checks that run the answer, and code of the user's own: gold is 1, corrupted is 0."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish_verifier.checks.registry import built_in
from burnish_verifier.fuse import Failed
from burnish_verifier.graph import Node
from burnish_verifier.nodes.base import CriterionScore, Evidence, NodeResult, NodeTask
from burnish_verifier.nodes.code import CodeEvaluator
from burnish_verifier.sandbox.pool import Sandbox
from burnish_verifier.sandbox.work import Outcome, Work
from burnish_verifier.steps import BuiltinCheck, PythonCode

KINDS = built_in()
SETUP = (
    "CREATE TABLE trips (city TEXT, days INTEGER, cost REAL);"
    "INSERT INTO trips VALUES ('Oslo', 3, 210.5), ('Rome', 5, 340.0), ('Oslo', 2, 99.5);"
)
WANTED = "SELECT city, SUM(cost) AS total FROM trips GROUP BY city"


@pytest_asyncio.fixture
async def code() -> AsyncIterator[CodeEvaluator]:
    evaluator = CodeEvaluator(Sandbox(), KINDS)
    try:
        yield evaluator
    finally:
        await evaluator.close()


async def asked(
    code: CodeEvaluator, step: Any, *, output: Any, reference: Any = None, **task: Any
) -> NodeResult | Failed:
    evidence = Evidence(
        output=json.dumps(output).encode(),
        reference=b"" if reference is None else json.dumps(reference).encode(),
        session_trace=task.pop("session_trace", b""),
    )
    node = Node(node_id="node", step=step, scope=task.pop("scope", "output"))
    return await code.evaluate(NodeTask(node=node, evidence=evidence, rollout_id="r", **task))


async def sql(code: CodeEvaluator, answer: str, **said: Any) -> NodeResult | Failed:
    reference = {"setup": SETUP, "sql": said.pop("wanted", WANTED), **said.pop("reference", {})}
    step = BuiltinCheck(check="sql_result", settings=said)
    return await asked(code, step, output={"answer": answer}, reference=reference)


async def python(
    code: CodeEvaluator, answer: str, reference: dict[str, Any], **said: Any
) -> NodeResult | Failed:
    step = BuiltinCheck(check="python_tests", settings=said)
    return await asked(code, step, output=answer, reference=reference)


def score(found: NodeResult | Failed) -> float | None:
    assert isinstance(found, NodeResult), found
    return found.score


def reason(found: NodeResult | Failed) -> str:
    assert isinstance(found, Failed), found
    return found.reason


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (WANTED, 1.0),
        ("select city, total(cost) from trips group by 1 order by 2 desc", 1.0),
        ("Here it is:\n```sql\n" + WANTED + "\n```\nDone.", 1.0),
        ("SELECT city, SUM(days) FROM trips GROUP BY city", 0.0),
        ("SELECT city, SUM(cost) FROM trips", 0.0),
        ("SELECT SUM(cost), city FROM trips GROUP BY city", 0.0),
        (WANTED + " UNION ALL SELECT 'Oslo', 310.0", 0.0),
        ("SELECT nonsense FROM nowhere", 0.0),
        ("", 0.0),
        ("DELETE FROM trips", 0.0),
        ("ATTACH 'x.db' AS x", 0.0),
        ("PRAGMA journal_mode", 0.0),
        ("SELECT load_extension('x')", 0.0),
        (WANTED + "; " + WANTED, 0.0),
        ("SELECT hex(randomblob(100000000))", 0.0),
    ],
)
async def test_sql_counts_by_the_rows_that_it_returns(code, answer, wanted):
    assert score(await sql(code, answer)) == wanted


async def test_sql_that_never_ends_is_a_wrong_answer(code):
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n"
    assert score(await sql(code, endless, time_limit=0.5)) == 0.0


async def test_order_columns_and_tolerance_count_where_they_are_asked_for(code):
    by_name = "SELECT city FROM trips ORDER BY city"
    backwards = "SELECT city FROM trips ORDER BY city DESC"
    renamed = "SELECT city AS town FROM trips ORDER BY city"
    near = "SELECT city, SUM(cost) + 0.001 FROM trips GROUP BY city"
    assert score(await sql(code, backwards, wanted=by_name)) == 1.0
    assert score(await sql(code, backwards, wanted=by_name, ordered=True)) == 0.0
    assert score(await sql(code, renamed, wanted=by_name)) == 1.0
    assert score(await sql(code, renamed, wanted=by_name, columns=True)) == 0.0
    assert score(await sql(code, near)) == 0.0
    assert score(await sql(code, near, tolerance=0.01)) == 1.0


async def test_wanted_rows_may_be_given_instead_of_sql(code):
    rows = {"rows": [["Rome", 340.0], ["Oslo", 310]]}
    assert score(await sql(code, WANTED, reference=rows)) == 1.0
    assert score(await sql(code, WANTED, reference={"rows": [["Rome", 340.0]]})) == 0.0


async def test_a_statement_may_write_only_where_that_is_allowed_and_changes_nothing_after(code):
    writing = "INSERT INTO trips VALUES ('Bonn', 1, 1.0) RETURNING city"
    allowed = await sql(code, writing, wanted="SELECT 'Bonn'", writes=True)
    assert score(allowed) == 1.0
    assert score(await sql(code, writing, wanted="SELECT 'Bonn'")) == 0.0


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"sql": WANTED}, "REFERENCE_INVALID"),
        ({"setup": SETUP}, "REFERENCE_INVALID"),
        ({"setup": "nonsense", "sql": WANTED}, "REFERENCE_INVALID"),
        ({"setup": SETUP, "sql": "nonsense"}, "REFERENCE_INVALID"),
        ({"setup": SETUP, "rows": "many"}, "REFERENCE_INVALID"),
        (None, "REFERENCE_MISSING"),
    ],
)
async def test_a_row_that_cannot_be_checked_leaves_the_rollout_unscored(code, reference, words):
    step = BuiltinCheck(check="sql_result")
    found = await asked(code, step, output=WANTED, reference=reference)
    assert reason(found) == words


GOLD = "def median(values):\n    ordered = sorted(values)\n    return ordered[len(ordered) // 2]\n"
CALLS = {
    "function": "median",
    "calls": [
        {"args": [[3, 1, 2]], "expected": 2},
        {"kwargs": {"values": [5.0]}, "expected": 5},
        {"args": [[1, 2, 9, 8, 7]], "expected": 7.0},
    ],
}
TESTS = {"tests": "assert median([3, 1, 2]) == 2\nassert median([1, 2, 9, 8, 7]) == 7"}


@pytest.mark.parametrize("reference", [CALLS, TESTS])
@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (GOLD, 1.0),
        (f"Sure:\n```python\n{GOLD}```", 1.0),
        (GOLD.replace("sorted(values)", "values"), 0.0),
        (GOLD.replace("median", "middle"), 0.0),
        (GOLD.replace("return ordered", "return"), 0.0),
        ("def median(values): return 2", 0.0),
        ("def median(values", 0.0),
        ("", 0.0),
        ("def median(values):\n    while True: pass", 0.0),
        ("def median(values): return bytearray(1 << 40)", 0.0),
        ("import os\ndef median(values): os._exit(0)", 0.0),
        ("import sys\ndef median(values): sys.exit(0)", 0.0),
        ("def median(values): open('/etc/passwd')", 0.0),
    ],
)
async def test_code_counts_by_what_it_does(code, reference, answer, wanted):
    assert score(await python(code, answer, reference, time_limit=0.5)) == wanted


async def test_partial_gives_the_share_of_calls_that_are_right(code):
    found = await python(code, "def median(values): return 2", CALLS, partial=True)
    assert score(found) == pytest.approx(1 / 3)
    assert isinstance(found, NodeResult)
    assert found.reason == "1 of 3 calls are right"


async def test_code_under_calls_cannot_find_out_what_is_expected(code):
    spying = (
        "import gc\n"
        "def median(values):\n"
        "    seen = [x for x in gc.get_objects() if isinstance(x, dict) and 'expected' in x]\n"
        "    return seen[0]['expected']\n"
    )
    assert score(await python(code, spying, CALLS)) == 0.0


async def test_true_is_not_one(code):
    calls = {"function": "f", "calls": [{"args": [], "expected": True}]}
    assert score(await python(code, "def f(): return 1", calls)) == 0.0
    assert score(await python(code, "def f(): return True", calls)) == 1.0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(place=st.integers(0, len(WANTED) - 1), letter=st.characters(codec="ascii"))
def test_corrupted_sql_scores_0_or_returns_the_very_same_rows(place, letter):
    # Judged by an interpreter of its own, so that the check is not its own witness.
    corrupted = WANTED[:place] + letter + WANTED[place + 1 :]
    database = sqlite3.connect(":memory:")
    database.executescript(SETUP)
    wanted = sorted(database.execute(WANTED).fetchall())
    try:
        same = sorted(database.execute(corrupted).fetchall()) == wanted
    except (sqlite3.Error, sqlite3.Warning, ValueError, TypeError):
        same = False
    finally:
        database.close()

    async def check() -> float | None:
        evaluator = CodeEvaluator(Sandbox(size=1), KINDS)
        try:
            return score(await sql(evaluator, corrupted))
        finally:
            await evaluator.close()

    assert asyncio.run(check()) == float(same)


OWN = """
def score(rollout):
    near = abs(rollout["output"]["n"] - rollout["reference"]) <= 1
    return {
        "score": 0.5 * near + 0.5 * rollout["inputs"]["first"]["score"],
        "reason": "near" if near else "far",
        "criteria": {"near": float(near)},
        "events": [1, 0.5],
    }
"""


async def test_code_of_the_users_own_reads_the_rollout_and_its_inputs(code):
    first = NodeResult(score=0.5, criteria=(CriterionScore(criterion_id="a", score=0.5),))
    step = PythonCode(source=OWN)
    found = await asked(code, step, output={"n": 4}, reference=5, inputs={"first": first})
    assert isinstance(found, NodeResult)
    assert (found.score, found.reason, found.event_score) == (0.75, "near", 0.75)
    assert [(each.criterion_id, each.score) for each in found.criteria] == [("near", 1.0)]


async def test_code_reads_the_trace_where_its_node_asks_for_it(code):
    trace = {"event_history": [{"llm_response": {"message": {"content": "bye"}}}] * 2}
    counting = PythonCode(source="def score(r): return len(r['trace']['event_history']) / 4")
    final = PythonCode(source="def score(r): return float(r['final'] == 'bye')")
    data = json.dumps(trace).encode()
    by_trace = await asked(code, counting, output=1, scope="transcript", session_trace=data)
    by_final = await asked(code, final, output=1, scope="final", session_trace=data)
    assert (score(by_trace), score(by_final)) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("1.5", "CODE_RESULT_INVALID"),
        ("'high'", "CODE_RESULT_INVALID"),
        ("True", "CODE_RESULT_INVALID"),
        ("None", "CODE_RESULT_INVALID"),
        ("{'score': 1, 'criteria': {'a': 2}}", "CODE_RESULT_INVALID"),
        ("{'score': 1, 'events': [-1]}", "CODE_RESULT_INVALID"),
        ("1 / 0", "CODE_FAILED"),
        ("bytearray(1 << 40)", "CODE_MEMORY"),
        ("__import__('os')._exit(0)", "CODE_DIED"),
        ("[0 for _ in iter(int, 1)]", "CODE_"),
    ],
)
async def test_code_that_gives_no_score_leaves_the_rollout_unscored(code, body, words):
    step = PythonCode(source=f"def score(rollout): return {body}", time_limit=0.5)
    assert reason(await asked(code, step, output=1)).startswith(words)


class Starving:
    """A sandbox on a machine that has no time for it."""

    async def run(self, work: Work) -> Outcome:
        return Outcome(kind="starved", cpu_seconds=0.1)

    async def close(self) -> None:
        """Nothing is open."""


async def test_only_what_the_machine_kept_waiting_may_be_tried_again():
    starved = CodeEvaluator(cast("Sandbox", Starving()), KINDS)
    step = PythonCode(source="def score(r): return 1")
    for found in (
        await asked(starved, step, output=1),
        await python(starved, GOLD, CALLS),
        await sql(starved, WANTED),
    ):
        assert reason(found).endswith("_STARVED")
        assert isinstance(found, Failed)
        assert found.retryable


async def test_code_that_sleeps_or_is_busy_has_itself_to_blame(code):
    sleeping = PythonCode(source="import time\ndef score(r): time.sleep(60)", time_limit=0.5)
    busy = PythonCode(source="def score(r):\n    while True: pass", time_limit=0.5)
    for step in (sleeping, busy):
        found = await asked(code, step, output=1)
        assert isinstance(found, Failed)
        assert found.reason == "CODE_TIMEOUT"
        assert not found.retryable


@pytest.mark.parametrize(
    "claim",
    [
        b'{"kind": "starved"}',
        b'{"kind": "lost"}',
        b'{"kind": "value"}',
        b"[1]",
        b"{",
        b'{"a":' * 9999,
    ],
)
async def test_an_answer_cannot_forge_its_way_out_of_a_score(code, claim):
    forging = (
        "import os\n"
        "for number in range(3, 30):\n"
        "    try:\n"
        f"        os.write(number, {claim!r})\n"
        "    except OSError:\n"
        "        pass\n"
        "os._exit(0)\n"
    )
    assert score(await python(code, forging, CALLS)) == 0.0
    assert score(await python(code, forging, TESTS)) == 0.0
    sleeping = "import time\ntime.sleep(60)\n" + GOLD
    assert score(await python(code, sleeping, CALLS, time_limit=0.5)) == 0.0
