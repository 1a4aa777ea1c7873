"""Caps hold through kills -9, faults and any concurrency, and the ledger tells what was billed.

The provider counts what it bills by itself: every completion that was made, whether its answer
arrived or not. Three roles spend at once under caps of the job, of each role and of the suite.
"""

import random
from collections import Counter

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.api.verifier import v1 as verifier_v1
from tests.e2e.kills import Scene, Size

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
PRICE = types_v1.Price(input_usd_per_million=2.0, output_usd_per_million=8.0)
JUDGE = "local-judge"
SLACK = 1e-9
FAULT_SHARE = 0.1
CAPS = {"task": 0.75, "proposer": 0.085, "judge": 0.30}
JOB_CAP, TENANT_CAP = 0.9, 0.82
VICTIMS = ["controller", "interceptor", "controller", "verifier", "controller"]


def faults(harness, seed):
    rng = random.Random(seed)

    async def script(body):
        if rng.random() >= FAULT_SHARE:
            return None
        return rng.choice([429, 500, harness.DROP])

    return script


class Priced(Scene):
    """A job of three paid roles under every kind of cap."""

    concurrency = 8

    def spec(self):
        h, provider = self.h, self.provider
        pools = h.Pools(
            range(16), range(60, 120), range(300, 316), range(420, 430), range(160, 200)
        )
        model = provider.model(price=PRICE, max_output_tokens=16)
        spec = h.job_spec(self.app.url, model, pools, seed=3, num_iterations=30)
        spec.max_concurrency = self.concurrency
        spec.proposer.meta_model.CopyFrom(
            provider.model(h.PROPOSER, price=PRICE, max_output_tokens=1200)
        )
        spec.scoring.verifier_graph.CopyFrom(graph(provider))
        spec.scoring.weights.CopyFrom(types_v1.RewardWeights(environment=0.5, outcome=0.5))
        spec.budget.max_cost_usd = JOB_CAP
        spec.budget.max_cost_usd_by_role.update(CAPS)
        return spec


def graph(provider):
    rubric = verifier_v1.Rubric(
        version="1",
        criteria=[
            verifier_v1.Criterion(criterion_id="short", description="At most 2 words.", weight=1.0)
        ],
    )
    judge = verifier_v1.RubricJudge(
        rubric=rubric,
        model=provider.model(JUDGE, price=PRICE, max_output_tokens=200),
        mode=verifier_v1.JUDGE_MODE_SINGLE,
    )
    node = verifier_v1.VerifierNode(node_id="judge", rubric=judge)
    return verifier_v1.VerifierGraph(nodes=[node], output_node="judge")


def billed(one, role):
    name = {"task": one.h.READER, "proposer": one.h.PROPOSER, "judge": JUDGE}[role]
    provider = one.provider
    read, written = provider.input_tokens[name], provider.output_tokens[name]
    return (read * PRICE.input_usd_per_million + written * PRICE.output_usd_per_million) / 1e6


def on_the_books(one):
    """What the rows say by role: answered, possibly paid, and still reserved."""
    query = (
        "SELECT role, SUM(CASE state WHEN 'done' THEN cost_usd ELSE 0 END) AS done,"
        " SUM(lost_usd) AS lost, SUM(lost_calls) AS tries,"
        " SUM(CASE state WHEN 'open' THEN worst_usd ELSE 0 END) AS open"
        " FROM calls GROUP BY role"
    )
    return {row["role"]: row for row in one.h.rows(one.suite, query)}


@pytest.mark.parametrize("concurrency", [1, 64])
async def test_three_roles_stay_within_every_cap_through_kills_and_faults(
    concurrency, harness, tmp_path, monkeypatch
):
    monkeypatch.setenv("BURNISH_TENANT_MAX_USD", str(TENANT_CAP))
    async with (
        harness.counting_provider() as provider,
        harness.AppProcess(tmp_path) as app,
        harness.Suite(tmp_path / "state") as suite,
    ):
        provider.script = faults(harness, concurrency)
        provider.delays = {harness.READER: 0.01, JUDGE: 0.01}
        one = Priced(harness, suite, provider, app, Size())
        one.concurrency = concurrency
        moments = [(harness.READER, count) for count in (12, 22, 32, 42, 52)]
        run = await one.run(VICTIMS, moments)
        assert {kill.victim for kill in one.kills} >= {"controller", "interceptor"}, "void"
        assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
        assert run.job.termination_reason == job_v1.TERMINATION_REASON_BUDGET_EXHAUSTED
        books = on_the_books(one)
        assert books.keys() == CAPS.keys(), "void: not every role spent"
        check_caps(one, books)
        check_bill(one, books, run)
        check_warnings(run)


def check_caps(one, books):
    committed = 0.0
    for role, cap in CAPS.items():
        held = books[role]["done"] + books[role]["lost"] + books[role]["open"]
        assert held <= cap + SLACK, role
        assert billed(one, role) <= cap + SLACK, role
        committed += held
    assert committed <= min(JOB_CAP, TENANT_CAP) + SLACK
    assert sum(billed(one, role) for role in CAPS) <= min(JOB_CAP, TENANT_CAP) + SLACK


def check_bill(one, books, run):
    """What is answered was billed; what was billed is answered or marked as possibly paid."""
    for role, row in books.items():
        assert row["done"] <= billed(one, role) + SLACK, role
        assert billed(one, role) <= row["done"] + row["lost"] + SLACK, role
        usage = run.result.usage_by_role[role]
        assert usage.cost_usd == pytest.approx(row["done"] + row["lost"], abs=SLACK)
        assert usage.possibly_paid_call_count == row["tries"]


def check_warnings(run):
    told = Counter((one.cap, one.percent) for one in run.of_kind("budget_warning"))
    # The caps that ended the search were told of before, and no share was told twice.
    assert {percent for _, percent in told} == {50, 80}, told
    assert set(told.values()) == {1}
